"""Which policy serves a preference: argmax of J_w(π), and how far from optimal it can be.

Shared by the gateway, the command line and tests. Plain Python on a handful of numbers: the same
products in the same order as ``palm.objective.scalarize``, hence the same policy as
``palm.usage.best_policy`` to the last bit, within microseconds and without arrays.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any

from palm.errors import InvalidPreference
from palm.rational import parse_decimal
from palm.route_table import RouteTable

LONGEST_PREFERENCE = 1024
"""Characters of a preference as text; eight rewards with long names have half of it."""

_PART = re.compile(r"\s*([A-Za-z0-9_.-]{1,64})\s*=\s*([^\s=,]{1,64})\s*")
_UPWARDS = Context(prec=4, rounding=ROUND_CEILING)


@dataclass(frozen=True)
class Shortfall:
    """How far below the best possible policy a choice is, at most.

    Attributes:
        absolute: In normalized units.
        relative: As a share of the best possible objective; None where that may not be positive.
    """

    absolute: float
    relative: float | None


def parse_preference(text: str) -> dict[str, float]:
    """Return a preference written as ``helpfulness=0.7,brevity=0.3`` or as a JSON object.

    Raises:
        InvalidPreference: The text is neither, too long, or names a reward twice.
    """
    if len(text) > LONGEST_PREFERENCE:
        raise InvalidPreference(
            f"the preference has {len(text)} characters; at most {LONGEST_PREFERENCE} are read"
        )
    if text.lstrip().startswith("{"):
        try:
            pairs = json.loads(text, object_pairs_hook=_Pairs)
        except (ValueError, RecursionError):
            raise InvalidPreference("the preference is not a JSON object of numbers") from None
        return preference_of(pairs)
    return preference_of(_Pairs(_part(part) for part in text.split(",")))


class _Pairs(list[tuple[str, Any]]):
    """Names and amounts before anybody has checked that no name is there twice."""


def preference_of(amounts: object) -> dict[str, float]:
    """Return a preference given as a mapping of reward names to numbers, or as text.

    Args:
        amounts: What came from outside: numbers, or decimals as text.

    Raises:
        InvalidPreference: It is something else, an amount is negative, not finite or no number.
    """
    if isinstance(amounts, str):
        return parse_preference(amounts)
    if isinstance(amounts, Mapping):
        amounts = _Pairs(amounts.items())
    if not isinstance(amounts, _Pairs) or not amounts:
        raise InvalidPreference(
            'the preference must name rewards and amounts, for example {"helpfulness": 0.7, '
            '"brevity": 0.3}'
        )
    preference: dict[str, float] = {}
    for name, amount in amounts:
        if name in preference:
            raise InvalidPreference(f"the preference names {_shown(name)} more than once")
        preference[name] = _amount(name, amount)
    return preference


def weight_vector(preference: Mapping[str, float], rewards: Sequence[str]) -> tuple[float, ...]:
    """Return the weight vector of a preference: its amounts in order, scaled to sum to 1.

    Args:
        preference: Amounts by reward name, at least 0, of any scale; a reward not named gets 0.
        rewards: Names in the order of the weight vector's coordinates.

    Raises:
        InvalidPreference: A name is unknown, or every amount is 0.
    """
    unknown = next((name for name in preference if name not in rewards), None)
    if unknown is not None:
        raise InvalidPreference(
            f"unknown reward {_shown(unknown)}; this portfolio knows {', '.join(rewards)}"
        )
    amounts = [preference.get(name, 0.0) for name in rewards]
    largest = max(amounts)
    if not largest > 0:
        raise InvalidPreference("every amount of the preference is 0; at least one must be above")
    scaled = [amount / largest for amount in amounts]  # the largest is 1: no sum overflows
    total = sum(scaled)
    return tuple(amount / total for amount in scaled)


def objectives(weights: Sequence[float], table: RouteTable) -> tuple[float, ...]:
    """Return J_w(π) of every policy of a table, in its order; higher is better."""
    return tuple(_product(weights, policy.utilities) for policy in table.policies)


def ranking(values: Sequence[float]) -> tuple[int, ...]:
    """Return indices by falling value; ties go to the lower index, so the first is the argmax."""
    return tuple(sorted(range(len(values)), key=lambda index: (-values[index], index)))


def shortfall(table: RouteTable, values: Sequence[float], index: int) -> Shortfall:
    """Return how far below the best possible policy one choice is, at most.

    Where the guarantee's scope is the grid, this holds at its weight vectors and is an estimate
    between them.

    Args:
        table: Whose guarantee holds for the best policy.
        values: J_w of every policy, as ``objectives`` returns them.
        index: The policy chosen; any but the best is behind it as well.
    """
    best, chosen = max(values), values[index]
    epsilon, room = table.guarantee.epsilon, table.guarantee.delta
    if epsilon is not None and epsilon < 1 and best > 0:
        room = min(room, best * epsilon / (1 - epsilon))  # (1-ε)·opt ≤ best
    # 1 - J/opt grows with opt where J is positive and falls where it is negative.
    worst = best + room if chosen >= 0 else best
    relative = 1 - chosen / worst if best > 0 else None
    return Shortfall(absolute=best - chosen + room, relative=relative)


def at_most(value: float) -> str:
    """Return a number of four significant digits that is never below the value."""
    return format(_UPWARDS.create_decimal(Decimal(repr(value))).normalize(), "f")


def by_usage(table: RouteTable) -> tuple[int, ...]:
    """Return indices by falling usage share: whom to ask without a preference."""
    return ranking([policy.usage for policy in table.policies])


def _product(weights: Sequence[float], utilities: Sequence[float]) -> float:
    total = 0.0
    for weight, utility in zip(weights, utilities, strict=True):
        total += weight * utility
    return total


def _part(part: str) -> tuple[str, str]:
    match = _PART.fullmatch(part)
    if match is None:
        raise InvalidPreference(
            f"{_shown(part)} is not name=amount; expected for example helpfulness=0.7,brevity=0.3"
        )
    return match[1], match[2]


def _amount(name: object, amount: object) -> float:
    try:
        if isinstance(amount, str):
            number = float(parse_decimal(amount))
        elif isinstance(amount, int | float) and not isinstance(amount, bool):
            number = float(amount)
        else:
            raise TypeError
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise InvalidPreference(
            f"the amount of {_shown(name)} must be a finite number of at least 0"
        )
    return number


def _shown(name: object) -> str:
    """Return a stranger's text, short and printable."""
    text = ascii(str(name)[:64])
    return text if len(str(name)) <= 64 else f"{text}…"
