"""Corner weights: the vertices of the cells in which one policy of a portfolio is the best.

``LB_P(w) = max_P w·u`` is linear on each cell. A function that is convex minus linear on every cell
has its maximum at a corner, so what holds at all corners (a certified gap, say) holds on the whole
simplex. The corners are the vertices of the polyhedron above LB_P over the simplex: one halfspace
intersection, no linear programs.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import HalfspaceIntersection, QhullError

from palm.errors import InvalidResult

# Corners nearer than this are one; Qhull places them to about 1e-13.
_SAME_CORNER = 1e-11
# Of policies nearer than this, relative to their spread, one stands for all: a gap is wrong by no
# more than that, and Qhull stumbles over them.
_SAME_POLICY = 1e-11


def corner_weights(utilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weight vectors at which the cells of the best policies meet, and the extremes.

    Args:
        utilities: u(π) of the portfolio, shape ``(policies, d)``, at least one.

    Returns:
        Weight vectors on the simplex, shape ``(k, d)``, in ascending lexicographic order; the unit
        vectors are among them.

    Raises:
        InvalidResult: A utility is NaN or infinite.
    """
    if utilities.ndim != 2 or not utilities.size:
        raise ValueError(
            "utilities must have shape (policies, d) with at least one policy, not "
            f"{utilities.shape}"
        )
    for row, column in np.argwhere(~np.isfinite(utilities)):
        raise InvalidResult(
            f"utility in row {row}, column {column} is {utilities[row, column]}; "
            "results must be finite"
        )
    dimension = utilities.shape[1]
    relative = _relative(utilities)
    inside = np.empty((0, dimension))
    if dimension == 2:
        inside = _switches(relative)
    elif dimension > 2 and len(relative) > 1:
        inside = _vertices(relative)
    return _distinct(np.vstack([np.eye(dimension), inside]))


def _relative(utilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return distinct policies up to what no cell depends on: a common shift and a scale."""
    # Halved first, so that the difference of two large numbers does not overflow.
    relative = utilities / 2 - (utilities / 2).mean(axis=0)
    size = float(np.abs(relative).max())
    if size > 0:
        relative /= size
    _, first = np.unique(np.rint(relative / _SAME_POLICY), axis=0, return_index=True)
    distinct: NDArray[np.float64] = relative[first]
    return distinct


def _switches(utilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where the best policy changes along w = (t, 1-t): the upper envelope's corners."""
    start, slope = utilities[:, 1], utilities[:, 0] - utilities[:, 1]
    corners: list[float] = []
    current, t = int(np.lexsort((-slope, -start))[0]), 0.0
    while True:
        steeper = np.flatnonzero(slope > slope[current])
        if not len(steeper):
            break
        crossings = (start[current] - start[steeper]) / (slope[steeper] - slope[current])
        first = int(np.lexsort((-slope[steeper], crossings))[0])
        t, current = max(t, float(crossings[first])), int(steeper[first])
        if t >= 1.0:
            break
        corners.append(t)
    ts = np.array(corners)
    return np.column_stack([ts, 1.0 - ts])


def _vertices(utilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the vertices of {(w, t): t ≥ w·u for every u} over the simplex, for d ≥ 3.

    The last coordinate of w is 1 minus the others; t is bounded above to keep it a polytope.
    """
    policies, dimension = utilities.shape
    free = dimension - 1
    # Rows (a, b) mean a·(w, t) + b ≤ 0.
    above = np.column_stack(
        [utilities[:, :free] - utilities[:, free:], np.full(policies, -1.0), utilities[:, free]]
    )
    positive = np.column_stack([-np.eye(free), np.zeros((free, 2))])
    at_most_one = np.array([[*np.ones(free), 0.0, -1.0]])
    ceiling = float(utilities.max()) + 2.0
    below = np.array([[*np.zeros(free), 1.0, -ceiling]])
    inner = np.append(np.full(free, 1.0 / dimension), ceiling - 1.0)
    halfspaces = np.vstack([above, positive, at_most_one, below])
    try:
        vertices = HalfspaceIntersection(halfspaces, inner).intersections
    except QhullError:  # nearly degenerate: joggled by about 1e-10
        vertices = HalfspaceIntersection(halfspaces, inner, qhull_options="QJ Pp").intersections
    vertices = vertices[vertices[:, free] < ceiling - 0.5, :free]
    weights = np.maximum(np.column_stack([vertices, 1.0 - vertices.sum(axis=1)]), 0.0)
    weights[weights < _SAME_CORNER] = 0.0
    on_simplex: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return on_simplex


def _distinct(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    _, first = np.unique(np.rint(weights / _SAME_CORNER), axis=0, return_index=True)
    return weights[first]
