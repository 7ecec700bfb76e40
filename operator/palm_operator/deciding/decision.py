"""The pruning decision: which policies survive, and how far from optimal anybody can be. Pure."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from palm.best_portfolio import BestPortfolio, Measure, best_portfolio
from palm.bounds import upper_bound
from palm.errors import NoCover
from palm.objective import scalarize
from palm.pruning import Pruning, prune
from palm.rational import parse_decimal
from palm.usage import policy_usage
from palm_operator.api.portfolio import Portfolio
from palm_operator.calls.evidence import Evidence
from palm_operator.calls.grids import WeightVectors
from palm_operator.calls.outcomes import Outcomes, outcomes_of
from palm_operator.calls.requests import Policy
from palm_operator.calls.work import Work
from palm_operator.deciding.guarantee import Guaranteed, guaranteed

Solver = Literal["Exact", "Greedy"]


@dataclass(frozen=True)
class Limit:
    """Why a decision is no cover within ``spec.pruning``: it may not have so many policies.

    Attributes:
        most: How many it may have.
        cover: How many the smallest cover has.
        measure: Whether the tolerance is a μ' or an α'.
        tolerance: The smallest at which the decision covers the grid.
    """

    most: int
    cover: int
    measure: Measure
    tolerance: float


@dataclass(frozen=True, eq=False)
class Decision:
    """A portfolio: which policies survive, and everything that is claimed about them."""

    outcomes: Outcomes
    pruning: Pruning
    """Its indices are rows of the outcomes. Its optimum is the best value observed where a policy
    was trained, else the upper bound of opt_w; ε and δ are against it, over the grid."""
    survivors: tuple[Policy, ...]
    usage: tuple[float, ...]
    """Share of uniformly distributed preferences each survivor serves best."""
    guaranteed: Guaranteed
    tolerated: float
    """What pruning gives away at the weight vector where that is least, in normalized units."""
    limit: Limit | None = None
    """Of a best effort: what kept it from being a cover. Then ``pruning.proven`` says whether no
    set of at most so many policies needs a smaller tolerance."""

    @property
    def utilities(self) -> dict[int, NDArray[np.float64]]:
        """Return the normalized utilities of the evaluated policies by index in the grid."""
        outcomes = self.outcomes
        return {p.index: row for p, row in zip(outcomes.policies, outcomes.utilities, strict=True)}


def decide(
    portfolio: Portfolio,
    work: Work,
    evidence: Evidence,
    *,
    preferred: frozenset[str] = frozenset(),
    is_partial: bool = False,
) -> Decision:
    """Prune the evaluated policies of a grid to a cover of all its weight vectors.

    Args:
        portfolio: Whose policies they are.
        work: The determined work, with its calibration.
        evidence: What S3 says; the extreme policies are evaluated.
        preferred: Digests of policies to keep where it costs nothing.
        is_partial: Whether weight vectors may be left that are not certified to be covered; the
            best that any evaluated policy reaches there is covered instead.

    Raises:
        NoCover: Some weight vector is not certified to be covered: the search is not done.
    """
    outcomes = _outcomes(portfolio, work, evidence)
    settings, policies = portfolio.spec.pruning, outcomes.policies
    pruning = _pruned(
        work.grid,
        tuple(outcomes.by_index.items()),
        settings.mu,
        settings.alpha,
        settings.solver,
        tuple(row for row, policy in enumerate(policies) if policy.digest in preferred),
        is_partial,
        outcomes.rows_beside,
    )
    rows = list(pruning.indices)
    return Decision(
        outcomes=outcomes,
        pruning=pruning,
        survivors=tuple(policies[row] for row in rows),
        usage=tuple(policy_usage(outcomes.utilities[rows]).tolist()),
        guaranteed=guaranteed(portfolio, work, evidence, outcomes, pruning.indices),
        tolerated=float(parse_decimal(settings.mu)) * float(np.abs(pruning.optimum).min())
        + float(parse_decimal(settings.alpha)),
    )


def best_effort(
    portfolio: Portfolio,
    work: Work,
    evidence: Evidence,
    decision: Decision,
    *,
    most: int,
    preferred: frozenset[str] = frozenset(),
) -> Decision:
    """Return the best decision of at most so many policies, where the smallest cover has more.

    Args:
        portfolio: Whose policies they are.
        work: The determined work, with its calibration.
        evidence: What S3 says.
        decision: The cover.
        most: How many policies it may have.
        preferred: Digests of policies to keep where it costs nothing.
    """
    outcomes, settings = decision.outcomes, portfolio.spec.pruning
    found = _best(
        work.grid,
        tuple(outcomes.by_index.items()),
        most,
        settings.mu,
        settings.alpha,
        tuple(row for row, p in enumerate(outcomes.policies) if p.digest in preferred),
        outcomes.rows_beside,
    )
    rows = list(found.indices)
    return replace(
        decision,
        pruning=replace(
            decision.pruning,
            indices=found.indices,
            proven=found.proven,
            solver="Exact",
            epsilon=found.epsilon,
            delta=found.delta,
        ),
        survivors=tuple(outcomes.policies[row] for row in rows),
        usage=tuple(policy_usage(outcomes.utilities[rows]).tolist()),
        guaranteed=guaranteed(portfolio, work, evidence, outcomes, found.indices),
        limit=Limit(most, len(decision.survivors), found.measure, found.tolerance),
    )


def guaranteed_by_all(portfolio: Portfolio, work: Work, evidence: Evidence) -> Guaranteed:
    """Return what could be claimed if every policy evaluated so far were kept."""
    outcomes = _outcomes(portfolio, work, evidence)
    return guaranteed(portfolio, work, evidence, outcomes, tuple(range(len(outcomes.policies))))


def optimum_bounds(
    grid: NDArray[np.float64],
    trained: list[int],
    utilities: NDArray[np.float64],
    beside: tuple[tuple[float, ...], ...] = (),
) -> NDArray[np.float64]:
    """Return opt_w as far as it is known: the best value observed where a policy was trained for w.

    Elsewhere the upper bound that convexity gives.

    Args:
        grid: Weight vectors, shape ``(n, d)``.
        trained: Rows of the grid that policies were trained for, length policies.
        utilities: u(π) of these policies, shape ``(policies, d)``.
        beside: u(π) of further policies, which show what is possible and were trained for nothing.

    Returns:
        Shape ``(n,)``, nowhere below the best observed value.
    """
    seen = np.vstack([utilities, np.array(beside)]) if beside else utilities
    optimum: NDArray[np.float64] = scalarize(weights=grid, utilities=seen).max(axis=1)
    rest = np.setdiff1d(np.arange(len(grid)), trained)
    bound = upper_bound(weights=grid[trained], values=optimum[trained])
    optimum[rest] = np.maximum(bound(grid[rest]), optimum[rest])
    return optimum


def _outcomes(portfolio: Portfolio, work: Work, evidence: Evidence) -> Outcomes:
    if work.calibration is None:
        name = portfolio.metadata.name
        raise ValueError(f"Portfolio {name}: nothing is decided before the calibration is frozen")
    return outcomes_of(portfolio, work, work.calibration, evidence)


@lru_cache(maxsize=64)
def _pruned(
    grid: WeightVectors,
    utilities: tuple[tuple[int, tuple[float, ...]], ...],
    mu: str,
    alpha: str,
    solver: Solver,
    preferred: tuple[int, ...],
    is_partial: bool,
    beside: tuple[tuple[float, ...], ...],
) -> Pruning:
    """An exact cover may take seconds; a resync must not pay for it again."""
    indices = [index for index, _ in utilities]
    rows, known = np.array(grid), np.array([row for _, row in utilities])
    bounds = optimum_bounds(rows, indices, known, beside)

    def pruned(optimum: NDArray[np.float64]) -> Pruning:
        return prune(
            weights=rows,
            utilities=known,
            mu=float(parse_decimal(mu)),
            alpha=float(parse_decimal(alpha)),
            solver=solver,
            preferred=preferred,
            trained_at=indices,
            optimum=optimum,
        )

    pruning = pruned(bounds)
    if not pruning.uncovered:
        return pruning
    if not is_partial:
        raise NoCover(pruning.uncovered)
    uncovered = list(pruning.uncovered)
    reached = bounds.copy()
    reached[uncovered] = scalarize(weights=rows, utilities=known).max(axis=1)[uncovered]
    return _against(bounds, rows, known, replace(pruned(reached), uncovered=pruning.uncovered))


def _against(
    bounds: NDArray[np.float64],
    weights: NDArray[np.float64],
    utilities: NDArray[np.float64],
    pruning: Pruning,
) -> Pruning:
    """Return a pruning with its shortfalls against what may be optimal, not what was reached."""
    served = scalarize(weights=weights, utilities=utilities[list(pruning.indices)]).max(axis=1)
    shortfall = bounds - served
    epsilon = float((shortfall / bounds).max()) if (bounds > 0).all() else None
    return replace(pruning, optimum=bounds, epsilon=epsilon, delta=float(shortfall.max()))


@lru_cache(maxsize=64)
def _best(
    grid: WeightVectors,
    utilities: tuple[tuple[int, tuple[float, ...]], ...],
    most: int,
    mu: str,
    alpha: str,
    preferred: tuple[int, ...],
    beside: tuple[tuple[float, ...], ...],
) -> BestPortfolio:
    """As ``_pruned``: not to be searched for again in every pass."""
    indices = [index for index, _ in utilities]
    rows, known = np.array(grid), np.array([row for _, row in utilities])
    return best_portfolio(
        weights=rows,
        utilities=known,
        most=most,
        mu=float(parse_decimal(mu)),
        alpha=float(parse_decimal(alpha)),
        preferred=preferred,
        optimum=optimum_bounds(rows, indices, known, beside),
    )
