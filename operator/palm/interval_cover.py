"""Minimum cover of points on a line by intervals: exact, by one sweep, without integer programming.

With two objectives the weight vectors lie on a line. Where opt_w has one sign, the weight vectors
that a policy covers form an interval, a sublevel set of the convex ``(1±μ')·opt_w - α' - w·u``.
"""

import heapq

import numpy as np
from numpy.typing import NDArray

from palm.cover_matrix import CoverMatrix

# Size, minus the number of liked policies, minus the set as a number: the smallest wins. The first
# policy is the highest bit, so that of two sets of one size the lexicographically first is larger.
_Rank = tuple[int, int, int]


def intervals(covers: CoverMatrix) -> NDArray[np.intp] | None:
    """Return the first and the last row that each policy covers, or None if one has a gap.

    Args:
        covers: Cover matrix; its rows are in the order of their points on a line.

    Returns:
        Shape ``(policies, 2)``; a policy that covers nothing has its last before its first row.
    """
    points, policies = covers.shape
    outside = np.zeros((1, covers.bits.shape[1]), dtype=np.uint8)
    padded: NDArray[np.uint8] = np.concatenate([outside, covers.bits, outside])
    # A policy begins at the rows that it covers after one that it does not, and so ends.
    begins = _positions(padded[1:-1], after=padded[:-2], most=policies)
    stops = _positions(padded[1:-1], after=padded[2:], most=policies)
    if begins is None or stops is None:
        return None
    rows, columns = begins
    if (np.bincount(columns, minlength=policies) > 1).any():
        return None
    ends = np.tile(np.array([[points, points - 1]], dtype=np.intp), (policies, 1))
    ends[columns, 0] = rows
    rows, columns = stops
    ends[columns, 1] = rows
    return ends


def _positions(
    bits: NDArray[np.uint8], *, after: NDArray[np.uint8], most: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """Return the rows and columns of bits that are newly set, or None if there are too many."""
    bits = np.bitwise_and(bits, np.bitwise_not(after))
    rows, places = np.nonzero(bits)
    if len(rows) > most:
        return None
    nonzero, bit = np.nonzero(np.unpackbits(bits[rows, places, None], axis=1, bitorder="little"))
    return rows[nonzero], 8 * places[nonzero] + bit


def interval_cover(
    ends: NDArray[np.intp], *, points: int, liked: NDArray[np.bool_]
) -> tuple[int, ...]:
    """Return the first of the smallest covers: smallest, then most liked, then lexicographic.

    A smallest cover, in the order of its last points, is a path: each interval contains the first
    point that the ones before it leave uncovered. From the last point to the first, the best path
    from a point goes through the best interval that contains it, given the best paths behind it.
    Adding an interval to two sets keeps their order, in size, in likes and as numbers.

    Args:
        ends: First and last point of each interval, shape ``(policies, 2)``, as ``intervals``
            returns them; every point is in one.
        points: Number of points.
        liked: Which policies to prefer, shape ``(policies,)``.
    """
    policies = len(ends)
    last_at: list[list[int]] = [[] for _ in range(points)]
    for policy, (first, last) in enumerate(ends.tolist()):
        if first <= last:
            last_at[last].append(policy)
    best: _Rank = (0, 0, 0)
    containing: list[tuple[_Rank, int]] = []
    for point in range(points - 1, -1, -1):
        size, dislikes, number = best  # of the points behind this one
        for policy in last_at[point]:
            rank = (
                size + 1,
                dislikes - bool(liked[policy]),
                number - (1 << (policies - 1 - policy)),
            )
            heapq.heappush(containing, (rank, int(ends[policy, 0])))
        while containing[0][1] > point:  # it begins behind this point, and behind all further ones
            heapq.heappop(containing)
        best = containing[0][0]
    bits = f"{-best[2]:0{policies}b}"
    return tuple(policy for policy, bit in enumerate(bits) if bit == "1")
