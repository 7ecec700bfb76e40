"""Minimum set cover by integer programming (HiGHS), after dominance reductions.

Works on boolean matrices of up to about two thousand rows and columns: dominance compares all
pairs.
"""

from time import monotonic

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

# Tie-breaking coefficients are powers of 2 up to this one: far below the solver's tolerances.
_TIES_AT_ONCE = 10
_DECIDED = (0, 2)  # optimal, infeasible; all others of scipy.optimize.milp ran out of time


def integer_cover(
    covers: NDArray[np.bool_],
    *,
    start: tuple[int, ...],
    liked: NDArray[np.bool_],
    deadline: float,
) -> tuple[tuple[int, ...], bool]:
    """Return the first of the smallest covers: smallest, then most liked, then lexicographic.

    Args:
        covers: Cover matrix, shape ``(weights, policies)``.
        start: A cover that is known, such as the greedy one.
        liked: Which policies to prefer, shape ``(policies,)``.
        deadline: On ``time.monotonic``.

    Returns:
        The cover, ascending, and whether no smaller one exists. When the deadline passes, the best
        cover found so far; if only ties were left to decide, it is proven.
    """
    small, columns = _without_dominated(covers, deadline=deadline)
    found, proven = _smallest(small, at_most=len(start), deadline=deadline)
    if found is None or found.sum() >= len(start):
        best = np.array(sorted(start), dtype=np.intp)
    else:
        best = columns[found]
    if proven:
        reduced, columns = _without_dominated(covers, liked=liked, deadline=deadline)
        tied = _first_of_the_tied(reduced, size=len(best), liked=liked[columns], deadline=deadline)
        best = best if tied is None else columns[tied]
    return tuple(best.tolist()), proven


def cover_within(
    covers: NDArray[np.bool_], *, most: int, deadline: float
) -> tuple[tuple[int, ...] | None, bool]:
    """Return a cover of at most so many policies, if any is found, and whether that is decided.

    Args:
        covers: Cover matrix, shape ``(weights, policies)``; every row has a True.
        most: How many policies it may have.
        deadline: On ``time.monotonic``.
    """
    small, columns = _without_dominated(covers, deadline=deadline)
    found, decided = _smallest(small, at_most=most, deadline=deadline)
    if found is None:
        return None, decided
    return tuple(sorted(columns[found].tolist())), True


def _smallest(
    covers: NDArray[np.bool_], *, at_most: int, deadline: float
) -> tuple[NDArray[np.bool_] | None, bool]:
    """Return a cover of at most this size, the smallest where time allows, and whether it is."""
    count = covers.shape[1]
    return _solve(
        np.ones(count),
        _covering(covers),
        LinearConstraint(np.ones((1, count)), ub=at_most),
        deadline=deadline,
    )


def _first_of_the_tied(
    covers: NDArray[np.bool_], *, size: int, liked: NDArray[np.bool_], deadline: float
) -> NDArray[np.bool_] | None:
    """Return the most liked, then the lexicographically first cover of a size; the best in time."""
    count = covers.shape[1]
    constraints = [_covering(covers), LinearConstraint(np.ones((1, count)), size, size)]
    best: NDArray[np.bool_] | None = None
    if liked.any():
        likes = liked.astype(np.float64)
        best, decided = _solve(-likes, *constraints, deadline=deadline)
        if best is None or not decided:
            return best
        constraints.append(LinearConstraint(likes, float(likes @ best), np.inf))
    lower, upper = np.zeros(count), np.ones(count)
    for start in range(0, count, _TIES_AT_ONCE):
        if lower.sum() == size:
            break  # everything that may be chosen is
        block = slice(start, min(start + _TIES_AT_ONCE, count))
        cost = np.zeros(count)
        cost[block] = -(2.0 ** np.arange(block.stop - block.start)[::-1])
        better, decided = _solve(cost, *constraints, bounds=Bounds(lower, upper), deadline=deadline)
        if better is None or not decided:
            break
        best = better
        lower[block] = upper[block] = better[block]
    return best


def _solve(
    cost: NDArray[np.float64],
    *constraints: LinearConstraint,
    bounds: Bounds | None = None,
    deadline: float,
) -> tuple[NDArray[np.bool_] | None, bool]:
    """Return the best choice found by the deadline, if any, and whether that is decided."""
    remaining = deadline - monotonic()
    if remaining <= 0:
        return None, False
    result = milp(
        cost,
        integrality=np.ones(len(cost), dtype=np.int64),
        bounds=bounds or Bounds(0, 1),
        constraints=constraints,
        options={"time_limit": remaining, "mip_rel_gap": 0.0},
    )
    return None if result.x is None else result.x > 0.5, result.status in _DECIDED


def _covering(covers: NDArray[np.bool_]) -> LinearConstraint:
    return LinearConstraint(csr_array(covers.astype(np.float64)), lb=1.0)


def _without_dominated(
    covers: NDArray[np.bool_], *, liked: NDArray[np.bool_] | None = None, deadline: float
) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Drop what cannot change the answer; return the rest and its policies.

    A weight vector goes when covering another one covers it; a policy when another one covers at
    least as much. With ``liked``, the other policy must win the tie as well (be liked more, or as
    much with a lower index), so that the first of the smallest covers is left, not just a smallest.
    Each pass may make another one possible; with the deadline the last has begun.
    """
    columns = np.arange(covers.shape[1])
    while monotonic() < deadline:
        size = covers.shape
        covers = covers[~_has_subset(covers, rank=np.arange(len(covers)))]
        rank = np.arange(len(columns))
        if liked is not None:
            order = np.lexsort((columns, ~liked[columns]))
            rank[order] = np.arange(len(columns))
        # Seen from what it leaves uncovered, a policy that covers more is the subset.
        kept = ~_has_subset(~covers.T, rank=rank, earlier_only=liked is not None)
        columns, covers = columns[kept], covers[:, kept]
        if covers.shape == size:
            break
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
