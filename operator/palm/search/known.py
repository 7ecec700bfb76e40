"""What is known of the optimum so far, and which weight vectors that leaves to be certified."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from palm.bounds import UpperBound, lower_bound, upper_bound
from palm.errors import InvalidResult
from palm.floored import floored_upper_bound
from palm.objective import check_weights
from palm.pruning import COVER_SLACK

SAME_WEIGHT = 1e-9
"""Weight vectors nearer than this in every coordinate are one."""


@dataclass(frozen=True)
class Target:
    """What is to be certified: ``LB(w) ≥ opt_w - μ'·|opt_w| - α'`` for every weight vector w.

    Attributes:
        mu: Multiplicative tolerance μ', in [0, 1).
        alpha: Additive tolerance α', at least 0.
        eta: η, largest error of an evaluated objective, at least 0.
        tau: τ, largest suboptimality of training, at least 0.
        floor: Assumed lower bound of the utilities of all optimal policies; None assumes nothing.
            Given up as soon as an evaluated policy lies below it.
    """

    mu: float
    alpha: float
    eta: float = 0.0
    tau: float = 0.0
    floor: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.mu < 1:
            raise ValueError(f"mu is {self.mu}; the multiplicative tolerance must be in [0, 1)")
        for name in ("alpha", "eta", "tau"):
            value = getattr(self, name)
            if not (value >= 0 and np.isfinite(value)):
                raise ValueError(f"{name} is {value}; it must be finite and at least 0")
        if self.floor is not None and not np.isfinite(self.floor):
            raise ValueError(f"floor is {self.floor}; it must be finite or left out")

    def required(self, optimum: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what a policy must be worth where the optimum is at most so much; any shape."""
        finite = np.isfinite(optimum)
        size = np.abs(np.where(finite, optimum, 0.0))  # 0 times infinity is not a number
        lost = self.mu * size + self.alpha + COVER_SLACK * np.maximum(1.0, size)
        least = np.full(optimum.shape, np.inf)
        np.subtract(optimum, lost, out=least, where=finite)
        return least


@dataclass(frozen=True, eq=False)
class Known:
    """The evaluated policies, and what is under way or has failed.

    Attributes:
        weights: What each evaluated policy was trained for, shape ``(n, d)``, on the simplex.
        utilities: u(π) of these policies, shape ``(n, d)``, higher is better.
        in_flight: Weight vectors being trained or evaluated, shape ``(m, d)``.
        failed: Weight vectors whose oracle call failed, shape ``(f, d)``.
    """

    weights: NDArray[np.float64]
    utilities: NDArray[np.float64]
    in_flight: NDArray[np.float64]
    failed: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.weights.ndim != 2 or self.utilities.shape != self.weights.shape:
            raise ValueError(
                "weights and utilities must both have shape (n, d), not "
                f"{self.weights.shape} and {self.utilities.shape}"
            )
        for row in np.flatnonzero(~np.isfinite(self.utilities).all(axis=1)):
            raise InvalidResult(
                f"utilities of policy {row} are {self.utilities[row].tolist()}; results must be "
                "finite"
            )
        for rows in (self.weights, self.in_flight, self.failed):
            check_weights(rows)

    @property
    def unavailable(self) -> NDArray[np.float64]:
        """Return the weight vectors that are not to be trained again, shape ``(n + m + f, d)``."""
        return np.vstack([self.weights, self.in_flight, self.failed])


@dataclass(frozen=True, eq=False)
class Bounds:
    """Bounds of opt_w from what is known.

    Attributes:
        known: What they come from.
        target: What is to be certified.
        values: Upper bounds of opt_w at ``known.weights``, shape ``(n,)``.
        upper: The upper bound everywhere.
        floor: The floor in use, shape ``(d,)``; None where none is assumed, or was refuted.
    """

    known: Known
    target: Target
    values: NDArray[np.float64]
    upper: UpperBound
    floor: NDArray[np.float64] | None

    def below(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what the best evaluated policy is surely worth, shape ``(m,)``."""
        if not len(self.known.utilities):
            return np.full(len(weights), -np.inf)
        return lower_bound(weights, self.known.utilities) - self.target.eta

    def above(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what no policy can exceed, shape ``(m,)``; infinite where nothing bounds it."""
        bound = self.upper(weights)
        if len(self.known.utilities):
            # Rounding aside the bound is at least that; a sum of two roundings need not be.
            known = lower_bound(weights, self.known.utilities) + self.target.eta + self.target.tau
            at_known = is_among(weights, self.known.weights)
            bound = np.where(at_known, known, np.maximum(bound, known - self.target.tau))
        return bound

    def gaps(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return by how much each weight vector is short of being certified, shape ``(m,)``.

        At most 0 means certified; infinite where nothing bounds the optimum.
        """
        gaps: NDArray[np.float64] = self.target.required(self.above(weights)) - self.below(weights)
        return gaps

    def best_known(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the evaluated policy that is best at each weight vector, both ``(m, d)``."""
        utilities = self.known.utilities
        best: NDArray[np.float64] = utilities[(weights @ utilities.T).argmax(axis=1)]
        return best

    def best_possible(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the utilities that the upper bound is attained by, both ``(m, d)``.

        Any point between them and the best known policy is consistent with all that is known.
        """
        pieces = self.upper.pieces
        if not len(pieces):  # Qhull failed, and an extreme policy is missing
            return self.best_known(weights)
        best: NDArray[np.float64] = pieces[(weights @ pieces.T).argmax(axis=1)]
        return best


def bounds_of(known: Known, target: Target) -> Bounds:
    """Return the bounds that the evaluated policies give."""
    if not len(known.weights):
        values = np.empty(0)
    else:
        # The policy trained for w need not be the best known one there.
        values = lower_bound(known.weights, known.utilities) + target.eta + target.tau
    floor = floor_in_use(known, target)
    if floor is None:
        upper = upper_bound(weights=known.weights, values=values)
    else:
        upper = floored_upper_bound(weights=known.weights, values=values, floor=floor)
    return Bounds(known=known, target=target, values=values, upper=upper, floor=floor)


def floor_in_use(known: Known, target: Target) -> NDArray[np.float64] | None:
    """Return the assumed floor, shape ``(d,)``; None once an evaluated policy lies below it."""
    if target.floor is None or bool((known.utilities < target.floor - target.eta).any()):
        return None
    return np.full(known.weights.shape[1], target.floor - target.eta)


def is_among(weights: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say which weight vectors, shape ``(m, d)``, are among others, shape ``(n, d)``."""
    if not others.size:
        return np.zeros(len(weights), dtype=np.bool_)
    return np.asarray(
        np.all(np.abs(weights[:, None] - others[None]) < SAME_WEIGHT, axis=2).any(axis=1)
    )
