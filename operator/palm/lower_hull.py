"""The lower convex hull of points over a full-dimensional region, made safe against rounding."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

# Facets flatter against the vertical than that, with values of size 1, are walls, not facets.
_WALL = 1e-10
_VOLUME_TOLERANCE = 1e-7  # relative


def extent(points: NDArray[np.float64], *, everything: bool) -> tuple[float, NDArray[np.float64]]:
    """Return the volume of the hull of full-dimensional points and its facets (normal, offset)."""
    dimension = points.shape[1]
    if everything:  # the simplex: its volume is known and its facets are not needed
        return math.sqrt(dimension + 1) / math.factorial(dimension), np.empty((0, dimension + 1))
    if dimension == 0:
        return 1.0, np.empty((0, 1))
    if dimension == 1:
        low, high = float(points.min()), float(points.max())
        return high - low, np.array([[1.0, -high], [-1.0, low]])
    hull = ConvexHull(points)
    return float(hull.volume), np.unique(hull.equations, axis=0)


def lower_hull(
    points: NDArray[np.float64], values: NDArray[np.float64], *, volume: float
) -> NDArray[np.float64]:
    """Return the planes (slope, constant) of the lower hull of full-dimensional points."""
    dimension = points.shape[1]
    if dimension == 0:
        return np.array([[values.min()]])
    if dimension == 1:
        return _chain(points[:, 0], values)
    # A point high above makes the hull full-dimensional and is in none of its lower facets.
    apex = np.append(points.mean(axis=0), values.max() + 1.0)
    raised = np.vstack([np.column_stack([points, values]), apex])
    for options in ("Qt" if dimension < 4 else "Qt Qx", "QJ Pp"):
        try:
            hull = ConvexHull(raised, qhull_options=options)
        except QhullError:
            continue
        lower = hull.equations[:, -2] < -_WALL
        normals, corners = hull.equations[lower], hull.simplices[lower]
        if _fill(points[corners], volume):
            return _lifted(normals, corners, points, values)
    raise QhullError("the lower facets do not cover the hull of the weight vectors")


def _chain(points: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the segments of the lower hull of points on a line, by one sweep (Andrew)."""
    order = np.argsort(points, kind="stable")
    hull: list[tuple[float, float]] = []
    for x, y in zip(points[order].tolist(), values[order].tolist(), strict=True):
        while len(hull) > 1:
            (x1, y1), (x2, y2) = hull[-2:]
            if (y2 - y1) * (x - x1) < (y - y1) * (x2 - x1):
                break
            hull.pop()
        hull.append((x, y))
    corners = np.array(hull)
    slopes = np.diff(corners[:, 1]) / np.diff(corners[:, 0])
    constants = np.maximum(
        corners[:-1, 1] - slopes * corners[:-1, 0], corners[1:, 1] - slopes * corners[1:, 0]
    )
    return np.column_stack([slopes, constants])


def _fill(simplices: NDArray[np.float64], volume: float) -> bool:
    """Say whether simplices, shape ``(facets, k + 1, k)``, fill a volume: no facet was lost."""
    edges = simplices[:, 1:] - simplices[:, :1]
    total = float(np.abs(np.linalg.det(edges)).sum()) / math.factorial(edges.shape[1])
    return abs(total - volume) <= _VOLUME_TOLERANCE * volume


def _lifted(
    normals: NDArray[np.float64],
    corners: NDArray[np.int32],
    points: NDArray[np.float64],
    values: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the facets' planes, each raised until it is below none of its own corners.

    Every weight vector is in a facet, where the raised plane is at least the interpolation of the
    corners, a convex combination: whatever Qhull rounded or merged, the bound is not too low.
    """
    planes = np.delete(-normals / normals[:, -2:-1], -2, axis=1)
    reached = np.einsum("fck,fk->fc", points[corners], planes[:, :-1]) + planes[:, -1:]
    missing = (values[corners] - reached).max(axis=1)
    pieces, piece_of = np.unique(planes, axis=0, return_inverse=True)
    raised = np.zeros(len(pieces))
    np.maximum.at(raised, piece_of.reshape(-1), missing)
    pieces[:, -1] += raised
    return pieces
