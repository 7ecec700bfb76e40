"""Search for a smaller portfolio: imagine the front, take its smallest cover, train what it needs.

First everything is certified with the fewest oracle calls (``Adaptive``). That leaves pruning
little to choose from, so the portfolio is often not as small as it could be. Then, up to an
allowance, the policy of every untrained weight vector is imagined, halfway from the best known
policy to the best that the bounds allow, which by now is not far; and the smallest cover of the
imagined front is proposed. Its untrained members are trained next; once all are trained, the weight
vectors where the proposal is not certified. The search ends when no smaller portfolio is imagined
than the one that the trained policies certify.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from palm.search.known import Bounds, Known, Target, bounds_of, is_among
from palm.search.next import Proposal, adaptive, believing
from palm.set_cover import minimum_cover

_SHARE = 0.5
"""Of the way from the best known policy to the best possible one that imagined policies go."""
_ALLOWANCE = 0.46
"""Share of the grid that may be trained for the sake of a smaller portfolio."""
_SECONDS = 2.0  # for one cover; what is proposed need not be the smallest


def propose(known: Known, *, grid: NDArray[np.float64], target: Target, size: int) -> Proposal:
    """Return what to train next so that a small portfolio is certified on the grid.

    Args:
        known: What is evaluated, in flight and failed.
        grid: Weight vectors to be certified and trained, shape ``(n, d)``.
        target: What is to be certified.
        size: Most weight vectors to propose, at least 1.
    """
    fewest_calls = adaptive(known, grid=grid, target=target, size=size)
    spent = len(known.weights) + len(known.in_flight)
    allowance = int(_ALLOWANCE * len(grid)) - spent
    if len(fewest_calls.uncovered):
        return fewest_calls
    if allowance <= 0:
        return replace(fewest_calls, is_complete=not len(known.in_flight))
    bounds = bounds_of(known, target)
    proposed = _proposed(bounds, grid)
    if _certified_size(bounds, grid) <= len(proposed):
        return fewest_calls
    wanted = proposed[~is_among(proposed, known.weights)]
    if len(wanted):
        picks = list(wanted[~is_among(wanted, known.unavailable)])
    else:
        picks = list(islice(_violated(bounds, grid, proposed), size))
    return replace(
        fewest_calls,
        weights=np.array(picks[: min(size, allowance)]).reshape(-1, grid.shape[1]),
        is_complete=not picks and not len(known.in_flight),
    )


def _proposed(bounds: Bounds, grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weight vectors of the smallest cover of the imagined front, shape ``(k, d)``."""
    known = bounds.known
    imagined = grid[~is_among(grid, np.vstack([known.weights, known.failed]))]
    weights = np.vstack([known.weights, imagined])
    utilities = np.vstack([known.utilities, _imagined(bounds, imagined)])
    worth = grid @ utilities.T
    covers = worth >= bounds.target.required(worth.max(axis=1))[:, None]
    cover = minimum_cover(covers, preferred=range(len(known.weights)), time_limit=_SECONDS)
    return weights[list(cover.indices)]


def _imagined(bounds: Bounds, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the imagined policies of weight vectors, shape ``(k, d)`` for both."""
    policies: NDArray[np.float64] = (1.0 - _SHARE) * bounds.best_known(
        weights
    ) + _SHARE * bounds.best_possible(weights)
    return policies


def _certified_size(bounds: Bounds, grid: NDArray[np.float64]) -> int:
    """Return the size of the smallest portfolio that the trained policies certify."""
    worth = grid @ bounds.known.utilities.T - bounds.target.eta
    covers = worth >= bounds.target.required(bounds.above(grid))[:, None]
    return len(minimum_cover(covers, time_limit=_SECONDS).indices)


def _violated(
    bounds: Bounds,
    grid: NDArray[np.float64],
    proposed: NDArray[np.float64],
) -> Iterator[NDArray[np.float64]]:
    """Yield where the proposed portfolio of trained policies is furthest from certified."""
    unavailable = bounds.known.unavailable
    rows = np.flatnonzero(is_among(bounds.known.weights, proposed))
    served = (grid @ bounds.known.utilities[rows].T).max(axis=1) - bounds.target.eta
    while True:
        gaps = bounds.target.required(bounds.above(grid)) - served
        gaps[is_among(grid, unavailable)] = -np.inf
        worst = int(gaps.argmax())
        if gaps[worst] <= 0:
            return
        yield grid[worst]
        unavailable = np.vstack([unavailable, grid[worst]])
        bounds = believing(bounds, grid[worst])
