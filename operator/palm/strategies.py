"""Weight vectors chosen without the grid: the paper's baselines (B.4, B.5.1), and chosen by hand.

All return distinct weight vectors in ascending lexicographic order. Coordinates are the floats
nearest to exact fractions, and what is random comes from ``random.Random(seed).random()``, whose
values Python promises to keep: the same call gives the same policies on every machine and version.
"""

import itertools
import math
import random
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from palm.grid import DIMENSION_LIMIT, GRID_LIMIT, grid_size

# Hand-written weights have a few decimals; they are divided by their sum, exactly.
_SUM_TOLERANCE = Fraction(1, 10**6)


def uniform_weights(count: int, *, dimension: int, seed: int = 0) -> NDArray[np.float64]:
    """Return evenly spaced weight vectors, the Uniform baseline (B.4.1).

    All vectors of fractions with the smallest common denominator that gives enough of them; if that
    is too many, a random choice among them, as in the paper, which may leave out extremes. With two
    objectives nothing is left out. A single weight vector is the centre.

    Args:
        count: How many, at least 1.
        dimension: Number of objectives d, from 1 to 64.
        seed: Of the choice.

    Returns:
        Shape ``(count, d)``.

    Raises:
        ValueError: An argument is out of range, or more than ``GRID_LIMIT`` would be built.
    """
    _check_count(count, dimension)
    if count == 1:
        return np.full((1, dimension), 1.0 / dimension)
    if dimension == 1:
        raise ValueError(f"count is {count}; with 1 objective there is one weight vector")
    denominator = 1
    while math.comb(denominator + dimension - 1, dimension - 1) < count:
        denominator += 1
    points = math.comb(denominator + dimension - 1, dimension - 1)
    if points > GRID_LIMIT:
        raise ValueError(
            f"{count} of {points} evenly spaced weight vectors of {dimension} objectives are too "
            f"many to choose from; at most {GRID_LIMIT} are built"
        )
    generator = random.Random(seed)
    order = np.argsort([generator.random() for _ in range(points)], kind="stable")
    return _lattice(denominator, dimension)[np.sort(order[:count])] / denominator


def uniform_palm_weights(
    mu: Fraction, alpha: Fraction, *, dimension: int, seed: int = 0
) -> NDArray[np.float64]:
    """Return as many evenly spaced weight vectors as the grid has: Uniform-PALM (B.5.1).

    Args:
        mu: Multiplicative accuracy μ of the grid it is compared with.
        alpha: Additive accuracy α of that grid.
        dimension: Number of objectives d.
        seed: Of the choice, where there are more evenly spaced ones than that.
    """
    return uniform_weights(grid_size(mu, alpha, dimension), dimension=dimension, seed=seed)


def random_weights(count: int, *, dimension: int, seed: int) -> NDArray[np.float64]:
    """Return weight vectors drawn uniformly from the simplex, Dirichlet(1): the Random baseline.

    They are the spacings of sorted uniform numbers, which are so distributed.

    Args:
        count: How many, at least 1.
        dimension: Number of objectives d, from 1 to 64.
        seed: Of the draw.

    Returns:
        Shape ``(count, d)``.
    """
    _check_count(count, dimension)
    if dimension == 1 and count > 1:
        raise ValueError(f"count is {count}; with 1 objective there is one weight vector")
    generator = random.Random(seed)
    drawn: set[tuple[float, ...]] = set()
    while len(drawn) < count:
        cuts = sorted(generator.random() for _ in range(dimension - 1))
        drawn.add(tuple(b - a for a, b in itertools.pairwise([0.0, *cuts, 1.0])))
    return np.array(sorted(drawn))


def explicit_weights(
    vectors: Sequence[Sequence[Fraction]], *, dimension: int, limit: int = GRID_LIMIT
) -> NDArray[np.float64]:
    """Return the weight vectors that somebody chose, checked.

    Args:
        vectors: Weights as exact numbers; each vector sums to 1 up to the last written decimal
            (10^-6) and is divided by its sum.
        dimension: Number of objectives d, from 1 to 64.
        limit: Most weight vectors.

    Returns:
        Shape ``(len(vectors), d)``.

    Raises:
        ValueError: There are none or too many, one is not on the simplex, or two are equal.
    """
    if not 1 <= len(vectors) <= limit:
        raise ValueError(f"there are {len(vectors)} weight vectors; there must be 1 to {limit}")
    _check_count(len(vectors), dimension)
    seen: dict[tuple[Fraction, ...], int] = {}
    for index, vector in enumerate(vectors):
        shown = ", ".join(str(weight) for weight in vector[:10])
        total = sum(vector, Fraction(0))
        if len(vector) != dimension or min(vector) < 0 or abs(total - 1) > _SUM_TOLERANCE:
            raise ValueError(
                f"weight vector {index} is ({shown}); it must have {dimension} entries of at "
                "least 0 that sum to 1"
            )
        exact = tuple(weight / total for weight in vector)
        if exact in seen:
            raise ValueError(f"weight vectors {seen[exact]} and {index} are both ({shown})")
        seen[exact] = index
    return np.array([[float(weight) for weight in vector] for vector in sorted(seen)])


def with_extremes(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weight vectors and those unit vectors that are not among them, in order.

    Normalization and certificates need the extreme policies; baselines may leave them out.

    Args:
        weights: Weight vectors on the simplex, shape ``(n, d)``.
    """
    return np.unique(np.vstack([weights, np.eye(weights.shape[1])]), axis=0)


def _lattice(denominator: int, dimension: int) -> NDArray[np.float64]:
    """Return all vectors of d integers from 0 that sum to the denominator, in order."""
    places = denominator + dimension - 1
    # Stars and bars: the bars' places in order give the vectors in order.
    bars = itertools.chain.from_iterable(itertools.combinations(range(places), dimension - 1))
    inner = np.fromiter(bars, dtype=np.int64).reshape(-1, dimension - 1)
    counts = np.diff(inner, axis=1, prepend=-1, append=places) - 1
    return counts.astype(np.float64)


def _check_count(count: int, dimension: int) -> None:
    if not 1 <= count <= GRID_LIMIT:
        raise ValueError(f"count is {count}; it must be from 1 to {GRID_LIMIT}")
    if not 1 <= dimension <= DIMENSION_LIMIT:
        raise ValueError(f"dimension is {dimension}; it must be from 1 to {DIMENSION_LIMIT}")
