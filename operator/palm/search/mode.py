"""The search modes behind one function."""

import numpy as np
from numpy.typing import NDArray

from palm.search.known import Known, Target, is_among
from palm.search.next import Proposal, SearchMode, adaptive, proposal
from palm.search.propose import propose
from palm.search.start import grid_order


def next_weights(
    known: Known,
    *,
    grid: NDArray[np.float64] | None,
    mode: SearchMode,
    target: Target,
    size: int,
    off_grid: bool = False,
) -> Proposal:
    """Return what to train next; deterministic, and never what is trained, in flight or failed.

    Args:
        known: What is evaluated, in flight and failed.
        grid: What is to be certified, shape ``(n, d)``; None for the whole simplex (Adaptive only).
        mode: Which weight vectors are trained.
        target: What is to be certified.
        size: Most weight vectors to propose, at least 1.
        off_grid: Adaptive only: also train weight vectors outside the grid where that saves calls.

    Raises:
        ValueError: The arguments do not fit.
    """
    if size < 1:
        raise ValueError(f"size is {size}; at least 1 weight vector must be asked for")
    if mode == "Adaptive":
        return adaptive(known, grid=grid, target=target, size=size, off_grid=off_grid)
    if grid is None:
        raise ValueError(f"mode {mode} needs a grid; only Adaptive searches the whole simplex")
    if mode == "Propose":
        return propose(known, grid=grid, target=target, size=size)
    return _grid(known, grid, size=size)


def _grid(known: Known, grid: NDArray[np.float64], *, size: int) -> Proposal:
    """Train everything, extreme weight vectors first (Algorithm 1)."""
    untrained = grid[~is_among(grid, known.weights)]
    free = untrained[~is_among(untrained, known.unavailable)]
    picks = list(grid_order(free)[:size])
    gap = float("inf") if len(untrained) else 0.0
    return proposal(known, picks=picks, uncovered=untrained, gap=gap)
