"""The next weight vectors to train, as a pure function of what is known."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from palm.corners import corner_weights
from palm.search import interval, lookahead
from palm.search.known import Bounds, Known, Target, bounds_of, is_among
from palm.search.start import start_weights

SearchMode = Literal["Grid", "Adaptive", "Propose"]
"""Grid: all weight vectors, as in the paper. Adaptive: the fewest oracle calls. Propose: a smaller
portfolio for somewhat more of them."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """What to train next.

    Attributes:
        weights: Weight vectors to train, most urgent first, shape ``(k, d)``; none while what is
            in flight may suffice.
        is_complete: Whether the search has ended: everything is certified, or nothing is left that
            could be trained.
        uncovered: Weight vectors not certified by what is evaluated, shape ``(u, d)``.
        gap: The largest by which one of them is short, in units of utility; at most 0 when
            everything is certified, infinite where nothing bounds the optimum yet.
    """

    weights: NDArray[np.float64]
    is_complete: bool
    uncovered: NDArray[np.float64]
    gap: float


_REFINEMENT = np.linspace(0.0, 1.0, 41)
"""For two objectives, t of the weight vectors (t, 1-t) that may be trained besides the grid's."""
_MOVED = 0.02


def adaptive(
    known: Known,
    *,
    grid: NDArray[np.float64] | None,
    target: Target,
    size: int,
    off_grid: bool = False,
) -> Proposal:
    """Return what to train next so that everything is certified with few oracle calls.

    Args:
        known: What is evaluated, in flight and failed.
        grid: Weight vectors to be certified and trained, shape ``(n, d)``; None for the whole
            simplex, where the corner weights of the evaluated policies are trained.
        target: What is to be certified.
        size: Most weight vectors to propose, at least 1.
        off_grid: Also train weight vectors that are not in the grid where they certify more; never
            more oracle calls than the grid has.
    """
    bounds = bounds_of(known, target)
    points = required_points(bounds, grid)
    gaps = bounds.gaps(points)
    picks = list(islice(_picks(bounds, grid, off_grid), size)) if (gaps > 0).any() else []
    return proposal(known, picks=picks, uncovered=points[gaps > 0], gap=float(gaps.max()))


def proposal(
    known: Known, *, picks: list[NDArray[np.float64]], uncovered: NDArray[np.float64], gap: float
) -> Proposal:
    """Return a proposal; it is complete when nothing is proposed nor in flight."""
    return Proposal(
        weights=np.array(picks).reshape(-1, known.weights.shape[1]),
        is_complete=not len(uncovered) or not (picks or len(known.in_flight)),
        uncovered=uncovered,
        gap=gap,
    )


def required_points(bounds: Bounds, grid: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return where everything is certified once these are: the grid, or all corner weights."""
    if grid is not None:
        return grid
    known = bounds.known
    if not len(known.utilities):
        return np.eye(known.weights.shape[1])
    return corner_weights(known.utilities)


def _picks(
    bounds: Bounds, grid: NDArray[np.float64] | None, off_grid: bool
) -> Iterator[NDArray[np.float64]]:
    """Yield weight vectors to train, each as if the earlier ones had been answered already."""
    known = bounds.known
    starts = start_weights(bounds, grid)
    waiting = ~is_among(starts, np.vstack([known.weights, known.failed]))
    if waiting.any():  # nothing else can be chosen well before they are evaluated
        yield from starts[waiting & ~is_among(starts, known.in_flight)]
        return
    for weight in known.in_flight:
        bounds = believing(bounds, weight)
    unavailable = known.unavailable
    while True:
        points = required_points(bounds, grid)
        open_points = points[bounds.gaps(points) > 0]
        candidates = open_points[~is_among(open_points, unavailable)]
        if not len(candidates):
            return
        if off_grid and grid is not None and len(unavailable) + len(open_points) < len(grid):
            candidates = _refined(bounds, candidates, unavailable)
        pick = candidates[_choose(bounds, candidates, open_points)]
        yield pick
        unavailable = np.vstack([unavailable, pick])
        bounds = believing(bounds, pick)


def _refined(
    bounds: Bounds, candidates: NDArray[np.float64], unavailable: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the candidates and promising weight vectors that are not in the grid.

    For two objectives a fine mesh, of which the plan takes what it needs; for more the corner
    weights, where the gaps of the whole simplex are largest, moved a little toward the middle of
    their face: at a corner itself several policies tie.
    """
    if candidates.shape[1] == 2:
        extra = np.column_stack([_REFINEMENT, 1.0 - _REFINEMENT])
    else:
        corners = corner_weights(bounds.known.utilities)
        promising = corners[bounds.gaps(corners) > 0]
        face = promising > 0
        middle = face / face.sum(axis=1, keepdims=True)
        extra = (1.0 - _MOVED) * promising + _MOVED * middle
    new = ~is_among(extra, np.vstack([candidates, unavailable]))
    return np.vstack([candidates, extra[new]])


def _choose(
    bounds: Bounds, candidates: NDArray[np.float64], open_points: NDArray[np.float64]
) -> int:
    if candidates.shape[1] == 2 and (bounds.floor is not None or len(bounds.known.weights) > 1):
        return interval.choose(bounds, candidates=candidates, open_points=open_points)
    bounded = np.isfinite(bounds.gaps(candidates))
    if not bounded.all():
        # An extreme policy failed: the nearest to it bounds the most of what is left.
        return int(np.where(bounded, -1.0, candidates.max(axis=1)).argmax())
    finite = np.isfinite(bounds.gaps(open_points))
    return lookahead.choose(bounds, candidates=candidates, open_points=open_points[finite])


def believing(bounds: Bounds, weight: NDArray[np.float64]) -> Bounds:
    """Return the bounds if the policy of a weight vector turns out as imagined.

    For two objectives that is the plan's own front. For more it is the best policy known: the
    pessimistic answer makes a batch spend the fewest calls in vain.
    """
    known = bounds.known
    if len(weight) == 2:
        policy = interval.imagine(bounds, weight)
    elif len(known.utilities):
        policy = bounds.best_known(weight[None])[0]
    else:
        return bounds
    return bounds_of(
        replace(
            known,
            weights=np.vstack([known.weights, weight]),
            utilities=np.vstack([known.utilities, policy]),
        ),
        bounds.target,
    )
