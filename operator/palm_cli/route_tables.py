"""The route table of a Portfolio, from the cluster or a file; believed as a gateway believes it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from palm.errors import InvalidRouteTable
from palm.route_table import MAX_BYTES, RouteTable, parse_route_table
from palm.routing import by_usage, parse_preference
from palm_cli.cluster import Cluster
from palm_cli.failures import InvalidInput, Unavailable
from palm_cli.inputs import parse_json, read_text, shown_name
from palm_gateway.tables import Route, route_of
from palm_operator import names

_FILE_BYTES = 4 * MAX_BYTES  # a ConfigMap with its managed fields, printed with indentation


@dataclass(frozen=True)
class Gateway:
    """Where the gateway is, as the status says."""

    url: str
    model: str


@dataclass(frozen=True)
class Routed:
    """A route table and the gateway that follows it."""

    route: Route
    gateway: Gateway | None = None


def routed_in(cluster: Cluster, name: str) -> Routed:
    """Return the route table of a Portfolio, with the default preference that its gateway has.

    Raises:
        Unavailable: There is no such Portfolio, no table of it yet, or one that is not its own.
    """
    body = cluster.portfolio(name)
    said = (body.get("status") or {}).get("gateway") or {}
    found = cluster.route_table(name)
    key = f"{cluster.namespace}/{name}"
    if found is None:
        raise Unavailable(f"Portfolio {key} has no route table yet: {_why(body)}")
    defaults = said.get("defaultPreference")
    try:
        route = route_of(
            found,
            namespaces=(cluster.namespace,),
            # Which hosts a gateway may ask is its own setting; a person sees whom the table names.
            hosts=_hosts(found),
            default_preferences={key: parse_preference(defaults)} if defaults else {},
        )
    except InvalidRouteTable as error:
        table = f"{cluster.namespace}/{names.route_table_name(name)}"
        raise Unavailable(f"ConfigMap {table} is no route table of {key}: {error}") from None
    return Routed(route, Gateway(said["url"], said["model"]) if said else None)


def routed_from(source: str, name: str) -> Routed:
    """Return the route table in a file: the table itself, or its ConfigMap as JSON.

    Args:
        source: Path, or ``-``.
        name: Of the Portfolio that is meant; empty: whose it is.

    Raises:
        InvalidInput: The file holds no route table, or another Portfolio's.
    """
    text = read_text(source, limit=_FILE_BYTES)
    document = parse_json(text, source)
    if isinstance(document, dict) and document.get("kind") == "ConfigMap":
        text = str((document.get("data") or {}).get(names.ROUTES_KEY))
    elif isinstance(document, dict):
        text = json.dumps(document)  # without the indentation that a person may have added
    try:
        table = parse_route_table(text)
    except InvalidRouteTable as error:
        raise InvalidInput(f"{shown_name(source)}: {error}") from None
    if name and name not in (table.portfolio, table.key):
        raise InvalidInput(
            f"{shown_name(source)} has the route table of {table.key}; asked is {shown_name(name)}"
        )
    return Routed(Route(table=table, by_usage=by_usage(table)))


def _hosts(body: Mapping[str, Any]) -> tuple[str, ...]:
    table: RouteTable = parse_route_table(str((body.get("data") or {}).get(names.ROUTES_KEY, "")))
    return tuple({urlsplit(p.url).hostname or "" for p in table.policies if p.url})


def _why(body: Mapping[str, Any]) -> str:
    """Return what the status says keeps a portfolio from being deployed."""
    status = body.get("status") or {}
    said = {c.get("type"): c for c in status.get("conditions") or []}
    for kind in ("Stalled", "Progressing", "Published", "Ready"):
        if condition := said.get(kind):
            return f"{condition.get('reason')}: {shown_name(str(condition.get('message')))}"
    return "no operator has looked at it yet"
