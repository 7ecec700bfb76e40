"""CONSTRUCTGRID of Algorithm 1: the weight vectors that PALM trains policies for.

Three deviations from the printed algorithm, each on purpose:

* The level count is rounded up. The paper writes ``α(1+μ)^N = 1``, which holds for integer N only;
  its published oracle-call counts (Tables 5 and 6) are those of ``⌈N⌉``. The ceiling is decided
  exactly: near an exact power, floating-point logarithms give a wrong grid.
* Levels descend from 1, ``(1+μ)^-k``, so that the lowest is at most α. The weight vector
  (0.7016, 0.2984) that the paper reports is on this grid and not on the ascending one.
* Each weight vector appears once: vectors whose largest coordinate occurs twice are enumerated
  for the first occurrence only, so nothing is compared to find duplicates.

The published count 13 for RLVR-GSM (d = 2, μ = 8/30, α = 0.2) is not reproducible: the algorithm
gives 17. A loop over k = 0…⌊N⌋-1 gives 13, but its lowest positive level is 0.307 > α.
"""

import math
from decimal import Context, Decimal
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Spacing = Literal["Descending", "Even"]
"""Descending: (1+μ)^-k, of which the lowest may be less than α. Even: α^(k/n), from 1 to α exactly,
with a ratio of at most 1+μ. Both have as many levels; they differ in which tolerance has slack."""

GRID_LIMIT = 1_000_000
"""Most weight vectors that ``construct_grid`` builds unless told otherwise."""
LEVEL_LIMIT = 10_000
"""Most levels that ``one_dimensional_grid`` multiplies out; its fractions grow with each."""
DIMENSION_LIMIT = 64
"""Most objectives; a grid over d objectives has at least 2^d - 1 weight vectors."""

# With 150 digits the float of every level is the float of the exact fraction.
_LEVEL_DIGITS = 150
# Equal coordinates come out equal up to rounding; distinct ones of a grid are further apart.
_SAME_COORDINATE = 1e-13


def level_count(mu: Fraction, alpha: Fraction) -> int:
    """Return n, the smallest integer with (1+μ)^n ≥ 1/α, exactly and without large powers.

    Algorithm 1, line 1. Logarithms decide with as many digits as it takes; they cannot decide when
    1/α is a power of 1+μ, which is looked for first.

    Args:
        mu: Multiplicative accuracy μ, in (0, 1].
        alpha: Additive accuracy α, in (0, 1].
    """
    _check_accuracies(mu, alpha)
    base, target = 1 + mu, 1 / alpha
    digits = 50
    while True:
        context = Context(prec=digits)
        step = context.ln(_decimal(base, context))
        if step > 0:
            levels = context.divide(context.ln(_decimal(target, context)), step)
            nearest = int(levels.to_integral_value())
            if _is_power(target, base, nearest):
                return nearest
            # ln(1+μ) loses as many digits as μ has zeros.
            error = (levels + 1) * Decimal(10) ** (5 - digits - step.adjusted())
            if abs(levels - nearest) > error:
                return math.ceil(levels)
        digits *= 2


def grid_size(mu: Fraction, alpha: Fraction, dimension: int) -> int:
    """Return |W|, the oracle calls of the full grid, without building it: g^d - (g-1)^d.

    Args:
        mu: Multiplicative accuracy μ, in (0, 1].
        alpha: Additive accuracy α, in (0, 1].
        dimension: Number of objectives d, from 1 to 64.
    """
    if not 1 <= dimension <= DIMENSION_LIMIT:
        raise ValueError(f"dimension is {dimension}; it must be from 1 to {DIMENSION_LIMIT}")
    values = level_count(mu, alpha) + 2  # k = 0…n, and zero
    return int(values**dimension - (values - 1) ** dimension)


def one_dimensional_grid(
    mu: Fraction, alpha: Fraction, *, limit: int = LEVEL_LIMIT
) -> tuple[Fraction, ...]:
    """Return the values a coordinate may take before projection: (1+μ)^-k for k = 0…n, then 0.

    Algorithm 1, line 2 (``1dgrid``), exact and in descending order.

    Args:
        mu: Multiplicative accuracy μ, in (0, 1].
        alpha: Additive accuracy α, in (0, 1].
        limit: Most levels to return.

    Raises:
        ValueError: An argument is out of range, or there are more levels than ``limit``.
    """
    count = level_count(mu, alpha) + 2
    if count > limit:
        raise ValueError(
            f"mu={_shown(mu)} and alpha={_shown(alpha)} give {_shown(count)} levels; "
            f"at most {limit} are allowed"
        )
    ratio = 1 / (1 + mu)
    levels = [Fraction(1)]
    for _ in range(count - 2):
        levels.append(levels[-1] * ratio)
    return (*levels, Fraction(0))


def grid_levels(
    mu: Fraction, alpha: Fraction, *, spacing: Spacing = "Descending"
) -> NDArray[np.float64]:
    """Return the values a coordinate may take before projection, in descending order, 0 the last.

    Args:
        mu: Multiplicative accuracy μ, in (0, 1].
        alpha: Additive accuracy α, in (0, 1].
        spacing: How the positive levels are spaced.

    Returns:
        Shape ``(n + 2,)``, each the float nearest to its exact value.
    """
    n = level_count(mu, alpha)
    return np.array([1.0, *_levels_below_one(mu, alpha, n, spacing)[::-1]])


def effective_accuracies(
    mu: Fraction, alpha: Fraction, *, spacing: Spacing = "Descending"
) -> tuple[float, float]:
    """Return the (μ, α) that the grid attains: a level above every value v is at most (1+μ)·v or α.

    At most the ones asked for; rounding up the number of levels leaves slack in one of them.
    """
    levels = grid_levels(mu, alpha, spacing=spacing)
    if spacing == "Descending":
        return float(mu), float(levels[-2])
    n = len(levels) - 2
    return (float(alpha) ** (-1.0 / n) - 1.0 if n else 0.0), float(alpha)


def construct_grid(
    mu: Fraction,
    alpha: Fraction,
    *,
    dimension: int,
    spacing: Spacing = "Descending",
    limit: int = GRID_LIMIT,
) -> NDArray[np.float64]:
    """Return the weight vectors of CONSTRUCTGRID (Algorithm 1, lines 1 to 6).

    Args:
        mu: Multiplicative accuracy μ, in (0, 1].
        alpha: Additive accuracy α, in (0, 1].
        dimension: Number of objectives d, from 1 to 64; 1 gives the one weight vector (1).
        spacing: How the levels of a coordinate are spaced.
        limit: Most weight vectors to return; checked before anything is allocated.

    Returns:
        Weight vectors on the simplex, shape ``(n, d)``, no two equal, in ascending lexicographic
        order.

    Raises:
        ValueError: An argument is out of range, or the grid is larger than ``limit``.
    """
    count = grid_size(mu, alpha, dimension)
    if count > limit:
        raise ValueError(
            f"the grid for mu={_shown(mu)}, alpha={_shown(alpha)} and {dimension} objectives "
            f"has {_shown(count)} weight vectors; at most {limit} are allowed"
        )
    n = 0 if dimension == 1 else level_count(mu, alpha)
    below_one = _levels_below_one(mu, alpha, n, spacing)
    every = np.concatenate([below_one, [1.0]])
    one = np.ones(1)
    corners = []
    for i in range(dimension):  # Algorithm 1, line 4: coordinate i is 1, and the first that is
        axes = [below_one] * i + [one] + [every] * (dimension - 1 - i)
        corners.append(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, dimension))
    return _in_lexicographic_order(_on_simplex(np.concatenate(corners)))


def _levels_below_one(
    mu: Fraction, alpha: Fraction, n: int, spacing: Spacing
) -> NDArray[np.float64]:
    """Return 0 and the n levels below 1, ascending, each the float nearest to its exact value."""
    context = Context(prec=_LEVEL_DIGITS)
    if spacing == "Descending" or not n:
        ratio = _decimal(1 / (1 + mu), context)
    else:
        logarithm = context.divide(context.ln(_decimal(alpha, context)), Decimal(n))
        ratio = context.exp(logarithm)
    level = Decimal(1)
    levels = []
    for _ in range(n):
        level = context.multiply(level, ratio)
        levels.append(float(level))
    return np.array([0.0, *reversed(levels)])


def _on_simplex(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide each row by its sum (Algorithm 1, line 6)."""
    # Sorted first, so that permuted rows have one sum and stay permutations of each other.
    weights: NDArray[np.float64] = vectors / np.sort(vectors, axis=1).sum(axis=1, keepdims=True)
    return weights


def _in_lexicographic_order(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sort rows by coordinate ranks, so that rounding never decides between equal coordinates."""
    ranks = np.empty(weights.shape, dtype=np.intp)
    for column in range(weights.shape[1]):
        order = np.argsort(weights[:, column], kind="stable")
        steps = np.diff(weights[order, column], prepend=0.0) > _SAME_COORDINATE
        ranks[order, column] = np.cumsum(steps)
    ordered: NDArray[np.float64] = weights[np.lexsort(ranks.T[::-1])]
    return ordered


def _is_power(target: Fraction, base: Fraction, exponent: int) -> bool:
    """Say whether target = base^exponent; both are in lowest terms, so their parts must agree."""
    smallest_bits = exponent * (base.numerator.bit_length() - 1)
    if smallest_bits > target.numerator.bit_length():
        return False  # cheap, and keeps the power below from growing
    return bool(base**exponent == target)


def _decimal(value: Fraction, context: Context) -> Decimal:
    return context.divide(Decimal(value.numerator), Decimal(value.denominator))


def _shown(value: Fraction | int) -> str:
    """Write a number of any size shortly; floats would overflow."""
    if isinstance(value, int) and value < 10**15:
        return str(value)
    return str(_decimal(Fraction(value), Context(prec=6)).normalize())


def _check_accuracies(mu: Fraction, alpha: Fraction) -> None:
    for name, value in (("mu", mu), ("alpha", alpha)):
        if not 0 < value <= 1:
            raise ValueError(f"{name} is {_shown(value)}; it must be in (0, 1] (Algorithm 1)")
