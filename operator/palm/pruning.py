"""PRUNE of Algorithm 1: keep a small set of policies that still covers every weight vector.

Objectives: higher is better. ``opt_w`` is the best value *observed* at w over all evaluated
policies, not J_w(π_w): training is an approximate oracle, and a policy trained for another weight
vector may be better at w. What training lost is reported as the oracle regret. A caller who has an
upper bound of opt_w may ask for that to be covered instead (``palm.missing``, ``palm.bounds``).

The measured ε and δ here have the grid as their scope: they say nothing between its weight
vectors. They are not the tolerances μ' and α' either. ``palm.certificate`` has what is true of the
whole simplex.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from palm.bounds import lower_bound
from palm.cover_matrix import COVER_SLACK, CoverMatrix, cover_matrix, required_objective
from palm.errors import NoCover
from palm.set_cover import Cover, Solver, greedy_cover, minimum_cover, reverse_delete

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
    "worst_relative",
]


@dataclass(frozen=True, eq=False)
class Pruning:
    """What PRUNE decided, and how good it measurably is on the grid.

    Attributes:
        indices: Policies of the portfolio, ascending.
        optimum: opt_w that was to be covered: the best observed objective, or what the caller
            gave, shape ``(weights,)``.
        proven: Whether no smaller cover exists.
        solver: What found the cover.
        epsilon: Largest relative shortfall ``1 - max_P J_w / opt_w`` over the weight vectors of the
            grid; None where it means nothing, because some opt_w is negative (or 0 and missed).
        delta: Largest absolute shortfall ``opt_w - max_P J_w`` over the weight vectors of the grid.
        oracle_regret: ``opt_w - J_w(π_w)`` of each policy at the weight vector it was trained for,
            shape ``(policies,)``, at least 0: a measured lower bound of what training lost, with
            the best observed value as opt_w. None when it is not known what the policies were
            trained for.
        uncovered: Weight vectors that no policy covers, ascending; the portfolio covers all
            others. Empty unless the caller gave the optimum.
    """

    indices: tuple[int, ...]
    optimum: NDArray[np.float64]
    proven: bool
    solver: Solver
    epsilon: float | None
    delta: float
    oracle_regret: NDArray[np.float64] | None
    uncovered: tuple[int, ...] = ()


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

    ``J_w(π) ≥ opt_w - μ'·|opt_w| - α'`` with the best observed opt_w: see ``required_objective``.

    Args:
        objective: J_w(π), shape ``(weights, policies)``, finite, at least one policy.
        mu: Multiplicative tolerance μ', in [0, 1].
        alpha: Additive tolerance α', finite and at least 0.

    Returns:
        Cover matrix, shape ``(weights, policies)``; every row has at least one True.
    """
    required = required_objective(optimum(objective), mu=mu, alpha=alpha)
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
    optimum: NDArray[np.float64] | None = None,
    time_limit: float = 10.0,
) -> Pruning:
    """Return a cover of all weight vectors by the policies (Algorithm 1, PRUNE).

    A failed policy is left out of ``utilities``; its weight vector stays in ``weights`` and must be
    covered by others. A weight vector is never dropped: one that nobody covers is reported.

    Memory: a bit per weight vector and policy, and a few megabytes.

    Args:
        weights: Weight vectors on the simplex, shape ``(weights, d)``.
        utilities: Normalized u(π), shape ``(policies, d)``, higher is better.
        mu: Multiplicative tolerance μ', in [0, 1].
        alpha: Additive tolerance α', at least 0.
        solver: ``Exact`` for a smallest cover, ``Greedy`` for the paper's algorithm as printed.
        preferred: Policies to keep where it costs nothing (``Exact`` only).
        trained_at: Index of the weight vector each policy was trained for, length policies.
        optimum: Upper bounds of opt_w, shape ``(weights,)``: who covers them covers whatever the
            true optimum is. None: the best observed values, which also replace what is below them.
        time_limit: Seconds for the exact solver; see ``minimum_cover``.

    Raises:
        NoCover: There is no policy at all, or no weight vector is covered by any.
        InvalidResult: A utility is NaN or infinite, with its row (policy) and column (objective).
    """
    if not len(weights):
        raise ValueError("weights is empty; there must be a weight vector to cover")
    if not len(utilities):
        raise NoCover(range(len(weights)))
    order = np.arange(len(weights))
    if weights.shape[1:] == (2,):  # along the line, where policies cover intervals
        order = np.argsort(weights[:, 0], kind="stable")
    matrix, observed = cover_matrix(
        weights=weights[order],
        utilities=utilities,
        mu=mu,
        alpha=alpha,
        optimum=None if optimum is None else optimum[order],
    )
    uncovered = matrix.uncovered()
    if len(uncovered) == len(weights):
        raise NoCover(range(len(weights)))
    if len(uncovered):
        matrix = CoverMatrix(np.delete(matrix.bits, uncovered, axis=0), matrix.policies)
    cover = _cover(matrix, solver=solver, preferred=preferred, time_limit=time_limit)
    observed = observed[np.argsort(order)]
    best = observed if optimum is None else np.maximum(observed, optimum)
    shortfall = best - lower_bound(weights, utilities[list(cover.indices)])
    regret = None
    if trained_at is not None:
        regret = _oracle_regret(weights, utilities, observed, trained_at)
    return Pruning(
        indices=cover.indices,
        optimum=best,
        proven=cover.proven,
        solver=cover.solver,
        epsilon=worst_relative(shortfall, best=best),
        delta=float(shortfall.max()),
        oracle_regret=regret,
        uncovered=tuple(sorted(order[uncovered].tolist())),
    )


def _cover(
    matrix: CoverMatrix, *, solver: Solver, preferred: Collection[int], time_limit: float
) -> Cover:
    if solver == "Exact":
        return minimum_cover(matrix, preferred=preferred, time_limit=time_limit)
    picked = greedy_cover(matrix)
    # One policy is always a smallest cover; beyond that greedy proves nothing.
    return Cover(indices=tuple(sorted(picked)), proven=len(picked) == 1, solver="Greedy")


def worst_relative(shortfall: NDArray[np.float64], *, best: NDArray[np.float64]) -> float | None:
    """Return the largest shortfall in units of opt_w; None where a ratio means nothing.

    Args:
        shortfall: ``opt_w - max_P J_w``, shape ``(weights,)``.
        best: opt_w, shape ``(weights,)``.
    """
    if (best < 0).any() or (shortfall[best == 0] > 0).any():
        return None
    positive = best > 0
    return float(np.max(shortfall[positive] / best[positive], initial=0.0))


def _oracle_regret(
    weights: NDArray[np.float64],
    utilities: NDArray[np.float64],
    observed: NDArray[np.float64],
    trained_at: Sequence[int],
) -> NDArray[np.float64]:
    rows = np.asarray(trained_at, dtype=np.intp)
    count, policies = len(weights), len(utilities)
    if rows.shape != (policies,) or (rows < 0).any() or (rows >= count).any():
        raise ValueError(
            f"trained_at is {list(trained_at)}; it must name one of {count} weight vectors "
            f"for each of {policies} policies"
        )
    own = np.zeros(policies)
    for i in range(weights.shape[1]):
        own += weights[rows, i] * utilities[:, i]
    regret: NDArray[np.float64] = observed[rows] - own
    return regret
