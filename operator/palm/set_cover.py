"""Minimum set cover: which policies to keep so that every weight vector stays covered.

A cover matrix is boolean with shape ``(weights, policies)``; True means that the policy covers the
weight vector. Meant for up to a few thousand of each: dominance compares all pairs.
"""

from collections.abc import Collection
from dataclasses import dataclass
from time import monotonic
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from palm.errors import NoCover

Solver = Literal["Exact", "Greedy"]

# Tie-breaking coefficients are powers of 2 up to this one: far below the solver's tolerances.
_TIES_AT_ONCE = 10


@dataclass(frozen=True)
class Cover:
    """Policies that together cover every weight vector.

    Attributes:
        indices: Policies kept, ascending.
        proven: Whether no smaller cover exists.
        solver: What found it; ``Greedy`` also when the exact solver ran out of time.
    """

    indices: tuple[int, ...]
    proven: bool
    solver: Solver


def greedy_cover(covers: NDArray[np.bool_]) -> tuple[int, ...]:
    """Return a cover by the paper's greedy algorithm (Appendix B.1).

    Args:
        covers: Cover matrix, shape ``(weights, policies)``.

    Returns:
        Policies in the order they are picked: each covers the most weight vectors still uncovered,
        ties go to the lower index.

    Raises:
        NoCover: Some weight vector is covered by no policy.
    """
    _check_coverable(covers)
    uncovered = np.ones(len(covers), dtype=np.bool_)
    gains = covers.sum(axis=0)
    picked: list[int] = []
    while uncovered.any():
        best = int(np.argmax(gains))
        picked.append(best)
        gains -= covers[uncovered & covers[:, best]].sum(axis=0)
        uncovered &= ~covers[:, best]
    return tuple(picked)


def reverse_delete(covers: NDArray[np.bool_], *, cover: tuple[int, ...]) -> tuple[int, ...]:
    """Return the cover without the policies that the others make redundant, last picked first.

    Args:
        covers: Cover matrix, shape ``(weights, policies)``.
        cover: Policies that cover everything, in the order they were picked.
    """
    times = covers[:, cover].sum(axis=1)
    kept = list(cover)
    for policy in reversed(cover):
        if (times - covers[:, policy] > 0).all():
            times -= covers[:, policy]
            kept.remove(policy)
    return tuple(kept)


def minimum_cover(
    covers: NDArray[np.bool_], *, preferred: Collection[int] = (), time_limit: float = 10.0
) -> Cover:
    """Return a smallest cover, by integer programming (HiGHS) after dominance reductions.

    Ties: the smallest size first, then the most ``preferred`` policies, then the lexicographically
    smallest index set.

    Args:
        covers: Cover matrix, shape ``(weights, policies)``.
        preferred: Policies to keep where it costs nothing, such as those already deployed.
        time_limit: Seconds for all of it. Afterwards the greedy cover without its redundant
            policies is returned, not proven. Time spent on ties alone only loses the order among
            the tied: the cover returned is proven.

    Raises:
        NoCover: Some weight vector is covered by no policy.
    """
    _check_coverable(covers)
    deadline = monotonic() + time_limit
    liked = np.isin(np.arange(covers.shape[1]), list(preferred))
    if liked.sum() != len(set(preferred)):
        raise ValueError(
            f"preferred is {sorted(preferred)}; it must name policies from 0 to {len(liked) - 1}"
        )
    reduced, columns = _without_dominated(covers, liked=liked)
    try:
        chosen = _smallest(reduced, liked=liked[columns], deadline=deadline)
    except TimeoutError:
        found = reverse_delete(covers, cover=greedy_cover(covers))
        return Cover(indices=tuple(sorted(found)), proven=False, solver="Greedy")
    chosen = _lexicographically_first(
        reduced, chosen=chosen, liked=liked[columns], deadline=deadline
    )
    indices = tuple(int(index) for index in columns[chosen])
    return Cover(indices=indices, proven=True, solver="Exact")


def _smallest(
    covers: NDArray[np.bool_], *, liked: NDArray[np.bool_], deadline: float
) -> NDArray[np.bool_]:
    """Return a cover of least size and, among those, with the most liked policies."""
    # No number of liked policies outweighs one policy more.
    cost = covers.shape[1] + 1.0 - liked
    return _solve(cost, _covering(covers), deadline=deadline)


def _lexicographically_first(
    covers: NDArray[np.bool_],
    *,
    chosen: NDArray[np.bool_],
    liked: NDArray[np.bool_],
    deadline: float,
) -> NDArray[np.bool_]:
    """Return the first of the covers as small and as liked as ``chosen``; itself out of time."""
    count = covers.shape[1]
    totals = np.array([chosen.sum(), chosen[liked].sum()], dtype=np.float64)
    ties = LinearConstraint(np.stack([np.ones(count), liked.astype(np.float64)]), totals, totals)
    lower, upper = np.zeros(count), np.ones(count)
    for start in range(0, count, _TIES_AT_ONCE):
        if lower.sum() == chosen.sum():
            break  # everything that may be chosen is
        block = slice(start, min(start + _TIES_AT_ONCE, count))
        cost = np.zeros(count)
        cost[block] = -(2.0 ** np.arange(block.stop - block.start)[::-1])
        try:
            chosen = _solve(
                cost, _covering(covers), ties, bounds=Bounds(lower, upper), deadline=deadline
            )
        except TimeoutError:
            break
        lower[block] = upper[block] = chosen[block]
    return chosen


def _solve(
    cost: NDArray[np.float64],
    *constraints: LinearConstraint,
    bounds: Bounds | None = None,
    deadline: float,
) -> NDArray[np.bool_]:
    remaining = deadline - monotonic()
    if remaining <= 0:
        raise TimeoutError
    result = milp(
        cost,
        integrality=np.ones(len(cost), dtype=np.int64),
        bounds=bounds or Bounds(0, 1),
        constraints=constraints,
        options={"time_limit": remaining, "mip_rel_gap": 0.0},
    )
    if result.status != 0:  # every problem posed here has a solution
        raise TimeoutError
    chosen: NDArray[np.bool_] = result.x > 0.5
    return chosen


def _covering(covers: NDArray[np.bool_]) -> LinearConstraint:
    return LinearConstraint(csr_array(covers.astype(np.float64)), lb=1.0)


def _without_dominated(
    covers: NDArray[np.bool_], *, liked: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Drop what cannot change the answer, ties included; return the rest and its policies.

    A weight vector goes when covering another one covers it; a policy when another one covers at
    least as much and wins the tie (is liked more, or as much with a lower index).
    """
    rows, columns = np.arange(covers.shape[0]), np.arange(covers.shape[1])
    while True:
        size = covers.shape
        kept = ~_has_subset(covers, rank=np.arange(len(covers)))
        rows, covers = rows[kept], covers[kept]
        order = np.lexsort((columns, ~liked[columns]))
        rank = np.empty(len(columns), dtype=np.intp)
        rank[order] = np.arange(len(columns))
        # Seen from what it leaves uncovered, a policy that covers more is the subset.
        kept = ~_has_subset(~covers.T, rank=rank, earlier_only=True)
        columns, covers = columns[kept], covers[:, kept]
        if covers.shape == size:
            return covers, columns


def _has_subset(
    sets: NDArray[np.bool_], *, rank: NDArray[np.intp], earlier_only: bool = False
) -> NDArray[np.bool_]:
    """Say which rows contain another row; of equal rows, all but the lowest rank do.

    With ``earlier_only``, rows of higher rank do not count.
    """
    numbers = sets.astype(np.float32)  # counts below 2^24 are exact
    sizes = sets.sum(axis=1)
    contains = (numbers @ numbers.T) == sizes  # [a, b]: row a contains row b
    earlier = rank[None, :] < rank[:, None]
    proper = contains & (sizes[None, :] < sizes[:, None])
    wins = contains & earlier if earlier_only else proper | (contains & earlier)
    answer: NDArray[np.bool_] = wins.any(axis=1)
    return answer


def _check_coverable(covers: NDArray[np.bool_]) -> None:
    if covers.ndim != 2 or covers.dtype != np.bool_:
        raise ValueError(
            "covers must be boolean with shape (weights, policies), not "
            f"{covers.dtype} {covers.shape}"
        )
    uncovered = np.flatnonzero(~covers.any(axis=1))
    if uncovered.size:
        raise NoCover(uncovered.tolist())
