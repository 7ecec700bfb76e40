"""By which ways a policy is reached for ``palm chat``, in which order. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from palm.routing import parse_preference
from palm_cli.route_tables import Gateway
from palm_gateway.choice import Candidate, Choice, headers_of
from palm_gateway.requests import PREFERENCE_FIELD

_IN_CLUSTER = re.compile(r"([a-z0-9-]+)\.([a-z0-9-]+)\.svc(?:\.[a-z0-9.-]+)?")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Way:
    """One address at which an answer may be had.

    Attributes:
        what: For a message.
        url: Base URL of the API; a path of the API server where ``proxied``.
        model: What to name as the model.
        proxied: Whether the API server's Service proxy leads there.
        fields: What the body has besides.
        said: What is known of who answers before anybody has: the gateway's headers; empty where
            the gateway is asked, which says so itself.
    """

    what: str
    url: str
    model: str
    proxied: bool = False
    fields: Mapping[str, Any] = field(default_factory=dict)
    said: Mapping[str, str] = field(default_factory=dict)


def through_gateway(gateway: Gateway, preference: str) -> Iterator[Way]:
    """Yield the ways to a gateway: its address, then the proxy where that is the cluster's own.

    The proxy passes no token on: a gateway that asks for one refuses, and says so.
    """
    fields = {PREFERENCE_FIELD: parse_preference(preference)} if preference else {}
    yield from _ways(f"the gateway {gateway.url}", gateway.url, gateway.model, fields, {})


def to_policies(choice: Choice) -> Iterator[Way]:
    """Yield the ways to the policies themselves, in the order in which a gateway would ask them."""
    failures: dict[str, str] = {}
    for candidate in choice.candidates:
        yield from to_policy(choice, candidate, failures)
        failures[candidate.policy.name] = "unreachable"


def to_policy(choice: Choice, candidate: Candidate, failures: Mapping[str, str]) -> Iterator[Way]:
    """Yield the ways to one policy.

    Args:
        choice: From which it is.
        candidate: The policy.
        failures: Why better ones did not answer, by name.
    """
    policy = candidate.policy
    said = {k.decode(): v.decode() for k, v in headers_of(choice, candidate, failures)}
    what = f"policy {policy.name} at {candidate.url}"
    yield from _ways(what, candidate.url, policy.model, {}, said)


def proxy_path(url: str) -> str | None:
    """Return the API server's path to a Service that a URL names; None where it names none."""
    parts = urlsplit(url)
    match = _IN_CLUSTER.fullmatch(parts.hostname or "")
    if match is None or parts.scheme not in _PORTS:
        return None
    service, namespace = match.groups()
    scheme = "https:" if parts.scheme == "https" else ""
    port = parts.port or _PORTS[parts.scheme]
    path = parts.path.rstrip("/")
    return f"/api/v1/namespaces/{namespace}/services/{scheme}{service}:{port}/proxy{path}"


def base_url(text: str) -> str:
    """Return the base URL of a gateway that a person named, with or without ``/v1``."""
    return f"{text.rstrip('/').removesuffix('/v1')}/v1"


def _ways(
    what: str, url: str, model: str, fields: Mapping[str, Any], said: Mapping[str, str]
) -> Iterator[Way]:
    yield Way(what, url, model, fields=fields, said=said)
    path = proxy_path(url)
    if path is not None:
        yield Way(f"{what}, by the API server's proxy", path, model, True, fields, said)
