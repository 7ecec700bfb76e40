"""PRUNE of Algorithm 1: keep a small set of policies that still covers every weight vector.

Objectives: higher is better. ``opt_w`` is the best value *observed* at w over all evaluated
policies, not J_w(π_w): training is an approximate oracle, and a policy trained for another weight
vector may be better at w. What training lost is reported as the oracle regret.

The measured ε and δ here have the grid as their scope: they say nothing between its weight
vectors. They are not the tolerances μ' and α' either. Bounds over the whole simplex, with sampling
error, are a certificate, which is another module's work.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from palm.errors import NoCover
from palm.objective import scalarize
from palm.set_cover import (
    Cover,
    Solver,
    greedy_cover,
    minimum_cover,
    reverse_delete,
)

__all__ = [
    "COVER_SLACK",
    "Cover",
    "Pruning",
    "Solver",
    "covers",
    "greedy_cover",
    "minimum_cover",
    "optimum",
    "prune",
    "reverse_delete",
]

COVER_SLACK = 1e-12
"""Relative slack of the cover rule: a policy that is best at w covers w despite rounding."""


@dataclass(frozen=True, eq=False)
class Pruning:
    """What PRUNE decided, and how good it measurably is on the grid.

    Attributes:
        indices: Policies of the portfolio, ascending.
        optimum: opt_w, best observed objective, shape ``(weights,)``.
        proven: Whether no smaller cover exists.
        solver: What found the cover.
        epsilon: Largest relative shortfall ``1 - max_P J_w / opt_w`` over the weight vectors of the
            grid; None where it means nothing, because some opt_w is negative (or 0 and missed).
        delta: Largest absolute shortfall ``opt_w - max_P J_w`` over the weight vectors of the grid.
        oracle_regret: ``opt_w - J_w(π_w)`` of each policy at the weight vector it was trained for,
            shape ``(policies,)``, at least 0: a measured lower bound of what training lost. None
            when it is not known what the policies were trained for.
    """

    indices: tuple[int, ...]
    optimum: NDArray[np.float64]
    proven: bool
    solver: Solver
    epsilon: float | None
    delta: float
    oracle_regret: NDArray[np.float64] | None


def optimum(objective: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return opt_w, the best observed value at each weight vector, shape ``(weights,)``.

    Args:
        objective: J_w(π), shape ``(weights, policies)``, at least one policy.
    """
    if objective.ndim != 2 or not objective.shape[1]:
        raise ValueError(
            "objective must have shape (weights, policies) with at least one policy, not "
            f"{objective.shape}"
        )
    best: NDArray[np.float64] = objective.max(axis=1)
    return best


def covers(objective: NDArray[np.float64], *, mu: float, alpha: float) -> NDArray[np.bool_]:
    """Say which policy covers which weight vector (Algorithm 1, PRUNE, line 3).

    ``J_w(π) ≥ opt_w - μ'·|opt_w| - α'``: the paper's rule where opt_w ≥ 0. Where opt_w < 0 the
    printed ``(1-μ')·opt_w`` lies above opt_w, and not even the best policy would cover w.

    Args:
        objective: J_w(π), shape ``(weights, policies)``, finite, at least one policy.
        mu: Multiplicative tolerance μ', in [0, 1].
        alpha: Additive tolerance α', finite and at least 0.

    Returns:
        Cover matrix, shape ``(weights, policies)``; every row has at least one True.
    """
    if not 0 <= mu <= 1:
        raise ValueError(f"mu is {mu}; the multiplicative tolerance must be in [0, 1]")
    if not (alpha >= 0 and np.isfinite(alpha)):
        raise ValueError(f"alpha is {alpha}; the additive tolerance must be finite and at least 0")
    best = optimum(objective)
    size = np.abs(best)
    required = best - mu * size - alpha - COVER_SLACK * np.maximum(1.0, size)
    matrix: NDArray[np.bool_] = objective >= required[:, None]
    return matrix


def prune(
    *,
    weights: NDArray[np.float64],
    utilities: NDArray[np.float64],
    mu: float,
    alpha: float,
    solver: Solver,
    preferred: Collection[int] = (),
    trained_at: Sequence[int] | None = None,
) -> Pruning:
    """Return a cover of all weight vectors by the policies (Algorithm 1, PRUNE).

    A failed policy is left out of ``utilities``; its weight vector stays in ``weights`` and must be
    covered by others. A weight vector is never dropped.

    Args:
        weights: Weight vectors on the simplex, shape ``(weights, d)``.
        utilities: Normalized u(π), shape ``(policies, d)``, higher is better.
        mu: Multiplicative tolerance μ', in [0, 1].
        alpha: Additive tolerance α', at least 0.
        solver: ``Exact`` for a smallest cover, ``Greedy`` for the paper's algorithm as printed.
        preferred: Policies to keep where it costs nothing (``Exact`` only).
        trained_at: Index of the weight vector each policy was trained for, length policies.

    Raises:
        NoCover: There is no policy at all.
        InvalidResult: A utility is NaN or infinite, with its row (policy) and column (objective).
    """
    objective = scalarize(weights=weights, utilities=utilities)
    if not len(weights):
        raise ValueError("weights is empty; there must be a weight vector to cover")
    if not len(utilities):
        raise NoCover(range(len(weights)))
    matrix = covers(objective, mu=mu, alpha=alpha)
    cover = _cover(matrix, solver=solver, preferred=preferred)
    best = optimum(objective)
    shortfall = best - objective[:, list(cover.indices)].max(axis=1)
    return Pruning(
        indices=cover.indices,
        optimum=best,
        proven=cover.proven,
        solver=cover.solver,
        epsilon=_worst_relative(shortfall, best=best),
        delta=float(shortfall.max()),
        oracle_regret=None if trained_at is None else _oracle_regret(objective, best, trained_at),
    )


def _cover(matrix: NDArray[np.bool_], *, solver: Solver, preferred: Collection[int]) -> Cover:
    if solver == "Exact":
        return minimum_cover(matrix, preferred=preferred)
    picked = greedy_cover(matrix)
    # One policy is always a smallest cover; beyond that greedy proves nothing.
    return Cover(indices=tuple(sorted(picked)), proven=len(picked) == 1, solver="Greedy")


def _worst_relative(shortfall: NDArray[np.float64], *, best: NDArray[np.float64]) -> float | None:
    """Return the largest shortfall in units of opt_w; None where a ratio means nothing."""
    if (best < 0).any() or (shortfall[best == 0] > 0).any():
        return None
    positive = best > 0
    return float(np.max(shortfall[positive] / best[positive], initial=0.0))


def _oracle_regret(
    objective: NDArray[np.float64], best: NDArray[np.float64], trained_at: Sequence[int]
) -> NDArray[np.float64]:
    rows = np.asarray(trained_at, dtype=np.intp)
    count, policies = objective.shape
    if rows.shape != (policies,) or (rows < 0).any() or (rows >= count).any():
        raise ValueError(
            f"trained_at is {list(trained_at)}; it must name one of {count} weight vectors "
            f"for each of {policies} policies"
        )
    regret: NDArray[np.float64] = best[rows] - objective[rows, np.arange(policies)]
    return regret
