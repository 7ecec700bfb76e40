"""Route tables as the gateway believes them: checked, immutable, found by model name. Pure.

A ConfigMap is believed when it lies in a namespace that is served, is controlled by a Portfolio
whose name its own follows from, holds exactly the table that its annotation hashes, and names only
hosts that its namespace may have. Whoever may write ConfigMaps there can satisfy all but the last,
so the last is what keeps requests inside the namespace.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from palm.errors import InvalidPreference, InvalidRouteTable
from palm.route_table import RouteTable, parse_route_table, sha256_of
from palm.routing import by_usage, weight_vector
from palm_operator import names
from palm_operator.api.portfolio import GROUP, KIND

_SHOWN = 10


class UnknownModel(LookupError):
    """No Portfolio, or more than one, has this name; the message says which there are."""


@dataclass(frozen=True)
class Route:
    """A table and what is derived from it once."""

    table: RouteTable
    created: int = 0
    """When the ConfigMap was made, in seconds of the epoch."""
    default_weights: tuple[float, ...] | None = None
    """Weight vector of requests without a preference; None: by usage."""
    by_usage: tuple[int, ...] = ()
    problem: str | None = None
    """Why the configured default preference cannot be used."""


@dataclass(frozen=True)
class Tables:
    """All tables at one moment. A request keeps the moment it began with."""

    by_key: Mapping[str, Route] = field(default_factory=dict)
    by_name: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, routes: Mapping[str, Route]) -> "Tables":
        """Return tables by ``namespace/name``, in the order of their names."""
        by_name: dict[str, tuple[str, ...]] = {}
        for key in sorted(routes):
            name = routes[key].table.portfolio
            by_name[name] = (*by_name.get(name, ()), key)
        return cls({key: routes[key] for key in sorted(routes)}, by_name)

    def find(self, model: str) -> Route:
        """Return the route of a model name: ``namespace/name``, or ``name`` where that is one.

        Raises:
            UnknownModel: There is none of that name, or more than one.
        """
        if route := self.by_key.get(model):
            return route
        keys = self.by_name.get(model, ())
        if len(keys) == 1:
            return self.by_key[keys[0]]
        shown = ascii(model if len(model) <= 100 else f"{model[:100]}...")
        if keys:
            raise UnknownModel(f"the model {shown} is ambiguous; ask for one of {_listed(keys)}")
        known = _listed(tuple(self.by_key)) or "none"
        raise UnknownModel(f"there is no model {shown}; known are {known}")


def route_of(
    body: Mapping[str, Any],
    *,
    namespaces: Sequence[str],
    hosts: Sequence[str],
    default_preferences: Mapping[str, Mapping[str, float]],
) -> Route:
    """Return the route that a ConfigMap holds.

    Args:
        body: The ConfigMap.
        namespaces: Those that are served.
        hosts: Patterns of hosts that a table may name.
        default_preferences: Preferences of requests without one, by ``namespace/name``.

    Raises:
        InvalidRouteTable: It is not to be believed; the message says why.
    """
    metadata = body["metadata"]
    namespace = metadata.get("namespace", "")
    if namespace not in namespaces:
        raise InvalidRouteTable(f"namespace {namespace!r} is not served")
    owner = _controlling_portfolio(metadata)
    content = (body.get("data") or {}).get(names.ROUTES_KEY)
    if not isinstance(content, str):
        raise InvalidRouteTable(f"it has no {names.ROUTES_KEY}")
    table = parse_route_table(content)
    if (metadata.get("annotations") or {}).get(names.ANNOTATION_SHA256) != sha256_of(content):
        raise InvalidRouteTable("its annotation is not the hash of its table")
    if (table.namespace, table.portfolio) != (namespace, owner):
        raise InvalidRouteTable(f"its table is of {table.key}; expected {namespace}/{owner}")
    for policy in table.policies:
        if policy.url is not None and not is_allowed(policy.url, namespace, hosts):
            raise InvalidRouteTable(
                f"policy {policy.name} is at {policy.url}; allowed are {', '.join(hosts)}"
            )
    return _route(table, metadata, default_preferences.get(table.key))


def is_allowed(url: str, namespace: str, hosts: Sequence[str]) -> bool:
    """Say whether a URL's host matches a pattern; names of hosts are compared, not addresses."""
    host = urlsplit(url).hostname or ""
    for pattern in hosts:
        wanted = pattern.replace("{namespace}", namespace).strip("[]")
        if wanted.startswith("*."):
            if host.endswith(wanted[1:]) and len(host) >= len(wanted):
                return True
        elif host == wanted:
            return True
    return False


def _controlling_portfolio(metadata: Mapping[str, Any]) -> str:
    """Return the name of the Portfolio that controls an object."""
    for owner in metadata.get("ownerReferences") or []:
        group = str(owner.get("apiVersion", "")).partition("/")[0]
        if owner.get("controller") and (group, owner.get("kind")) == (GROUP, KIND):
            name = str(owner.get("name", ""))
            if metadata.get("name") != names.route_table_name(name):
                raise InvalidRouteTable(f"it has not the name of the route table of {name!r}")
            return name
    raise InvalidRouteTable("no Portfolio controls it")


def _route(
    table: RouteTable, metadata: Mapping[str, Any], preference: Mapping[str, float] | None
) -> Route:
    weights, problem = None, None
    if preference is not None:
        try:
            weights = weight_vector(preference, table.rewards)
        except InvalidPreference as error:
            problem = str(error)
    return Route(
        table=table,
        created=_epoch(metadata.get("creationTimestamp")),
        default_weights=weights,
        by_usage=by_usage(table),
        problem=problem,
    )


def _epoch(stamp: object) -> int:
    try:
        return int(datetime.fromisoformat(str(stamp)).timestamp())
    except ValueError:
        return 0


def _listed(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more
