"""Geometry of the simplex of three weights, drawn as an equilateral triangle.

A cell is the part of the simplex where some linear functions of w are at least 0; it is a convex
polygon and found exactly, by cutting the triangle with one half-plane after the other.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Polygon
from numpy.typing import NDArray

from palm_cli.drawing.style import INK, short

Points = NDArray[np.float64]

# Corners of the first, second and third weight: left, right, top.
_CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])
_OUTSIDE = -1e-12


def to_plane(weights: Points) -> Points:
    """Return positions in the plane, shape ``(n, 2)``, of weight vectors, shape ``(n, 3)``."""
    positions: Points = weights @ _CORNERS
    return positions


def cell(functions: Points) -> Points:
    """Return the corners of ``{w on the simplex: functions @ w ≥ 0}`` in order.

    Args:
        functions: Linear functions of w, shape ``(k, 3)``.

    Returns:
        Weight vectors, shape ``(m, 3)``; empty when the cell is.
    """
    corners = np.eye(3)
    for function in functions:
        corners = _cut(corners, corners @ function)
        if not len(corners):
            break
    return corners


def serving_cells(utilities: Points) -> Iterable[Points]:
    """Yield, for each policy, the cell of the weight vectors that it serves best.

    Args:
        utilities: u(π), shape ``(policies, 3)``.
    """
    for own in utilities:
        yield cell(own - utilities)


def near_cell(weights: Points, *, epsilon: float, delta: float) -> Points:
    """Return the cell of every v with ``|w_i - v_i| ≤ ε'·v_i + δ'`` for all i (Lemma 3.3).

    Args:
        weights: w, shape ``(3,)``.
        epsilon: ε', at least 0.
        delta: δ', at least 0.
    """
    # w sums to 1, so a constant c is the function c·(1, 1, 1).
    lowest = (1 + epsilon) * np.eye(3) - (weights - delta)[:, None]
    highest = (weights + delta)[:, None] - (1 - epsilon) * np.eye(3)
    return cell(np.concatenate([lowest, highest]))


def area(corners: Points) -> float:
    """Return a polygon's share of the simplex."""
    if len(corners) < 3:
        return 0.0
    x, y = to_plane(corners).T
    double = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))
    return double * 2 / float(np.sqrt(3))


def centroid(corners: Points) -> Points:
    """Return the position in the plane of the centre of mass of a polygon that has an area."""
    points = to_plane(corners)
    triangles = np.stack([np.broadcast_to(points[0], points[1:-1].shape), points[1:-1], points[2:]])
    (ax, ay), (bx, by) = (triangles[1] - triangles[0]).T, (triangles[2] - triangles[0]).T
    areas = np.abs(ax * by - ay * bx)
    middle: Points = (areas[:, None] * triangles.mean(axis=0)).sum(axis=0) / areas.sum()
    return middle


def draw_polygon(axes: Axes, corners: Points, **style: Any) -> None:
    """Fill a polygon given by weight vectors."""
    axes.add_patch(Polygon(to_plane(corners), closed=True, **style))


def draw_frame(axes: Axes, objectives: tuple[str, ...]) -> None:
    """Draw the triangle with the objectives' names at the corners where their weight is 1."""
    axes.set_aspect("equal")
    axes.set_axis_off()
    draw_polygon(axes, np.eye(3), facecolor="none", edgecolor=INK, linewidth=0.8, zorder=5)
    height = np.sqrt(3) / 2
    axes.text(-0.06, -0.035, short(objectives[0]), ha="left", va="top")
    axes.text(1.06, -0.035, short(objectives[1]), ha="right", va="top")
    axes.text(0.5, height + 0.035, short(objectives[2]), ha="center", va="bottom")
    axes.set_xlim(-0.06, 1.06)
    axes.set_ylim(-0.12, height + 0.11)


def _cut(corners: Points, values: Points) -> Points:
    """Keep the part of a convex polygon where a linear function, given at its corners, is ≥ 0."""
    kept: list[Points] = []
    for index in range(len(corners)):
        here, there = index, (index + 1) % len(corners)
        if values[here] >= _OUTSIDE:
            kept.append(corners[here])
        if (values[here] > 0 > values[there]) or (values[here] < 0 < values[there]):
            share = values[here] / (values[here] - values[there])
            kept.append(corners[here] + share * (corners[there] - corners[here]))
    return np.array(kept).reshape(-1, 3)
