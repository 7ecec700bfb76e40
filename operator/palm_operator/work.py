"""Which oracle calls a Portfolio needs, as far as S3 already determines them.

Three stages, because each fixes the units of the next. Stage 0 evaluates the base policy: its
samples give the affine maps of rewards without a stated range. Stage 1 trains the extreme
policies: their payoff table freezes what weights mean. Stage 2 trains the others, at the weights
of training units that belong to the grid's weight vectors.
"""

from dataclasses import dataclass, replace

import numpy as np

from palm import artifacts
from palm.contract import AffineMap, Calibration, EvaluationRequest
from palm.errors import InvalidResult
from palm.objective import payoff_normalization, training_weights
from palm.policies import calibration_digest
from palm_operator.api import Portfolio
from palm_operator.evidence import Evidence
from palm_operator.requests import (
    Policy,
    affine_maps,
    base_evaluation,
    policy_at,
    revision_of,
    training_utilities,
    weight_vectors,
)


@dataclass(frozen=True)
class Work:
    """What is to be made for a Portfolio, as far as it is determined."""

    revision: str
    grid: tuple[tuple[float, ...], ...]
    base: EvaluationRequest
    affine_maps: tuple[AffineMap, ...] | None = None
    """Raw reward to training units; None until the base policy is evaluated."""
    policies: tuple[Policy, ...] = ()
    extremes: tuple[Policy, ...] = ()
    """The policies of e_1…e_d, in this order."""
    calibration_digest: str = ""
    calibration: Calibration | None = None
    """As frozen in S3; None until it is there."""
    new_calibration: Calibration | None = None
    """To be frozen now: all extreme policies are evaluated and no table is in S3."""
    problem: str | None = None
    """Why no further stage can be determined, for people."""

    @property
    def is_determined(self) -> bool:
        """Say whether every weight vector has its policy's digest."""
        return len(self.policies) == len(self.grid)

    @property
    def base_key(self) -> str:
        """Return the key of the base policy's result."""
        return artifacts.evaluation_result(None, self.base.evaluation_digest)

    @property
    def calibration_key(self) -> str | None:
        """Return the key of the payoff table; None until the extreme policies are known."""
        return artifacts.calibration(self.calibration_digest) if self.calibration_digest else None


def work_for(portfolio: Portfolio, evidence: Evidence) -> Work:
    """Return what is to be made, as far as the evidence determines it.

    Raises:
        InvalidPortfolio: The grid is too large.
    """
    spec = portfolio.spec
    work = Work(
        revision=revision_of(spec), grid=weight_vectors(spec), base=base_evaluation(portfolio)
    )
    base_result = evidence.results.get(work.base.evaluation_digest)
    try:
        maps = affine_maps(spec, base_result)
    except InvalidResult as error:
        return replace(work, problem=str(error))
    if maps is None:
        return work
    extremes = tuple(
        policy_at(portfolio, maps, index=index, weights=work.grid[index], trained_at=unit)
        for unit, index in _extremes(work.grid)
    )
    work = replace(work, affine_maps=maps, policies=_in_grid_order(extremes))
    return _calibrated(portfolio, evidence, work, extremes)


def _calibrated(
    portfolio: Portfolio, evidence: Evidence, work: Work, extremes: tuple[Policy, ...]
) -> Work:
    """Return the work with its third stage, or with the calibration that opens it."""
    digest = calibration_digest(
        extremes=[p.digest for p in extremes], evaluations=[p.evaluation_digest for p in extremes]
    )
    work = replace(work, extremes=extremes, calibration_digest=digest)
    frozen = evidence.calibrations.get(digest)
    if frozen is None:
        return _with_new_calibration(portfolio, evidence, work, extremes)
    maps = work.affine_maps or ()
    rows = training_weights(weights=np.array(work.grid), scale=np.array(frozen.scale))
    known = {policy.index: policy for policy in extremes}
    policies = tuple(
        known.get(index)
        or policy_at(portfolio, maps, index=index, weights=weights, trained_at=tuple(row))
        for index, (weights, row) in enumerate(zip(work.grid, rows.tolist(), strict=True))
    )
    return replace(work, calibration=frozen, policies=policies)


def _with_new_calibration(
    portfolio: Portfolio, evidence: Evidence, work: Work, extremes: tuple[Policy, ...]
) -> Work:
    key = work.calibration_key
    if key is None or key not in evidence.read:
        return work
    if key in evidence.invalid:
        # Never overwritten: other policies may have been trained in its units.
        return replace(work, problem=f"{key} is not valid: {evidence.invalid[key]}; delete it")
    results = [evidence.results.get(p.evaluation_digest) for p in extremes]
    found = [result for result in results if result is not None]
    if len(found) < len(extremes) or not all(p.digest in evidence.trained for p in extremes):
        return work
    payoff = training_utilities(portfolio.spec, work.affine_maps or (), found)
    try:
        normalization = payoff_normalization(payoff)
    except InvalidResult as error:
        names = ", ".join(
            f"objective {i} is {r.name!r}" for i, r in enumerate(portfolio.spec.rewards)
        )
        return replace(work, problem=f"the extreme policies do not trade off: {error} ({names})")
    return replace(
        work,
        new_calibration=Calibration(
            extremes=tuple(p.digest for p in extremes),
            payoff=tuple(tuple(row) for row in payoff.tolist()),
            offset=tuple(normalization.offset.tolist()),
            scale=tuple(normalization.scale.tolist()),
        ),
    )


def _extremes(
    grid: tuple[tuple[float, ...], ...],
) -> list[tuple[tuple[float, ...], int]]:
    """Return (e_i, its index in the grid) for i = 1…d."""
    units = [tuple(row) for row in np.eye(len(grid[0])).tolist()]
    return [(unit, grid.index(unit)) for unit in units]


def _in_grid_order(policies: tuple[Policy, ...]) -> tuple[Policy, ...]:
    return tuple(sorted(policies, key=lambda policy: policy.index))
