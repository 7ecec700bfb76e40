"""Which preferences some weight vector approximates coordinate by coordinate (Lemma 3.3)."""

import numpy as np
from numpy.typing import NDArray

_MESH = {2: 20_001, 3: 241}  # points on one edge of the simplex
_SLACK = 1e-12


def covered_share(weights: NDArray[np.float64], *, epsilon: float, delta: float) -> float:
    """Return the share of a fine mesh of the simplex that some weight vector covers.

    w covers v when ``|w_i - v_i| ≤ ε'·v_i + δ'`` for all i.

    Args:
        weights: Weight vectors, shape ``(n, 2)`` or ``(n, 3)``.
        epsilon: ε', at least 0.
        delta: δ', at least 0.
    """
    mesh = _mesh(weights.shape[1])
    reach = epsilon * mesh + delta + _SLACK
    covered = np.zeros(len(mesh), dtype=np.bool_)
    for row in weights:
        covered |= (np.abs(row - mesh) <= reach).all(axis=1)
    return float(covered.mean())


def _mesh(dimension: int) -> NDArray[np.float64]:
    points = _MESH[dimension]
    counts = np.stack(np.meshgrid(*[np.arange(points)] * (dimension - 1), indexing="ij"), axis=-1)
    counts = counts.reshape(-1, dimension - 1)
    counts = counts[counts.sum(axis=1) < points]
    last = points - 1 - counts.sum(axis=1, keepdims=True)
    mesh: NDArray[np.float64] = np.concatenate([counts, last], axis=1) / (points - 1)
    return mesh
