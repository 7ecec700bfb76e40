"""Kubernetes quantities (``500m``, ``2Gi``, ``1e3``) as exact numbers."""

import re
from fractions import Fraction

_QUANTITY = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)$")
_SUFFIX = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    **{letter: Fraction(1000**power) for power, letter in enumerate("kMGTPE", start=1)},
    **{f"{letter}i": Fraction(1024**power) for power, letter in enumerate("KMGTPE", start=1)},
}


def parse_quantity(text: str) -> Fraction:
    """Read a quantity.

    Raises:
        ValueError: ``text`` is not a Kubernetes quantity.
    """
    match = _QUANTITY.match(text)
    if match is None:
        raise ValueError(f"quantity {text!r} is not a number with an optional suffix such as Gi")
    number, exponent, suffix = match.groups()
    scale = Fraction(10) ** int(exponent) if exponent else _SUFFIX.get(suffix, Fraction(1))
    return Fraction(number) * scale


def in_units(quantity: str, divisor: str) -> str:
    """A quantity in units of ``divisor``, rounded up, as ``resourceFieldRef`` prints it."""
    unit = parse_quantity(divisor) or Fraction(1)  # the API stores "0" for "not given"
    return str(-(-parse_quantity(quantity) // unit))
