"""The upper bound of opt_w where the utilities of optimal policies are known to have a floor.

Rewards of at least 0 and a small KL term are the usual reason. With ``u(π) ≥ floor`` for every
policy that is optimal somewhere, no policy is worth more at w than the best point of a polytope:

    UB(w) = max {w·x : x ≥ floor, w_i·x ≤ opt_i for every trained w_i}.

That is at most the lower hull of ``palm.bounds``, and finite beyond the hull of the trained weight
vectors: no extreme policy is needed to bound the optimum near it. The pieces of the bound are the
vertices of the polytope. It is only as true as the floor, which is therefore stated wherever the
bound is used, and given up once an evaluated policy lies below it.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import HalfspaceIntersection, QhullError

from palm.bounds import UpperBound, upper_bound
from palm.objective import check_weights

# A coordinate of a weight vector below this bounds nothing.
_NOTHING = 1e-9
# A trained policy on the floor leaves no inside; the bound is raised by so much of its size.
_THINNEST = 1e-9


def floored_upper_bound(
    *, weights: NDArray[np.float64], values: NDArray[np.float64], floor: NDArray[np.float64]
) -> UpperBound:
    """Return the tightest upper bound of opt_w that convexity and a floor of utilities give.

    Args:
        weights: Weight vectors on the simplex where opt_w is known, shape ``(n, d)``; any number.
        values: opt_w there, or upper bounds of it, shape ``(n,)``, finite.
        floor: Lower bound of the utilities of all policies that are optimal for some weight
            vector, shape ``(d,)``, finite.

    Raises:
        ValueError: Shapes do not fit, or a value is below what the floor alone is worth.
    """
    dimension = weights.shape[1]
    if floor.shape != (dimension,) or not np.isfinite(floor).all():
        raise ValueError(f"floor is {floor.tolist()}; it must be {dimension} finite numbers")
    check_weights(weights)
    above = values - weights @ floor
    size = max(float(np.abs(values).max(initial=0.0)), float(np.abs(floor).max()), 1e-300)
    for i in np.flatnonzero(above < -_THINNEST * size):
        raise ValueError(
            f"value {i} is {values[i]}; the floor alone is worth {values[i] - above[i]}"
        )
    bounded = (weights > _NOTHING).any(axis=0)
    walls = np.eye(dimension)[~bounded]
    if not bounded.any():
        return UpperBound(pieces=np.ones((1, dimension)), walls=walls)
    above = np.maximum(above, _THINNEST * size)
    try:
        vertices = _vertices(weights[:, bounded], above)
    except QhullError:
        return upper_bound(weights=weights, values=values)  # looser, and needs no vertices
    pieces = np.tile(floor, (len(vertices), 1))
    pieces[:, bounded] += vertices
    return UpperBound(pieces=pieces, walls=walls)


def _vertices(weights: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the vertices of {y ≥ 0, w_i·y ≤ v_i}, all v_i > 0, each y_j bounded by some i."""
    dimension = weights.shape[1]
    used = (weights > _NOTHING).any(axis=1)
    if dimension == 1:
        return np.array([[float((values[used] / weights[used, 0]).min())], [0.0]])
    halfspaces = np.vstack(
        [
            np.column_stack([weights, -values])[used],
            np.column_stack([-np.eye(dimension), np.zeros(dimension)]),
        ]
    )
    inside = np.full(dimension, 0.5 * float(values[used].min()) / dimension)
    found = HalfspaceIntersection(halfspaces, inside)
    vertices = np.maximum(found.intersections, 0.0)
    finite = np.isfinite(vertices).all(axis=1)
    if not finite.all():
        raise QhullError("a vertex of a bounded polytope is not finite")
    # Rounding may place a vertex inside its own facets: raised, so that the bound is not too low.
    facets = [[i for i in facet if i < used.sum()] for facet in found.dual_facets]
    rows, limits = weights[used], values[used]
    for vertex, facet in zip(vertices, facets, strict=True):
        if facet:
            missing = float((limits[facet] - rows[facet] @ vertex).max())
            total = rows[facet].sum(axis=1).min()
            vertex += max(missing, 0.0) / total
    return np.unique(vertices, axis=0)
