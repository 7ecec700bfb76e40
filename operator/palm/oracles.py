"""Oracles whose optimum is known: what the algorithm is tested and measured on.

An oracle answers a weight vector w with the utilities u(π_w) of an optimal policy; with real models
that is one training Job and one evaluation Job. Here it costs microseconds, and ``optimum`` says
what no amount of training could: the true opt_w = sup_π w·u(π), for many weight vectors at once.

Random instances of them are in `palm.random_oracles`. Higher is better.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from palm.objective import Normalization, check_weights, scalarize

_BLOCK = 1 << 18  # doubles; larger blocks leave the processor's cache

Vector = NDArray[np.float64]


class Oracle(Protocol):
    """What trains: one optimal policy per weight vector."""

    @property
    def dimension(self) -> int:
        """Number of objectives d."""

    def __call__(self, weights: Vector, /) -> Vector:
        """Return u(π_w), shape ``(d,)``, for a weight vector on the simplex, shape ``(d,)``."""

    def optimum(self, weights: Vector, /) -> Vector:
        """Return the true opt_w, shape ``(m,)``, for weight vectors of shape ``(m, d)``."""


class FiniteFront:
    """Finitely many policies; a weight vector gets the best one, the lowest index on ties.

    Args:
        utilities: u of the policies, shape ``(policies, d)``, finite, at least one policy.
    """

    def __init__(self, utilities: ArrayLike) -> None:
        self.utilities = _finite_array(utilities, name="utilities", axes=2)

    @property
    def dimension(self) -> int:
        """Number of objectives d."""
        return int(self.utilities.shape[1])

    def __call__(self, weights: Vector, /) -> Vector:
        """Return the utilities of the best policy."""
        _check(weights[None], self.dimension)
        # Row by row, so that equal policies tie; a BLAS product does not promise it.
        best: Vector = self.utilities[(self.utilities * weights).sum(axis=1).argmax()]
        return best.copy()

    def optimum(self, weights: Vector, /) -> Vector:
        """Return the largest w·u over the front."""
        _check(weights, self.dimension)
        values = np.empty(len(weights))
        rows = max(_BLOCK // len(self.utilities), 1)
        for start in range(0, len(weights), rows):
            block = slice(start, start + rows)
            values[block] = scalarize(weights=weights[block], utilities=self.utilities).max(axis=1)
        return values


class Ellipsoid:
    """A smooth front: every u with ``(u - c)ᵀ A⁻¹ (u - c) ≤ 1`` belongs to some policy.

    The optimum is closed: ``u = c + A w / √(wᵀ A w)``, ``opt_w = w·c + √(wᵀ A w)``.

    Args:
        center: c, shape ``(d,)``, finite.
        shape: A, shape ``(d, d)``, symmetric and positive definite.
    """

    def __init__(self, *, center: ArrayLike, shape: ArrayLike) -> None:
        self.center = _finite_array(center, name="center", axes=1)
        self.shape = _finite_array(shape, name="shape", axes=2)
        size = self.center.size
        if self.shape.shape != (size, size) or not np.allclose(self.shape, self.shape.T):
            raise ValueError(f"shape must be a symmetric matrix ({size}, {size})")
        if np.linalg.eigvalsh(self.shape)[0] <= 0:
            raise ValueError("shape must be positive definite: all its eigenvalues above 0")

    @property
    def dimension(self) -> int:
        """Number of objectives d."""
        return int(self.center.size)

    def __call__(self, weights: Vector, /) -> Vector:
        """Return the point of the ellipsoid that lies furthest in the direction of w."""
        _check(weights[None], self.dimension)
        normal = self.shape @ weights
        point: Vector = self.center + normal / np.sqrt(weights @ normal)
        return point

    def optimum(self, weights: Vector, /) -> Vector:
        """Return the support function of the ellipsoid."""
        _check(weights, self.dimension)
        quadratic = np.einsum("md,de,me->m", weights, self.shape, weights, optimize=True)
        support: Vector = weights @ self.center + np.sqrt(quadratic)
        return support


@dataclass(frozen=True, eq=False)
class BanditOptimum:
    """Optimal policies of a KL-regularized bandit for m weight vectors.

    Attributes:
        rewards: Expected reward vectors r(π_w), shape ``(m, d)``.
        divergence: KL(π_w || reference) in nats, mean over prompts, shape ``(m,)``.
        optimum: opt_w = w·r(π_w) - β·KL, shape ``(m,)``.
    """

    rewards: Vector
    divergence: Vector
    optimum: Vector


class KLBandit:
    """KL-regularized bandit: what fine-tuning maximizes, small enough to solve in closed form.

    For prompt x and responses y the optimum of ``E[w·r] - β·KL(π || reference)`` is
    ``π_w(y|x) ∝ reference(y|x)·exp(w·r(x, y)/β)``, and its value is β times the mean over x of
    ``log Σ_y reference(y|x)·exp(w·r(x, y)/β)``.

    Args:
        rewards: r(x, y), shape ``(prompts, responses, d)``, finite.
        reference: Probabilities of the reference policy, shape ``(prompts, responses)``, positive,
            each row summing to 1.
        beta: KL coefficient β, positive.
    """

    def __init__(self, *, rewards: ArrayLike, reference: ArrayLike, beta: float) -> None:
        table = _finite_array(rewards, name="rewards", axes=3)
        probabilities = _finite_array(reference, name="reference", axes=2)
        if probabilities.shape != table.shape[:2]:
            raise ValueError(
                f"reference must have shape {table.shape[:2]}, not {probabilities.shape}"
            )
        if (probabilities <= 0).any() or not np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-4):
            raise ValueError("reference must be positive and sum to 1 for each prompt")
        if not (beta > 0 and np.isfinite(beta)):
            raise ValueError(f"beta is {beta}; the KL coefficient must be finite and positive")
        self.beta = float(beta)
        self._prompts, self._responses, self._dimension = table.shape
        self._rewards = table.reshape(-1, self._dimension)
        self._gain = np.ascontiguousarray(self._rewards.T) / self.beta
        self._log_reference = np.log(probabilities).ravel()

    @property
    def dimension(self) -> int:
        """Number of objectives d."""
        return int(self._dimension)

    def __call__(self, weights: Vector, /) -> Vector:
        """Return u = r - β·KL of the optimal policy."""
        solved = self.solve(weights[None])
        utilities: Vector = solved.rewards[0] - self.beta * solved.divergence[0]
        return utilities

    def optimum(self, weights: Vector, /) -> Vector:
        """Return opt_w in closed form."""
        return self.solve(weights).optimum

    def solve(self, weights: Vector) -> BanditOptimum:
        """Return rewards, KL and value of the optimal policies, weights of shape ``(m, d)``."""
        _check(weights, self._dimension)
        rewards, values = np.empty(weights.shape), np.empty(len(weights))
        rows = max(_BLOCK // len(self._rewards), 1)
        for start in range(0, len(weights), rows):
            block = slice(start, start + rows)
            rewards[block], values[block] = self._solve_block(weights[block])
        divergence = ((weights * rewards).sum(axis=1) - values) / self.beta
        return BanditOptimum(rewards=rewards, divergence=divergence, optimum=values)

    def _solve_block(self, weights: Vector) -> tuple[Vector, Vector]:
        logits = (weights @ self._gain + self._log_reference).reshape(
            len(weights), self._prompts, self._responses
        )
        highest = logits.max(axis=2, keepdims=True)
        masses = np.exp(logits - highest)
        totals = masses.sum(axis=2, keepdims=True)
        masses /= totals * self._prompts
        rewards: Vector = masses.reshape(len(weights), -1) @ self._rewards
        values: Vector = self.beta * (np.log(totals) + highest)[:, :, 0].mean(axis=1)
        return rewards, values


class Normalized:
    """Another oracle in other units: utilities ``(u - offset) / scale``.

    A weight vector w means normalized objectives, so the other oracle trains at the mapped one,
    proportional to w/scale (`palm.objective.training_weights`).
    """

    def __init__(self, oracle: Oracle, units: Normalization) -> None:
        if units.scale.size != oracle.dimension:
            raise ValueError(f"units have {units.scale.size} objectives, not {oracle.dimension}")
        self._oracle, self._offset, self._scale = oracle, units.offset, units.scale

    @property
    def dimension(self) -> int:
        """Number of objectives d."""
        return self._oracle.dimension

    def __call__(self, weights: Vector, /) -> Vector:
        """Return normalized utilities of the policy that is optimal for them."""
        _check(weights[None], self.dimension)
        raw = weights / self._scale
        utilities: Vector = (self._oracle(raw / raw.sum()) - self._offset) / self._scale
        return utilities

    def optimum(self, weights: Vector, /) -> Vector:
        """Return opt_w of the normalized objectives."""
        _check(weights, self.dimension)
        raw = weights / self._scale
        totals = raw.sum(axis=1)
        values: Vector = self._oracle.optimum(raw / totals[:, None]) * totals - raw @ self._offset
        return values


class Noisy:
    """Another oracle, trained to within τ and evaluated to within η; the same answer every time.

    The policy at w is worth at least ``opt_w - τ``, and each utility is reported with an error of
    at most η. ``optimum`` stays the truth.

    Args:
        oracle: What is approximated.
        eta: η, largest error of one reported utility, at least 0.
        tau: τ, largest suboptimality of a policy at its own weight vector, at least 0.
        seed: Of the errors; they depend on it and on w, not on the order of calls.
    """

    def __init__(self, oracle: Oracle, *, eta: float, tau: float, seed: int) -> None:
        for name, value in (("eta", eta), ("tau", tau)):
            if not (value >= 0 and np.isfinite(value)):
                raise ValueError(f"{name} is {value}; it must be finite and at least 0")
        self._oracle, self._eta, self._tau, self._seed = oracle, eta, tau, seed

    @property
    def dimension(self) -> int:
        """Number of objectives d."""
        return self._oracle.dimension

    def __call__(self, weights: Vector, /) -> Vector:
        """Return what an evaluation reports: ``trained`` plus an error."""
        errors = self._generator(weights).uniform(-self._eta, self._eta, size=(2, self.dimension))
        reported: Vector = self.trained(weights) + errors[1]
        return reported

    def trained(self, weights: Vector) -> Vector:
        """Return the true utilities of the policy that a call trains, shape ``(d,)``."""
        loss = self._generator(weights).uniform(0.0, self._tau, size=self.dimension)
        utilities: Vector = self._oracle(weights) - loss
        return utilities

    def optimum(self, weights: Vector, /) -> Vector:
        """Return the true opt_w."""
        return self._oracle.optimum(weights)

    def _generator(self, weights: Vector) -> np.random.Generator:
        return np.random.default_rng([self._seed, *np.ascontiguousarray(weights).view(np.uint32)])


def _finite_array(values: ArrayLike, *, name: str, axes: int) -> Vector:
    array = np.array(values, dtype=np.float64)
    if array.ndim != axes or not array.size:
        raise ValueError(f"{name} must have {axes} axes and no empty one, not shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite")
    array.flags.writeable = False
    return array


def _check(weights: Vector, dimension: int) -> None:
    if weights.ndim != 2 or weights.shape[1] != dimension:
        raise ValueError(f"weights must have shape (m, {dimension}), not {weights.shape}")
    check_weights(weights)
