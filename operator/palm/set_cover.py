"""Minimum set cover: which policies to keep so that every weight vector stays covered.

A cover matrix has a row for each weight vector and a column for each policy; True means that the
policy covers the weight vector. Boolean arrays and packed matrices are both taken; greedy covers
take any size, exact ones up to ``EXACT_LIMIT`` unless the columns are intervals.
"""

from collections.abc import Collection
from dataclasses import dataclass
from time import monotonic
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from palm.cover_matrix import CoverMatrix
from palm.errors import NoCover
from palm.integer_cover import integer_cover
from palm.interval_cover import interval_cover, intervals

Solver = Literal["Exact", "Greedy"]
Covers = NDArray[np.bool_] | CoverMatrix

EXACT_LIMIT = 2_000
"""Most weight vectors and most policies for integer programming, which finds nothing beyond it."""


@dataclass(frozen=True)
class Cover:
    """Policies that together cover every weight vector.

    Attributes:
        indices: Policies kept, ascending.
        proven: Whether no smaller cover exists.
        solver: What found it; ``Greedy`` also when the exact solver found none smaller in time.
    """

    indices: tuple[int, ...]
    proven: bool
    solver: Solver


def greedy_cover(covers: Covers) -> tuple[int, ...]:
    """Return a cover by the paper's greedy algorithm (Appendix B.1).

    Args:
        covers: Cover matrix, shape ``(weights, policies)``.

    Returns:
        Policies in the order they are picked: each covers the most weight vectors still uncovered,
        ties go to the lower index.

    Raises:
        NoCover: Some weight vector is covered by no policy.
    """
    matrix = _coverable(covers)
    uncovered = np.ones(len(matrix.bits), dtype=np.bool_)
    gains = matrix.counts(np.arange(len(matrix.bits)))
    picked: list[int] = []
    while uncovered.any():
        best = int(np.argmax(gains))
        picked.append(best)
        # Each row is unpacked once, when it is covered.
        newly = np.flatnonzero(uncovered & matrix.columns([best])[:, 0])
        gains -= matrix.counts(newly)
        uncovered[newly] = False
    return tuple(picked)


def reverse_delete(covers: Covers, *, cover: tuple[int, ...]) -> tuple[int, ...]:
    """Return the cover without the policies that the others make redundant, last picked first.

    Args:
        covers: Cover matrix, shape ``(weights, policies)``.
        cover: Policies that cover everything, in the order they were picked.
    """
    columns = _matrix(covers).columns(cover)
    times = columns.sum(axis=1)
    kept = list(cover)
    for place in reversed(range(len(cover))):
        if (times - columns[:, place] > 0).all():
            times -= columns[:, place]
            kept.remove(cover[place])
    return tuple(kept)


def minimum_cover(
    covers: Covers, *, preferred: Collection[int] = (), time_limit: float = 10.0
) -> Cover:
    """Return a smallest cover: by a sweep if all columns are intervals, else by HiGHS.

    Ties: the smallest size first, then the most ``preferred`` policies, then the lexicographically
    smallest index set.

    Args:
        covers: Cover matrix, shape ``(weights, policies)``.
        preferred: Policies to keep where it costs nothing, such as those already deployed.
        time_limit: Seconds for integer programming. Afterwards the smallest cover found is
            returned, not proven: the solver's, or the greedy one without its redundant policies.
            Time spent on ties alone only loses the order among the tied: the cover is proven.

    Raises:
        NoCover: Some weight vector is covered by no policy.
    """
    deadline = monotonic() + time_limit
    matrix = _coverable(covers)
    liked = np.isin(np.arange(matrix.policies), list(preferred))
    if liked.sum() != len(set(preferred)):
        raise ValueError(
            f"preferred is {sorted(preferred)}; it must name policies from 0 to {len(liked) - 1}"
        )
    ends = intervals(matrix)
    if ends is not None:
        swept = interval_cover(ends, points=len(matrix.bits), liked=liked)
        return Cover(indices=swept, proven=True, solver="Exact")
    greedy = reverse_delete(matrix, cover=greedy_cover(matrix))
    if max(matrix.shape) > EXACT_LIMIT:
        return Cover(indices=tuple(sorted(greedy)), proven=False, solver="Greedy")
    best, proven = integer_cover(matrix.boolean(), start=greedy, liked=liked, deadline=deadline)
    found = proven or len(best) < len(greedy)
    return Cover(indices=best, proven=proven, solver="Exact" if found else "Greedy")


def _matrix(covers: Covers) -> CoverMatrix:
    if isinstance(covers, CoverMatrix):
        return covers
    if covers.ndim != 2 or covers.dtype != np.bool_:
        raise ValueError(
            "covers must be boolean with shape (weights, policies), not "
            f"{covers.dtype} {covers.shape}"
        )
    return CoverMatrix.packed(covers)


def _coverable(covers: Covers) -> CoverMatrix:
    matrix = _matrix(covers)
    uncovered = matrix.uncovered()
    if uncovered.size:
        raise NoCover(uncovered.tolist())
    return matrix
