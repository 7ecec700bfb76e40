"""The first weight vectors: those without which the optimum is not bounded everywhere."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

from palm.search.known import SAME_WEIGHT, Bounds, Target

_CAUTION = 0.65
"""Share of μ' that a weight vector near an extreme one may lose there, were the front a sphere."""


def start_weights(bounds: Bounds, grid: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return what must be trained before bounds can choose, shape ``(k, d)``; empty when known.

    Without a floor, a convex optimum is bounded inside the hull of the trained weight vectors only,
    so the vertices of the grid's hull come first: the extreme weight vectors, for PALM's grid. With
    a floor, one weight vector near each extreme bounds everything, and covers more than the extreme
    one. For two objectives the plan finds it; for more it is chosen here.
    """
    known = bounds.known
    dimension = known.weights.shape[1]
    if bounds.floor is None:
        return np.eye(dimension) if grid is None else _vertices(grid)
    if dimension == 2:
        return np.empty((0, 2))
    nearest = known.weights.max(axis=0, initial=0.0)
    near = [_near_extreme(i, dimension, grid, bounds.target) for i in range(dimension)]
    missing = [row for i, row in enumerate(near) if nearest[i] < row[i] - SAME_WEIGHT]
    return np.array(missing).reshape(-1, dimension)


def _near_extreme(
    objective: int, dimension: int, grid: NDArray[np.float64] | None, target: Target
) -> NDArray[np.float64]:
    """Return the weight vector furthest from e_i whose optimal policy should cover e_i."""
    lost = _CAUTION * target.mu / (1.0 - target.mu)
    if grid is None:
        weights = np.full(dimension, np.sqrt(lost / (dimension - 1)))
        weights[objective] = 1.0
        on_simplex: NDArray[np.float64] = weights / weights.sum()
        return on_simplex
    others = np.delete(grid, objective, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = others / grid[:, [objective]]
    # On a sphere u is proportional to w, so the others' share of w·u is that of their squares.
    covers = (grid[:, objective] > 0) & ((ratios**2).sum(axis=1) <= lost)
    if not covers.any():
        return np.asarray(grid[int(grid[:, objective].argmax())])
    rows = np.flatnonzero(covers)
    best = np.lexsort((-ratios[rows].sum(axis=1).round(12), -ratios[rows].min(axis=1).round(12)))
    return np.asarray(grid[rows[best[0]]])


def _vertices(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the vertices of the hull of weight vectors, those of largest weights first."""
    count, dimension = grid.shape
    if dimension == 2:
        rows = {int(grid[:, 0].argmax()), int(grid[:, 0].argmin())}
    else:
        try:
            rows = {int(i) for i in ConvexHull(grid[:, :-1]).vertices}
        except QhullError:  # fewer than d of them, or all in one plane
            rows = set(range(count))
    ordered = sorted(rows, key=lambda i: (-grid[i].max(), tuple(-grid[i])))
    return grid[ordered]


def grid_order(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weight vectors with the extreme ones first, else in the order they have."""
    extreme = grid.max(axis=1, initial=0.0) >= 1.0 - SAME_WEIGHT
    return np.vstack([grid[extreme], grid[~extreme]])
