"""Which policy covers which weight vector, at one bit per pair.

The rule is that of PRUNE in Algorithm 1. Objectives are computed in blocks that stay in the
processor's cache and are not kept: 10,000 weight vectors and as many policies take 12.5 MB, not
the 800 MB of their objectives.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from palm.objective import check_pairs, objective_blocks

COVER_SLACK = 1e-12
"""Relative slack of the cover rule: a policy that is best at w covers w despite rounding."""

_ROWS = 255  # whose sum fits a byte


@dataclass(frozen=True, eq=False)
class CoverMatrix:
    """A boolean matrix, packed.

    Attributes:
        bits: Shape ``(weights, bytes)``: bit ``p % 8`` of byte ``p // 8`` of row w, the lowest bit
            first, says whether policy p covers weight vector w.
        policies: Number of policies.
    """

    bits: NDArray[np.uint8]
    policies: int

    @classmethod
    def packed(cls, covers: NDArray[np.bool_]) -> "CoverMatrix":
        """Pack a boolean matrix of shape ``(weights, policies)``."""
        return cls(bits=np.packbits(covers, axis=1, bitorder="little"), policies=covers.shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """Return (weights, policies)."""
        return len(self.bits), self.policies

    def boolean(self) -> NDArray[np.bool_]:
        """Unpack; shape ``(weights, policies)``, eight times the memory."""
        return self.rows(np.arange(len(self.bits)))

    def rows(self, weights: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Unpack the rows of these weight vectors; shape ``(len(weights), policies)``."""
        return np.unpackbits(
            self.bits[weights], axis=1, count=self.policies, bitorder="little"
        ).view(np.bool_)

    def columns(self, policies: Sequence[int] | NDArray[np.intp]) -> NDArray[np.bool_]:
        """Unpack the columns of these policies; shape ``(weights, len(policies))``."""
        index = np.asarray(policies, dtype=np.intp)
        masks = np.left_shift(1, index & 7).astype(np.uint8)
        covered: NDArray[np.bool_] = (self.bits[:, index >> 3] & masks) != 0
        return covered

    def counts(self, weights: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return how many of these weight vectors each policy covers, shape ``(policies,)``."""
        total = np.zeros(self.policies, dtype=np.int64)
        for start in range(0, len(weights), _ROWS):
            block = self.rows(weights[start : start + _ROWS]).view(np.uint8)
            total += block.sum(axis=0, dtype=np.uint8)
        return total

    def uncovered(self) -> NDArray[np.intp]:
        """Return the weight vectors that no policy covers, ascending."""
        return np.flatnonzero(~self.bits.any(axis=1))


def required_objective(
    optimum: NDArray[np.float64], *, mu: float, alpha: float
) -> NDArray[np.float64]:
    """Return the least objective that covers a weight vector, ``opt_w - μ'·|opt_w| - α'``.

    It is the paper's rule where opt_w ≥ 0. Where opt_w < 0 the printed ``(1-μ')·opt_w`` lies above
    opt_w, and not even the best policy would cover w.

    Args:
        optimum: opt_w, shape ``(weights,)``.
        mu: Multiplicative tolerance μ', in [0, 1].
        alpha: Additive tolerance α', finite and at least 0.

    Returns:
        Shape ``(weights,)``, lower by ``COVER_SLACK``.
    """
    if not 0 <= mu <= 1:
        raise ValueError(f"mu is {mu}; the multiplicative tolerance must be in [0, 1]")
    if not (alpha >= 0 and np.isfinite(alpha)):
        raise ValueError(f"alpha is {alpha}; the additive tolerance must be finite and at least 0")
    size = np.abs(optimum)
    required: NDArray[np.float64] = (
        optimum - mu * size - alpha - COVER_SLACK * np.maximum(1.0, size)
    )
    return required


def cover_matrix(
    *,
    weights: NDArray[np.float64],
    utilities: NDArray[np.float64],
    mu: float,
    alpha: float,
    optimum: NDArray[np.float64] | None = None,
) -> tuple[CoverMatrix, NDArray[np.float64]]:
    """Return which policy covers which weight vector, and the best observed objectives.

    Args:
        weights: Weight vectors on the simplex, shape ``(weights, d)``.
        utilities: u(π), shape ``(policies, d)``, at least one policy.
        mu: Multiplicative tolerance μ', in [0, 1].
        alpha: Additive tolerance α', at least 0.
        optimum: opt_w to be covered, or an upper bound of it, shape ``(weights,)``; where it is
            below the best observed value, that counts. None: the best observed values.

    Returns:
        The matrix, and ``max J_w`` over the policies, shape ``(weights,)``.

    Raises:
        InvalidResult: A utility is NaN or infinite.
    """
    check_pairs(weights=weights, utilities=utilities)
    if not len(utilities):
        raise ValueError("utilities is empty; there must be a policy to cover with")
    if optimum is not None and (
        optimum.shape != weights.shape[:1] or not np.isfinite(optimum).all()
    ):
        raise ValueError(
            f"optimum must have shape ({len(weights)},) and be finite, not {optimum.shape} with "
            f"{int((~np.isfinite(optimum)).sum())} entries that are not"
        )
    bits = np.empty((len(weights), -(-len(utilities) // 8)), dtype=np.uint8)
    observed = np.empty(len(weights))
    for rows, objective in objective_blocks(weights=weights, utilities=utilities):
        observed[rows] = objective.max(axis=1)
        best = observed[rows] if optimum is None else np.maximum(observed[rows], optimum[rows])
        required = required_objective(best, mu=mu, alpha=alpha)
        bits[rows] = np.packbits(objective >= required[:, None], axis=1, bitorder="little")
    return CoverMatrix(bits=bits, policies=len(utilities)), observed
