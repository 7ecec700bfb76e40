"""The policies file: weight vectors that were trained, and the rewards of their policies.

::

    {"objectives": ["a", "b"],
     "policies": [{"name": "w00", "weights": [1, 0], "rewards": [0.8, 0.3], "regularizer": 0.0},
                  {"name": "w01", "weights": [0, 1], "rewards": null}]}

``rewards: null`` is a failed policy: its weight vector stays to be covered. Utilities are
u = rewards - regularizer, as they are or in the units of their payoff table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from palm.errors import InvalidResult
from palm.objective import check_weights, payoff_normalization, utilities
from palm_cli.failures import InvalidInput, warn
from palm_cli.inputs import MEBIBYTE, first_error, parse_json, read_text, shown, shown_name

Normalize = Literal["none", "payoff"]

BYTES_LIMIT = 64 * MEBIBYTE
POLICIES_LIMIT = 10_000
OBJECTIVES_LIMIT = 64
NAME_LIMIT = 253
LARGEST = 1e100
"""Largest reward that is read; beyond it sums of differences leave what a float can say."""


def _of_sane_size(value: float) -> float:
    if abs(value) > LARGEST:
        raise ValueError(f"its size must be at most {LARGEST:g}")
    return value


Number = Annotated[float, AfterValidator(_of_sane_size)]
Name = Annotated[str, Field(min_length=1, max_length=NAME_LIMIT)]
Vector = NDArray[np.float64]

_EXTREME_TOLERANCE = 1e-9


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False, extra="allow")


class _Policy(_Model):
    name: Name
    weights: Annotated[list[Number], Field(max_length=OBJECTIVES_LIMIT)]
    rewards: Annotated[list[Number], Field(max_length=OBJECTIVES_LIMIT)] | None
    regularizer: Number | None = 0.0


class _File(_Model):
    objectives: Annotated[list[Name], Field(min_length=1, max_length=OBJECTIVES_LIMIT)]
    policies: Annotated[list[_Policy], Field(min_length=1, max_length=POLICIES_LIMIT)]
    portfolio: list[Name] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _check_names(self.objectives, "objectives")
        _check_names([policy.name for policy in self.policies], "policies[].name")
        for index, policy in enumerate(self.policies):
            if policy.rewards is not None and policy.regularizer is None:
                raise ValueError(f"policies[{index}].regularizer is null, but rewards are not")
            for key, vector in (("weights", policy.weights), ("rewards", policy.rewards)):
                if vector is not None and len(vector) != len(self.objectives):
                    raise ValueError(
                        f"policies[{index}].{key} has {len(vector)} entries; "
                        f"there are {len(self.objectives)} objectives"
                    )
        return self


@dataclass(frozen=True, eq=False)
class Policies:
    """The content of a policies file.

    Attributes:
        source: Where it was read, for messages.
        objectives: Names, length d.
        names: Of all policies, failed ones included, in the file's order.
        weights: Weight vectors to be covered, shape ``(n, d)``.
        rows: Positions in ``names`` of the policies with rewards, ascending.
        utilities: u of those policies, shape ``(len(rows), d)``.
        stated: Portfolio that the file names, as positions in ``rows``; None when it names none.
    """

    source: str
    objectives: tuple[str, ...]
    names: tuple[str, ...]
    weights: Vector
    rows: tuple[int, ...]
    utilities: Vector
    stated: tuple[int, ...] | None = None

    @cached_property
    def trained_names(self) -> tuple[str, ...]:
        """Names of the policies with rewards."""
        return tuple(self.names[row] for row in self.rows)

    def trained(self, names: Sequence[str], *, option: str) -> tuple[int, ...]:
        """Return positions among the policies with rewards, ascending.

        Args:
            names: Names from the command line.
            option: Where they come from, for messages.

        Raises:
            InvalidInput: A name is not in the file, or is that of a failed policy.
        """
        positions = {name: index for index, name in enumerate(self.trained_names)}
        for name in names:
            if name in self.names and name not in positions:
                raise InvalidInput(f"{option}: {shown(name)} failed; it has no rewards")
            if name not in positions:
                raise InvalidInput(
                    f"{option}: {shown(name)} is not in {shown_name(self.source)}; there are "
                    f"{shown(self.names)}"
                )
        return tuple(sorted({positions[name] for name in names}))


def read_policies(source: str, *, normalize: Normalize = "none") -> Policies:
    """Read a policies file.

    Args:
        source: Path or ``-``.
        normalize: ``payoff`` expresses utilities in the units of the payoff table of the extreme
            policies in the file.

    Raises:
        InvalidInput: It cannot be read or breaks a rule, or ``payoff`` is asked for and an extreme
            policy is missing or failed.
    """
    return policies_from(
        parse_json(read_text(source, limit=BYTES_LIMIT), source), source, normalize=normalize
    )


def policies_from(value: Any, source: str, *, normalize: Normalize = "none") -> Policies:
    """Return the policies of a parsed policies file; see ``read_policies``."""
    try:
        file = _File.model_validate(value)
    except ValidationError as error:
        raise first_error(error, source) from None
    _warn_of_unknown(file, source)
    weights = np.array([policy.weights for policy in file.policies])
    try:
        check_weights(weights)
    except ValueError as error:
        raise InvalidInput(f"{shown_name(source)}: policies: {error}") from None
    rows = tuple(i for i, policy in enumerate(file.policies) if policy.rewards is not None)
    values = _utilities(file, rows)
    if normalize == "payoff":
        values = _in_payoff_units(values, weights[list(rows)], file.objectives, source)
    parsed = Policies(
        source=source,
        objectives=tuple(file.objectives),
        names=tuple(policy.name for policy in file.policies),
        weights=weights,
        rows=rows,
        utilities=values,
    )
    if file.portfolio is None:
        return parsed
    stated = parsed.trained(file.portfolio, option=f"{shown_name(source)}: portfolio")
    return Policies(**{**_fields(parsed), "stated": stated})


def _fields(policies: Policies) -> dict[str, Any]:
    return {name: getattr(policies, name) for name in Policies.__dataclass_fields__}


def _utilities(file: _File, rows: Sequence[int]) -> Vector:
    rewards = [file.policies[row].rewards for row in rows]
    regularizer = [file.policies[row].regularizer or 0.0 for row in rows]
    shape = (len(rows), len(file.objectives))
    return utilities(
        rewards=np.array(rewards, dtype=np.float64).reshape(shape),
        regularizer=np.array(regularizer, dtype=np.float64),
    )


def _in_payoff_units(
    values: Vector, weights: Vector, objectives: Sequence[str], source: str
) -> Vector:
    table = []
    for i, objective in enumerate(objectives):
        extreme = np.flatnonzero(weights[:, i] >= 1.0 - _EXTREME_TOLERANCE)
        if not extreme.size:
            raise InvalidInput(
                f"{shown_name(source)}: no trained policy has all its weight on "
                f"{shown(objective)}; --normalize payoff needs the extreme policy of each objective"
            )
        table.append(values[extreme[0]])
    try:
        return payoff_normalization(np.stack(table)).apply(values)
    except InvalidResult as error:
        raise InvalidInput(f"{shown_name(source)}: {error}") from None


def _check_names(names: Sequence[str], what: str) -> None:
    seen = set()
    for name in names:
        if not name.isprintable():
            raise ValueError(f"{what}: {shown(name)} has characters that cannot be printed")
        if name in seen:
            raise ValueError(f"{what}: {shown(name)} is there twice; names are unique")
        seen.add(name)


def _warn_of_unknown(file: _File, source: str) -> None:
    extra = {key for policy in file.policies for key in policy.model_extra or ()}
    for key in sorted(extra):
        warn(f"{shown_name(source)}: policies[]: key {shown(key)} is not known and not used")
