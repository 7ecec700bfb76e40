"""Which weight vectors are covered, which of them are trained, and when a policy covers one."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from palm.contract import Model
from palm_operator.api.rules import DECIMAL, number, number_rule, rule, rules
from palm_operator.api.types import Decimal

MOST_WEIGHT_VECTORS = 10_000
"""Largest grid that is handled at all; the search may train fewer of it."""
_MOST_WRITTEN_OUT = 256
_FIELDS = {
    "PALM": ("mu", "alpha", "spacing"),
    "Uniform": ("size", "seed"),
    "Random": ("size", "seed"),
    "Explicit": ("weights",),
}
_NEEDED = ("mu", "alpha", "size", "weights")


def _strategy_rules() -> dict[str, Any]:
    """Return the rules of which fields go with which strategy."""
    entries = []
    for field in ("mu", "alpha", "spacing", "size", "seed", "weights"):
        owners = [name for name, fields in _FIELDS.items() if field in fields]
        belongs, shown = f"self.strategy in {owners}", " or ".join(owners)
        if field in _NEEDED:
            needed = f"!({belongs}) || has(self.{field})"
            entries.append(
                rule(
                    needed,
                    f"strategy {shown} needs it",
                    field=f".{field}",
                    reason="FieldValueRequired",
                )
            )
        says = f"'belongs to strategy {shown}; strategy is ' + self.strategy"
        entries.append(rule(f"{belongs} || !has(self.{field})", says=says, field=f".{field}"))
    return rules(*entries)


WeightVector = Annotated[
    list[Decimal],
    Field(
        min_length=2,
        max_length=8,
        json_schema_extra=rules(
            rule(
                f"!self.all(x, x.matches(r'{DECIMAL}')) || "
                f"(self.map(x, {number('x')}).sum() > 0.999999 && "
                f"self.map(x, {number('x')}).sum() < 1.000001)",
                says="'[' + self.join(', ') + '] must sum to 1, as a weight vector does'",
            )
        ),
    ),
]


class Grid(Model):
    """The weight vectors that are covered: CONSTRUCTGRID of Algorithm 1, or a baseline's."""

    model_config = ConfigDict(json_schema_extra=_strategy_rules())

    strategy: Literal["PALM", "Uniform", "Random", "Explicit"] = "PALM"
    """PALM: the geometric grid of the paper, by mu and alpha. Uniform: evenly spaced, by size.
    Random: drawn uniformly from the simplex, by size and seed. Explicit: as listed in weights.
    Where the last three leave out a unit vector it is added: the policies of the unit vectors
    fix the units that weights are meant in."""
    mu: Decimal | None = Field(
        default=None,
        json_schema_extra=rules(
            number_rule("({0} > 0.0 && {0} <= 1.0)", "must be greater than 0 and at most 1")
        ),
    )
    """Multiplicative accuracy μ in (0, 1]: consecutive levels have ratio 1 + μ."""
    alpha: Decimal | None = Field(
        default=None,
        json_schema_extra=rules(
            number_rule("({0} > 0.0 && {0} <= 1.0)", "must be greater than 0 and at most 1")
        ),
    )
    """Additive accuracy α in (0, 1]: the smallest positive level is at most α."""
    spacing: Literal["Descending", "Even"] | None = None
    """Descending (the paper's, and when omitted): the levels' ratio is 1 + μ, the lowest may be
    less than α. Even: the lowest is α, the ratio may be less than 1 + μ."""
    size: int | None = Field(default=None, ge=1, le=MOST_WEIGHT_VECTORS)
    """How many weight vectors."""
    seed: int | None = Field(default=None, ge=0, le=2_147_483_647)
    """Of the draw; 0 when omitted."""
    weights: list[WeightVector] | None = Field(
        default=None,
        min_length=1,
        max_length=_MOST_WRITTEN_OUT,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    """Weight vectors, each with an entry per reward, at least 0, that sum to 1."""


class Search(Model):
    """Which weight vectors of the grid are trained."""

    mode: Literal["Adaptive", "Propose", "Grid"] = "Adaptive"
    """Adaptive: as few as certify that every weight vector of the grid is covered. Propose: the
    same guarantee with some more oracle calls, for a smaller portfolio. Grid: all of them, as in
    the paper."""
    max_oracle_calls: int = Field(default=100, ge=1, le=MOST_WEIGHT_VECTORS)
    """The most weight vectors that are trained; those found trained in S3 count. Adaptive and
    Propose stop there and say what is not certified. Grid: a larger grid is refused before
    anything is created."""


class Pruning(Model):
    """PRUNE of Algorithm 1: when a policy covers a weight vector, and how covers are found.

    Changed alone, it starts no oracle call where the evidence suffices: none with search mode Grid,
    none with Adaptive where it is loosened. Tightened, it starts those that certify the tighter
    tolerance; Propose may also train for a smaller portfolio.
    """

    mu: Decimal = Field(
        default="0.05",
        json_schema_extra=rules(number_rule("{} < 1.0", "must be at least 0 and less than 1")),
    )
    """Multiplicative tolerance μ', in [0, 1)."""
    alpha: Decimal = "0"
    """Additive tolerance α' in normalized reward units."""
    solver: Literal["Exact", "Greedy"] = "Exact"
    """Exact: the smallest cover, within a time limit. Greedy: a small one, at once."""
