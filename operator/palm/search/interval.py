"""Choosing the next weight vector for two objectives: the shortest plan on an imagined front.

Weight vectors are w = (t, 1-t). Between neighbouring trained weight vectors the front is imagined
as a parabola: it touches both policies and bends toward the best point that the bounds allow.
Beyond the outermost trained weight vector, which a floor of utilities permits, it is the ellipse
around the floor through that policy; where nothing is known, a circle. On an imagined front all
bounds are known, so the fewest trainings that certify everything are a shortest path. The next
weight vector is one on a shortest plan; what the oracle really answers changes the next plan.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from palm.search.known import Bounds, Target

_ARC = np.linspace(0.0, 1.0, 41)[:, None]
_NEVER = 1_000.0  # trainings: no plan
_CAUTION = 0.65
"""Share of the tolerances that a plan uses up toward an open end: an outermost weight vector that
fails to cover the extreme one beside it costs a training."""
_MOST_NODES = 64  # of a stretch; a plan on more would not be better, and takes their cube


@dataclass(frozen=True, eq=False)
class _Stretch:
    """A part of [0, 1] between neighbouring trained weight vectors, or beyond the outermost one.

    Attributes:
        ts: t of the weight vectors inside, ascending, shape ``(n,)``.
        policies: The imagined policy of each, shape ``(n, 2)``.
        left: t and policy of the trained weight vector at its left end; None where it is open.
        right: The same at its right end.
    """

    ts: NDArray[np.float64]
    policies: NDArray[np.float64]
    left: tuple[float, NDArray[np.float64]] | None
    right: tuple[float, NDArray[np.float64]] | None


def choose(
    bounds: Bounds, *, candidates: NDArray[np.float64], open_points: NDArray[np.float64]
) -> int:
    """Return which candidate to train next.

    Args:
        bounds: What is known; without a floor both extreme policies are.
        candidates: Weight vectors that may be trained, shape ``(k, 2)``, at least one.
        open_points: Weight vectors still to be certified, shape ``(m, 2)``, at least one.

    Returns:
        A row of ``candidates``; of equally short plans, the largest gap, then the first.
    """
    gaps = bounds.gaps(open_points)
    worst = float(open_points[int(gaps.argmax()), 0])
    left, right = _ends(bounds, worst)
    stretch_points = open_points[_inside(open_points[:, 0], left, right)]
    rows = np.flatnonzero(_inside(candidates[:, 0], left, right))
    if not len(rows):  # everything here is under way or has failed
        return int(bounds.gaps(candidates).argmax())
    rows = _thinned(rows)
    ts = candidates[rows, 0]
    order = np.argsort(ts, kind="stable")
    stretch = _imagined(bounds, ts[order], left, right)
    points = stretch_points[_thinned(np.arange(len(stretch_points)))]
    closes = _closes(stretch, points[:, 0], bounds.target, bounds.floor)
    calls = _calls(closes)
    preference = _preference(stretch, closes, bounds)
    pick = int(np.lexsort((np.arange(len(calls)), -preference, calls))[0])
    return int(rows[order[pick]])


def _preference(
    stretch: _Stretch, closes: NDArray[np.bool_], bounds: Bounds
) -> NDArray[np.float64]:
    """Return which of equally short plans to begin with, shape ``(n,)``; larger is better.

    Toward an open end, the weight vector furthest inside that still covers what lies beyond it;
    otherwise the one with the largest gap.
    """
    if stretch.left is None:
        return np.where(closes[0, 1:-1], stretch.ts, -1.0)
    if stretch.right is None:
        return np.where(closes[1:-1, -1], 1.0 - stretch.ts, -1.0)
    weights = _weights(stretch.ts)
    return np.asarray(bounds.above(weights) - bounds.below(weights))


def imagine(bounds: Bounds, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the policy that the imagined front has for a weight vector, both shape ``(2,)``."""
    t = float(weight[0])
    left, right = _ends(bounds, t)
    policy: NDArray[np.float64] = _imagined(bounds, np.array([t]), left, right).policies[0]
    return policy


End = tuple[float, NDArray[np.float64]] | None


def _ends(bounds: Bounds, t: float) -> tuple[End, End]:
    """Return the trained weight vectors beside t, with the best known policy at each."""
    known = bounds.known
    trained = known.weights[:, 0]
    best = (known.weights @ known.utilities.T).argmax(axis=1) if len(trained) else trained
    ends: list[End] = []
    for side in (trained < t, trained > t):
        rows = np.flatnonzero(side)
        if not len(rows):
            ends.append(None)
            continue
        nearest = rows[np.abs(trained[rows] - t).argmin()]
        ends.append((float(trained[nearest]), known.utilities[int(best[nearest])]))
    return ends[0], ends[1]


def _inside(ts: NDArray[np.float64], left: End, right: End) -> NDArray[np.bool_]:
    low, high = left[0] if left else -np.inf, right[0] if right else np.inf
    inside: NDArray[np.bool_] = (ts > low) & (ts < high)
    return inside


def _thinned(rows: NDArray[np.intp]) -> NDArray[np.intp]:
    if len(rows) <= _MOST_NODES:
        return rows
    return rows[np.linspace(0, len(rows) - 1, _MOST_NODES).astype(np.intp)]


def _imagined(bounds: Bounds, ts: NDArray[np.float64], left: End, right: End) -> _Stretch:
    weights = _weights(ts)
    if left and right:
        corners = _weights(np.array([left[0], right[0]]))
        optimum = (corners * np.stack([left[1], right[1]])).sum(axis=1)
        apex = np.linalg.solve(corners, optimum)
        arc = (1 - _ARC) ** 2 * left[1] + 2 * _ARC * (1 - _ARC) * apex + _ARC**2 * right[1]
        policies = arc[(weights @ arc.T).argmax(axis=1)]
    else:
        floor = np.zeros(2) if bounds.floor is None else bounds.floor
        squares = _ellipse(left or right, floor)
        policies = floor + weights * squares / np.sqrt(weights**2 @ squares)[:, None]
    return _Stretch(ts=ts, policies=policies, left=left, right=right)


def _ellipse(end: End, floor: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the squared axes of the ellipse around the floor through an optimal policy."""
    if end is None:
        return np.ones(2)
    weight, above = _weights(np.array([end[0]]))[0], end[1] - floor
    optimum = float(weight @ above)
    if optimum <= 0 or (weight <= 0).any():
        return np.ones(2)
    squares: NDArray[np.float64] = np.maximum(above * optimum / weight, 1e-12 * optimum**2)
    # An objective of small weight is hardly seen from here: it is taken to be like the other.
    return np.asarray(np.where(weight < 0.5, squares[int(weight.argmax())], squares))


def _closes(
    stretch: _Stretch,
    points: NDArray[np.float64],
    target: Target,
    floor: NDArray[np.float64] | None,
) -> NDArray[np.bool_]:
    """Say which two nodes, trained, certify all points between them without another training.

    Nodes are the left end, the weight vectors inside, and the right end; an open end is the end of
    [0, 1], where only the floor and the other node bound the optimum.

    Args:
        stretch: With n weight vectors inside.
        points: t of what is to be certified, shape ``(m,)``.
        target: What certified means.
        floor: In use wherever an end is open.

    Returns:
        Shape ``(n + 2, n + 2)``, True above the diagonal only.
    """
    nothing = np.full(2, np.nan)
    ends = [stretch.left or (-np.inf, nothing), stretch.right or (np.inf, nothing)]
    ts = np.array([ends[0][0], *stretch.ts, ends[1][0]])
    policies = np.vstack([ends[0][1], stretch.policies, ends[1][1]])
    noise = target.eta + target.tau
    with np.errstate(invalid="ignore"):
        optimum = ts * policies[:, 0] + (1 - ts) * policies[:, 1] + noise
    worth = np.nan_to_num(_weights(points) @ policies.T, nan=-np.inf)  # (m, n + 2)
    above = _above_between(ts, optimum, points, floor)
    below = np.maximum(worth[:, :, None], worth[:, None, :]).transpose(1, 2, 0) - target.eta
    between = (ts[:, None, None] < points) & (points < ts[None, :, None])
    required = target.required(above)
    is_open = np.isinf(ts)[:, None] | np.isinf(ts)[None, :]
    required[is_open] = _cautious(target).required(above[is_open])
    with np.errstate(invalid="ignore"):
        certified = required <= below
    closes: NDArray[np.bool_] = (certified | ~between).all(axis=2)
    return np.triu(closes, k=1)


def _above_between(
    ts: NDArray[np.float64],
    optimum: NDArray[np.float64],
    points: NDArray[np.float64],
    floor: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Return the upper bound that nodes i and j alone give at point k, shape ``(n, n, m)``."""
    low, high = ts[:, None, None], ts[None, :, None]
    at_floor = np.zeros(len(points)) if floor is None else _weights(points) @ floor
    with np.errstate(invalid="ignore", divide="ignore"):
        surplus = optimum - (0.0 if floor is None else ts * floor[0] + (1 - ts) * floor[1])
        share = (points - low) / (high - low)
        chord = (1 - share) * optimum[:, None, None] + share * optimum[None, :, None]
        from_right = at_floor + (1 - points) / (1 - high) * surplus[None, :, None]
        from_left = at_floor + points / low * surplus[:, None, None]
    above = np.where(np.isinf(low), from_right, np.where(np.isinf(high), from_left, chord))
    return np.asarray(np.where(np.isnan(above), np.inf, above))


def _calls(closes: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the fewest trainings that certify everything, if node c is one, shape ``(n,)``."""
    count = len(closes)
    before, after = np.full(count, _NEVER), np.full(count, _NEVER)
    before[0], after[-1] = 0.0, 0.0
    for j in range(1, count):
        before[j] = 1 + np.where(closes[:j, j], before[:j], _NEVER).min()
    for i in range(count - 2, -1, -1):
        after[i] = 1 + np.where(closes[i, i + 1 :], after[i + 1 :], _NEVER).min()
    calls: NDArray[np.float64] = before[1:-1] + after[1:-1] - 1
    return calls


def _cautious(target: Target) -> Target:
    return replace(target, mu=_CAUTION * target.mu, alpha=_CAUTION * target.alpha)


def _weights(ts: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([ts, 1.0 - ts])
