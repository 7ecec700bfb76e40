"""Choosing the next weight vector by what its policy would leave to be certified.

For every candidate two answers of the oracle are imagined: the pessimistic one, a policy already
known, which lowers the upper bound most; and one halfway to the best policy that the bounds allow.
Both are consistent with everything known, since what the bounds allow is convex. The candidate that
leaves the fewest weight vectors uncertified, over both answers, is chosen. Taking the largest gap
instead, as Optimistic Linear Support does, resolves the worst weight vector and not the most.
"""

import numpy as np
from numpy.typing import NDArray

from palm.search.known import Bounds, is_among

_ANSWERS = (0.0, 0.5)
"""Imagined policies: shares of the way from the best known one to the best possible one."""
_MOST_CANDIDATES = 60
_GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0
_STEPS = 18  # of golden-section search; the interval shrinks by 6,000


def choose(
    bounds: Bounds, *, candidates: NDArray[np.float64], open_points: NDArray[np.float64]
) -> int:
    """Return which candidate to train next.

    Args:
        bounds: What is known; the upper bound is finite everywhere.
        candidates: Weight vectors that may be trained, shape ``(k, d)``, at least one.
        open_points: Weight vectors still to be certified, shape ``(m, d)``, at least one.

    Returns:
        A row of ``candidates``; ties go to the larger gap, then to the first.
    """
    gaps = bounds.gaps(candidates)
    widest = np.argsort(-gaps, kind="stable")[:_MOST_CANDIDATES]
    if len(widest) == 1 or bounds.upper.points is not None:
        return int(widest[0])
    left = _left_open(bounds, candidates[widest], open_points)
    order = np.lexsort((np.arange(len(widest)), left))
    return int(widest[order[0]])


def _left_open(
    bounds: Bounds, candidates: NDArray[np.float64], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how many points stay uncertified after each candidate, summed over the answers."""
    target = bounds.target
    best_known, best_possible = bounds.best_known(candidates), bounds.best_possible(candidates)
    above, below = bounds.above(points), bounds.below(points)
    itself = np.array([is_among(points, row[None]) for row in candidates])
    left = np.zeros(len(candidates))
    for share in _ANSWERS:
        policies = (1.0 - share) * best_known + share * best_possible
        optimum = (candidates * policies).sum(axis=1) + target.eta + target.tau
        new_above = np.minimum(above, _above_after(bounds, candidates, optimum, points))
        new_below = np.maximum(below, policies @ points.T - target.eta)
        still_open = (target.required(new_above) > new_below) & ~itself
        left += still_open.sum(axis=1)
    return left


def _above_after(
    bounds: Bounds,
    candidates: NDArray[np.float64],
    optimum: NDArray[np.float64],
    points: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the upper bound at each point if opt were known at one candidate more.

    By duality it is ``min over t ≥ 0 of t·opt + UB(w - t·c)``, convex in t. Without a floor UB is
    finite for ``w - t·c ≥ 0`` only; with one, larger t pay as long as some coordinate is positive.

    Args:
        bounds: What is known.
        candidates: c, shape ``(k, d)``.
        optimum: opt at each candidate, shape ``(k,)``.
        points: w, shape ``(m, d)``.

    Returns:
        Shape ``(k, m)``.
    """
    pieces = bounds.upper.pieces
    at_points, at_candidates = points @ pieces.T, candidates @ pieces.T
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = points[None] / candidates[:, None]
    if bounds.floor is None:
        high = np.where(candidates[:, None] > 0, ratios, np.inf).min(axis=2)
    else:
        high = np.where(candidates[:, None] > 0, ratios, 0.0).max(axis=2)
    low = np.zeros_like(high)

    def value(t: NDArray[np.float64]) -> NDArray[np.float64]:
        rest = at_points[None] - t[:, :, None] * at_candidates[:, None]
        total: NDArray[np.float64] = t * optimum[:, None] + rest.max(axis=2)
        return total

    best = np.minimum(value(low), value(high))
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = value(left), value(right)
    for _ in range(_STEPS):
        down = at_left < at_right
        high, low = np.where(down, right, high), np.where(down, low, left)
        probe = np.where(down, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        at_probe = value(probe)
        left, right = np.where(down, probe, right), np.where(down, left, probe)
        at_left, at_right = np.where(down, at_probe, at_right), np.where(down, at_left, at_probe)
    return np.asarray(np.minimum(best, np.minimum(at_left, at_right)))
