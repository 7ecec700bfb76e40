"""The route table of one Portfolio: all that is needed to choose a policy for a user's preference.

The operator keeps it in a ConfigMap beside the Portfolio; the gateway, ``palm select`` and any
application read it. It is canonical JSON without times, so that an unchanged table is an unchanged
object::

    {"schemaVersion": 1, "namespace": "ml", "portfolio": "assistant", "revision": "7c1f09a2",
     "rewards": ["helpfulness", "brevity"],              order of all vectors below
     "normalization": [{"offset": 0.1, "scale": 2.0}, …],  training units to normalized ones
     "policies": [{"name": "w04-1f9c2a", "weights": […], "utilities": […], "usage": 0.37,
                   "url": "http://…/v1", "model": "w04-1f9c2a", "ready": true}, …],
     "guarantee": {"epsilon": 0.031, "delta": 0.019, "scope": "Grid", "confidence": null}}

Weight vectors and utilities are of normalized objectives, so a preference needs no inverse map:
its weights, scaled to sum to 1, are compared as they are (``palm.routing``).
"""

import hashlib
import re
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from palm.contract import AffineMap, Model, Name, canonical_json
from palm.errors import InvalidRouteTable

MAX_POLICIES = 64
MAX_REWARDS = 8
MAX_BYTES = 128 * 1024
"""Largest table that is read; 64 policies of 8 rewards with the longest URLs have half of it."""

URL = r"^https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$"

LONGEST_URL = 512

Vector = Annotated[tuple[float, ...], Field(min_length=1, max_length=MAX_REWARDS)]
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]


class RoutedPolicy(Model):
    """One policy of the portfolio, and where it answers."""

    name: Name
    weights: Vector
    """The weight vector it was trained for, on the simplex."""
    utilities: Vector
    """u(π), normalized: its product with a weight vector is the objective J_w(π)."""
    usage: float = Field(ge=0, le=1)
    """Share of uniformly distributed preferences it serves best."""
    url: str | None = Field(default=None, pattern=URL, max_length=LONGEST_URL)
    """Base URL of its OpenAI-compatible API, such that ``{url}/chat/completions`` answers; null
    where it is not served."""
    model: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=128)
    """Model name to ask for there."""
    ready: bool = False


class RouteGuarantee(Model):
    """How far from optimal the best policy for a preference can be."""

    epsilon: float | None = Field(default=None, ge=0)
    """Largest relative shortfall; null where it is not defined."""
    delta: float = Field(ge=0)
    """Largest absolute shortfall, in normalized units."""
    scope: Literal["Grid", "Simplex"]
    """Grid: at the weight vectors of the grid only. Simplex: for every preference."""
    confidence: float | None = Field(default=None, gt=0, lt=1)
    """Probability with which it holds, where sampling error is accounted for."""


class RouteTable(Model):
    """What to choose from for the users of one Portfolio."""

    schema_version: Literal[1] = 1
    namespace: ObjectName
    portfolio: ObjectName
    revision: str = Field(pattern=r"^[0-9a-f]{1,64}$")
    rewards: tuple[Name, ...] = Field(min_length=1, max_length=MAX_REWARDS)
    normalization: tuple[AffineMap, ...] = Field(min_length=1, max_length=MAX_REWARDS)
    policies: tuple[RoutedPolicy, ...] = Field(min_length=1, max_length=MAX_POLICIES)
    guarantee: RouteGuarantee

    @property
    def key(self) -> str:
        """Return ``namespace/name`` of the Portfolio."""
        return f"{self.namespace}/{self.portfolio}"

    def content(self) -> str:
        """Return the one JSON text of the table."""
        return canonical_json(self.model_dump(mode="json", by_alias=True))

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for what, names in (
            ("reward", self.rewards),
            ("policy", tuple(policy.name for policy in self.policies)),
        ):
            repeated = next((name for name in names if names.count(name) > 1), None)
            if repeated is not None:
                raise ValueError(f"{what} {repeated!r} is there more than once")
        vectors = [("normalization", len(self.normalization))]
        for policy in self.policies:
            vectors.append((f"weights of {policy.name}", len(policy.weights)))
            vectors.append((f"utilities of {policy.name}", len(policy.utilities)))
        for what, length in vectors:
            if length != len(self.rewards):
                raise ValueError(f"{what} has {length} entries; there are {len(self.rewards)}")
        return self


def is_url(text: object) -> bool:
    """Say whether a text can be the base URL of a policy: no credentials, query or fragment."""
    return isinstance(text, str) and len(text) <= LONGEST_URL and bool(re.fullmatch(URL, text))


def sha256_of(content: str) -> str:
    """Return the SHA-256 of a table's text, as ``sha256sum`` prints it."""
    return hashlib.sha256(content.encode()).hexdigest()


def parse_route_table(content: str) -> RouteTable:
    """Return a table.

    Raises:
        InvalidRouteTable: It is too large, no JSON, of another schema, or contradicts itself.
    """
    if len(content) > MAX_BYTES:
        raise InvalidRouteTable(
            f"the route table has {len(content)} characters; at most {MAX_BYTES} are read"
        )
    try:
        return RouteTable.model_validate_json(content)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "document"
        raise InvalidRouteTable(f"route table, {where}: {problem['msg']}") from None
