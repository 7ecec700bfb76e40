"""The scalarized objective J_w(π), equation (1) of the paper, and the units it is meant in.

Weights sum to 1, so ``J_w(π) = w·r(π) - f(π) = w·u(π)`` with the utilities ``u = r - f·1``: one
evaluation per policy fills the whole matrix of objectives, which is why pruning needs no further
training. Rewards, utilities and objectives: higher is better.

Normalization is frozen once, from the payoff table of the extreme policies (those of the weight
vectors e_1…e_d), before any other policy is trained. Rescaling an objective changes what a weight
vector means, so a policy must be trained at ``training_weights``: rescaling after training, as
Appendix B.2 describes it, judges a policy on another objective than the one it was trained for.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from palm.errors import InvalidResult

BLOCK_SIZE = 1 << 17
"""Objectives computed at once where there are many: 1 MB, which stays in the cache."""

_SIMPLEX_TOLERANCE = 1e-6  # weights that people write have a few decimals


@dataclass(frozen=True, eq=False)
class Normalization:
    """Fixed map of utilities into the units in which weights are meant: ``(u - offset) / scale``.

    Attributes:
        offset: What becomes 0, shape ``(d,)``, finite.
        scale: What becomes 1 above the offset, shape ``(d,)``, finite and positive.
    """

    offset: NDArray[np.float64]
    scale: NDArray[np.float64]

    def __post_init__(self) -> None:
        offset = np.array(self.offset, dtype=np.float64)
        scale = np.array(self.scale, dtype=np.float64)
        if offset.ndim != 1 or offset.shape != scale.shape or not offset.size:
            raise ValueError(
                f"offset and scale must be vectors of one length, not {offset.shape} and "
                f"{scale.shape}"
            )
        if not np.isfinite(offset).all():
            raise ValueError(f"offset is {offset.tolist()}; every entry must be finite")
        _check_scale(scale)
        for name, value in (("offset", offset), ("scale", scale)):
            value.flags.writeable = False
            object.__setattr__(self, name, value)

    def apply(self, utilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return normalized utilities; shape ``(policies, d)`` in and out.

        Values may leave [0, 1] a little: the map comes from the extreme policies alone.
        """
        if utilities.ndim != 2 or utilities.shape[1] != self.offset.size:
            raise ValueError(
                f"utilities must have shape (policies, {self.offset.size}), not {utilities.shape}"
            )
        normalized: NDArray[np.float64] = (utilities - self.offset) / self.scale
        return normalized


def utilities(
    *, rewards: NDArray[np.float64], regularizer: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return u = r - f·1, whose product with a weight vector is the objective of equation (1).

    Args:
        rewards: Expected reward vectors r(π), shape ``(policies, d)``.
        regularizer: f(π), usually β·KL, shape ``(policies,)``; an estimate may be negative.

    Raises:
        InvalidResult: An entry is NaN or infinite; a failed evaluation is never counted as 0.
    """
    if rewards.ndim != 2 or regularizer.shape != rewards.shape[:1]:
        raise ValueError(
            "rewards and regularizer must have shapes (policies, d) and (policies,), not "
            f"{rewards.shape} and {regularizer.shape}"
        )
    _check_finite("reward", rewards)
    _check_finite("regularizer", regularizer[:, None])
    difference: NDArray[np.float64] = rewards - regularizer[:, None]
    return difference


def scalarize(
    *, weights: NDArray[np.float64], utilities: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the objective J_w(π) = w·u(π) for every weight vector and policy, equation (1).

    Args:
        weights: Weight vectors on the simplex, shape ``(weights, d)``.
        utilities: u(π), shape ``(policies, d)``.

    Returns:
        Shape ``(weights, policies)``, higher is better. An entry depends on its own weight vector
        and policy only, to the last bit, so equal policies tie; a BLAS product does not promise it.

    Raises:
        ValueError: Shapes do not fit, or a row of ``weights`` is not on the simplex.
        InvalidResult: A utility is NaN or infinite.
    """
    check_pairs(weights=weights, utilities=utilities)
    objective = np.empty((len(weights), len(utilities)))
    for rows, block in objective_blocks(weights=weights, utilities=utilities):
        objective[rows] = block
    return objective


def objective_blocks(
    *, weights: NDArray[np.float64], utilities: NDArray[np.float64]
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield the rows of ``scalarize`` in blocks, so that the whole is never in memory.

    Args:
        weights: Weight vectors, shape ``(weights, d)``; already checked.
        utilities: u(π), shape ``(policies, d)``; already checked.

    Yields:
        The slice of the weight vectors and their objectives, shape ``(rows, policies)``; the
        array is overwritten by the next block.
    """
    policies = max(1, len(utilities))
    rows = min(max(1, BLOCK_SIZE // policies), max(1, len(weights)))
    columns = np.ascontiguousarray(utilities.T)
    whole, products = np.empty((rows, len(utilities))), np.empty((rows, len(utilities)))
    for start in range(0, len(weights), rows):
        part = weights[start : start + rows]
        objective, product = whole[: len(part)], products[: len(part)]
        np.multiply(part[:, 0, None], columns[0], out=objective)
        for i in range(1, weights.shape[1]):
            np.multiply(part[:, i, None], columns[i], out=product)
            np.add(objective, product, out=objective)
        yield slice(start, start + len(part)), objective


def check_pairs(*, weights: NDArray[np.float64], utilities: NDArray[np.float64]) -> None:
    """Raise unless ``scalarize`` is defined for these arguments; its errors."""
    if weights.ndim != 2 or utilities.ndim != 2 or weights.shape[1] != utilities.shape[1]:
        raise ValueError(
            "weights and utilities must have shapes (weights, d) and (policies, d), not "
            f"{weights.shape} and {utilities.shape}"
        )
    check_weights(weights)
    _check_finite("utility", utilities)


def payoff_normalization(extreme_utilities: NDArray[np.float64]) -> Normalization:
    """Return the map that takes each objective's range over the extreme policies to [0, 1].

    Args:
        extreme_utilities: Payoff table, shape ``(d, d)``: row i is u of the policy trained at e_i.

    Raises:
        InvalidResult: An entry is not finite, or all extreme policies are equally good at one
            objective: it trades off against nothing, and no scale gives its weight a meaning.
    """
    table = np.asarray(extreme_utilities, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or not table.size:
        raise ValueError(f"the payoff table must have shape (d, d), not {table.shape}")
    _check_finite("utility", table)
    lowest, highest = table.min(axis=0), table.max(axis=0)
    for i in np.flatnonzero(highest <= lowest):
        raise InvalidResult(
            f"objective {i} is {lowest[i]:.6g} for every extreme policy; "
            "it must differ between them, or it does not trade off"
        )
    return Normalization(offset=lowest, scale=highest - lowest)


def stated_normalization(*, lowest: ArrayLike, highest: ArrayLike) -> Normalization:
    """Return the map that takes stated ranges of the objectives to [0, 1].

    Args:
        lowest: What becomes 0, shape ``(d,)``, finite.
        highest: What becomes 1, shape ``(d,)``, finite and above ``lowest``.
    """
    low, high = np.asarray(lowest, dtype=np.float64), np.asarray(highest, dtype=np.float64)
    if low.shape != high.shape or not (low < high).all():
        raise ValueError(
            f"lowest is {low.tolist()} and highest is {high.tolist()}; every objective's range "
            "must go from a lower to a higher number"
        )
    return Normalization(offset=low, scale=high - low)


def training_weights(*, weights: NDArray[np.float64], scale: ArrayLike) -> NDArray[np.float64]:
    """Return the weight vectors to train at: the optimum of the normalized objective is theirs.

    ``Σ w_i (u_i - offset_i) / scale_i`` is maximal where ``Σ v_i u_i`` is, with v_i ∝ w_i/scale_i.

    Args:
        weights: Weight vectors of normalized objectives, on the simplex, shape ``(weights, d)``.
        scale: Scale of the normalization, shape ``(d,)``, positive.

    Returns:
        Weight vectors of training units, on the simplex, shape ``(weights, d)``.
    """
    return _reweighted(weights, 1.0 / _checked_scale(weights, scale))


def normalized_weights(*, weights: NDArray[np.float64], scale: ArrayLike) -> NDArray[np.float64]:
    """Return the weight vectors of normalized objectives; the inverse of ``training_weights``."""
    return _reweighted(weights, _checked_scale(weights, scale))


def check_weights(weights: NDArray[np.float64]) -> None:
    """Raise ValueError unless every row of ``weights``, shape ``(weights, d)``, is on the simplex.

    NaN and infinities are not on the simplex.
    """
    # Negated comparisons, so that NaN fails them.
    wrong = ~(np.abs(weights.sum(axis=1) - 1.0) <= _SIMPLEX_TOLERANCE) | ~(weights >= 0).all(axis=1)
    for row in np.flatnonzero(wrong):
        raise ValueError(
            f"weight vector {row} is {weights[row].tolist()}; "
            "its entries must be at least 0 and sum to 1"
        )


def _reweighted(weights: NDArray[np.float64], factors: NDArray[np.float64]) -> NDArray[np.float64]:
    check_weights(weights)
    products = weights * (factors / factors.max())  # the largest is 1: no overflow
    mapped: NDArray[np.float64] = products / products.sum(axis=1, keepdims=True)
    return mapped


def _checked_scale(weights: NDArray[np.float64], scale: ArrayLike) -> NDArray[np.float64]:
    vector = np.asarray(scale, dtype=np.float64)
    if weights.ndim != 2 or vector.shape != weights.shape[1:]:
        raise ValueError(
            "weights and scale must have shapes (weights, d) and (d,), not "
            f"{weights.shape} and {vector.shape}"
        )
    _check_scale(vector)
    return vector


def _check_scale(scale: NDArray[np.float64]) -> None:
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise ValueError(f"scale is {scale.tolist()}; every entry must be finite and above 0")


def _check_finite(what: str, values: NDArray[np.float64]) -> None:
    for row, column in np.argwhere(~np.isfinite(values)):
        raise InvalidResult(
            f"{what} in row {row}, column {column} is {values[row, column]}; results must be finite"
        )
