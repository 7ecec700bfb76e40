"""Exact numbers from text: a grid must not depend on how 8/30 rounds."""

import re
from fractions import Fraction

_LONGEST = 64  # characters; bounds the work that a stranger's text can cause
_RATIONAL = re.compile(
    r"[+-]?(?:[0-9]+/[0-9]+|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?)"
)


def parse_decimal(text: str) -> Fraction:
    """Return the exact value of a decimal or a fraction.

    Args:
        text: For example ``"8/30"``, ``"0.2667"`` or ``"1e-3"``, at most 64 characters.

    Raises:
        ValueError: The text is something else, names the text and the rule.

    Examples:
        >>> parse_decimal("8/30")
        Fraction(4, 15)
    """
    if len(text) > _LONGEST:
        raise ValueError(
            f"{text[:20]!r}… has {len(text)} characters; a number has at most {_LONGEST}"
        )
    if not _RATIONAL.fullmatch(text):
        raise ValueError(
            f"{text!r} is not a number; expected a decimal such as 0.2667 or 1e-3, "
            "or a fraction such as 8/30"
        )
    try:
        return Fraction(text)
    except ZeroDivisionError:
        raise ValueError(f"{text!r} divides by zero; a denominator is at least 1") from None
