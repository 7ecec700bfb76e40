"""Lower and upper bounds of opt_w between the weight vectors that policies were trained for.

``opt_w = sup_π w·u(π)`` is convex in w. Knowing it at some weight vectors bounds it everywhere:

* from below by the best known policy, ``LB(w) = max_i w·u_i``;
* from above by every convex combination, ``UB(w) = min {Σ λ_i opt_i : Σ λ_i w_i = w, λ ≥ 0,
  Σ λ_i = 1}``: the lower convex hull of the points (w_i, opt_i), infinite outside the hull of the
  w_i. Its dual, ``max {w·g : w_i·g ≤ opt_i}``, is the optimistic value of Optimistic Linear Support
  (Roijers et al., 2015).

Functions that are consistent with what is known attain both, so nothing tighter is true without
knowing more. On the simplex a hyperplane is a linear function ``g·w``, without constant term, since
the coordinates of w sum to 1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.spatial import QhullError

from palm.errors import InvalidResult
from palm.lower_hull import extent, lower_hull
from palm.objective import BLOCK_SIZE, check_pairs, check_weights, objective_blocks

# Coordinates of weight vectors are of size 1; equal ones differ by rounding only.
_SAME_WEIGHT = 1e-9


@dataclass(frozen=True, eq=False)
class UpperBound:
    """The lower convex hull of known optima, callable at weight vectors.

    Attributes:
        pieces: Linear functions g, shape ``(k, d)``; inside, the bound is ``max g·w`` over them.
        walls: Linear functions h, shape ``(r, d)``; w is inside where no ``h·w`` is positive. There
            is none where every unit vector is known: then all of the simplex is inside.
        points: Where Qhull fails, the known weight vectors, shape ``(n, d)``, and their values,
            for a linear program per call; ``pieces`` is then looser than the bound.
    """

    pieces: NDArray[np.float64]
    walls: NDArray[np.float64]
    points: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    def __call__(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the upper bound of opt_w, +inf outside the hull of the known weight vectors.

        Args:
            weights: Weight vectors on the simplex, shape ``(m, d)``.

        Returns:
            Shape ``(m,)``.
        """
        if weights.ndim != 2 or weights.shape[1] != self.pieces.shape[1]:
            raise ValueError(
                f"weights must have shape (m, {self.pieces.shape[1]}), not {weights.shape}"
            )
        check_weights(weights)
        if self.points is not None:
            known, values = self.points
            return np.array([_linear_program(row, known, values) for row in weights])
        bound = _largest(weights, self.pieces)
        if len(self.walls):
            bound[_largest(weights, self.walls) > _SAME_WEIGHT] = np.inf
        return bound


def upper_bound(*, weights: NDArray[np.float64], values: NDArray[np.float64]) -> UpperBound:
    """Return the tightest upper bound of opt_w that convexity alone gives.

    Never below the hull; above it by rounding only. Of equal weight vectors the lower value counts.

    Args:
        weights: Weight vectors on the simplex where opt_w is known, shape ``(n, d)``; any number,
            also none, in any position.
        values: opt_w there, or upper bounds of it, shape ``(n,)``.

    Raises:
        InvalidResult: A value is NaN or infinite.
    """
    if weights.ndim != 2 or not weights.shape[1] or values.shape != weights.shape[:1]:
        raise ValueError(
            f"weights and values must have shapes (n, d) and (n,), not {weights.shape} and "
            f"{values.shape}"
        )
    check_weights(weights)
    for i in np.flatnonzero(~np.isfinite(values)):
        raise InvalidResult(f"value {i} is {values[i]}; optima must be finite")
    known, optima = _without_duplicates(weights, values)
    if not len(known):
        ones = np.ones((1, weights.shape[1]))
        return UpperBound(pieces=ones, walls=ones)  # outside everywhere
    # A linear function off the values changes the hull by itself; a scale keeps Qhull's
    # tolerances, which are absolute, small against the values.
    tilt = np.linalg.lstsq(known, optima, rcond=None)[0]
    rest = optima - known @ tilt
    scale = float(np.abs(rest).max())
    if scale <= 1e-15 * float(np.abs(optima).max()) or scale < np.finfo(np.float64).tiny:
        scale = 1.0
    centre, basis = _affine_hull(known)
    coordinates = (known - centre) @ basis
    try:
        volume, walls = extent(coordinates, everything=not missing_extremes(known))
        planes = lower_hull(coordinates, rest / scale, volume=volume)
    except QhullError:
        return _by_linear_programs(known, optima)
    pieces = tilt + scale * _homogeneous(planes, centre, basis)
    return UpperBound(pieces=pieces, walls=_region(walls, known, centre, basis))


def lower_bound(
    weights: NDArray[np.float64], utilities: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return ``max_i w·u_i``, what the best known policy achieves at each weight vector.

    Args:
        weights: Weight vectors on the simplex, shape ``(m, d)``.
        utilities: u(π) of the known policies, shape ``(policies, d)``, at least one.

    Returns:
        Shape ``(m,)``.

    Raises:
        InvalidResult: A utility is NaN or infinite.
    """
    if utilities.ndim != 2 or not len(utilities):
        raise ValueError(
            f"utilities must have shape (policies, d) with at least one policy, not "
            f"{utilities.shape}"
        )
    check_pairs(weights=weights, utilities=utilities)
    best = np.empty(len(weights))
    for rows, objective in objective_blocks(weights=weights, utilities=utilities):
        best[rows] = objective.max(axis=1)
    return best


def missing_extremes(weights: NDArray[np.float64]) -> list[int]:
    """Return the objectives whose unit vector is not among weight vectors, shape ``(n, d)``.

    With any of them missing there is no upper bound on a part of the simplex.
    """
    missing = weights.max(axis=0, initial=0.0) < 1.0 - _SAME_WEIGHT
    return [int(i) for i in np.flatnonzero(missing)]


def _largest(weights: NDArray[np.float64], pieces: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest of the linear functions at each weight vector, in blocks."""
    largest = np.empty(len(weights))
    rows = max(1, BLOCK_SIZE // len(pieces))
    for start in range(0, len(weights), rows):
        block = slice(start, start + rows)
        largest[block] = (weights[block] @ pieces.T).max(axis=1)
    return largest


def _without_duplicates(
    weights: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Keep the lowest value of each weight vector; to drop a point never lowers the hull."""
    cells = np.rint(weights / _SAME_WEIGHT).astype(np.int64)
    order = np.lexsort((values, *cells.T[::-1]))
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (np.diff(cells[order], axis=0) != 0).any(axis=1)
    kept = order[first]
    return weights[kept], values[kept]


def _affine_hull(
    points: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a point of the affine hull and an orthonormal basis of its directions, (d, k)."""
    centre = points.mean(axis=0)
    _, sizes, directions = np.linalg.svd(points - centre, full_matrices=False)
    rank = int((sizes > _SAME_WEIGHT * np.sqrt(len(points))).sum())
    return centre, directions[:rank].T


def _homogeneous(
    planes: NDArray[np.float64], centre: NDArray[np.float64], basis: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Write planes over an affine hull's coordinates as functions g·w of weight vectors."""
    slopes = planes[:, :-1] @ basis.T
    constants = planes[:, -1] - slopes @ centre
    functions: NDArray[np.float64] = slopes + constants[:, None]
    return functions


def _region(
    walls: NDArray[np.float64],
    known: NDArray[np.float64],
    centre: NDArray[np.float64],
    basis: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the functions h of the inside: the walls, and what leaves the affine hull."""
    dimension = known.shape[1]
    if not missing_extremes(known):
        return np.empty((0, dimension))
    along = np.column_stack([basis, np.full(dimension, dimension**-0.5)])
    normals = np.linalg.svd(along, full_matrices=True)[0][:, along.shape[1] :].T
    across = _homogeneous(
        np.column_stack([normals, -normals @ centre]), np.zeros(dimension), np.eye(dimension)
    )
    return np.vstack([_homogeneous(walls, centre, basis), across, -across])


def _by_linear_programs(known: NDArray[np.float64], values: NDArray[np.float64]) -> UpperBound:
    """Return the bound without Qhull: exact when called; its piece is the chord of the extremes."""
    dimension = known.shape[1]
    pieces = np.empty((0, dimension))
    if not missing_extremes(known):
        pieces = values[known.argmax(axis=0)][None, :]
    return UpperBound(pieces=pieces, walls=np.empty((0, dimension)), points=(known, values))


def _linear_program(
    weight: NDArray[np.float64], known: NDArray[np.float64], values: NDArray[np.float64]
) -> float:
    result = linprog(values, A_eq=known.T, b_eq=weight, bounds=(0, None), method="highs")
    return np.inf if result.fun is None else float(result.fun)
