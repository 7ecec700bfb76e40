"""Which oracle calls a Portfolio needs, as far as S3 already determines them.

Three stages, because each fixes the units of the next. Stage 0 evaluates the base policy: its
samples give the affine maps of rewards without a stated range. Stage 1 trains the extreme
policies: their payoff table freezes what weights mean. Stage 2 trains the others, at the weights
of training units that belong to the grid's weight vectors. With the oracle MOD it evaluates
mixtures of the extremes instead; the policies that could be trained are known beside them
(``mixing``).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from palm import artifacts
from palm.contract import AffineMap, Calibration, EvaluationRequest
from palm.errors import InvalidResult
from palm.objective import payoff_normalization, training_weights
from palm.policies import calibration_digest
from palm_operator.api.portfolio import Portfolio
from palm_operator.calls.evidence import Evidence
from palm_operator.calls.grids import unit_vectors, weight_vectors
from palm_operator.calls.requests import (
    Place,
    Policy,
    affine_maps,
    base_evaluation,
    mixtures_at,
    policies_at,
    revision_of,
    training_utilities,
)
from palm_operator.calls.same_inputs import Named, unequal_inputs


@dataclass(frozen=True)
class Problem:
    """Why nothing can be decided until a person has mended it."""

    reason: str
    message: str
    holds: bool = False
    """Whether no further Job is started either."""


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
    fine_tuned: tuple[Policy, ...] = ()
    """Where ``policies`` are mixed at decoding: the same weight vectors', trained."""
    mixed: tuple[Policy, ...] = ()
    """Where ``policies`` are to take the place of mixtures: those, as what else is known."""
    calibration_digest: str = ""
    calibration: Calibration | None = None
    """As frozen in S3; None until it is there."""
    new_calibration: Calibration | None = None
    """To be frozen now: all extreme policies are evaluated and no table is in S3."""
    problem: Problem | None = None
    """Why no further stage can be determined, or nothing of it compared."""

    @property
    def weights(self) -> NDArray[np.float64]:
        """Return the grid as an array, shape ``(weights, d)``."""
        return np.array(self.grid)

    @property
    def every(self) -> tuple[Policy, ...]:
        """Return every policy that matters, mixed or trained."""
        found = {p.digest: p for p in (*self.policies, *self.fine_tuned, *self.mixed)}
        return tuple(found.values())

    @property
    def served(self) -> "Work":
        """Return the same of policies that can be served, the mixtures beside them."""
        mixtures = tuple(policy for policy in self.policies if policy.mixture)
        return replace(self, policies=self.fine_tuned, fine_tuned=(), mixed=mixtures)

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
        GridRefused: The grid cannot be built or is too large.
    """
    work = _determined(portfolio, evidence)
    unequal = unequal_inputs(portfolio.spec, _results(work, evidence))
    if unequal is None:
        return work
    problem = Problem("InputsDiffer", unequal, holds=True)
    return replace(work, problem=problem, new_calibration=None)


def _results(work: Work, evidence: Evidence) -> Iterator[Named]:
    """Yield everything that a decision may come to compare."""
    made = [("the base policy", work.base_key, work.base.evaluation_digest)]
    made += [(policy.name, policy.result_key, policy.evaluation_digest) for policy in work.every]
    for whose, key, digest in made:
        result = evidence.results.get(digest)
        if result is not None:
            yield Named(whose, key, result)


def _determined(portfolio: Portfolio, evidence: Evidence) -> Work:
    spec = portfolio.spec
    work = Work(
        revision=revision_of(spec), grid=weight_vectors(spec), base=base_evaluation(portfolio)
    )
    base_result = evidence.results.get(work.base.evaluation_digest)
    try:
        maps = affine_maps(spec, base_result)
    except InvalidResult as error:
        return replace(work, problem=_uncalibrated(str(error)))
    if maps is None:
        return work
    units = unit_vectors(len(spec.rewards))
    extremes = policies_at(
        portfolio, maps, (Place(work.grid.index(unit), unit, unit) for unit in units)
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
    rows = training_weights(weights=np.array(work.grid), scale=np.array(frozen.scale)).tolist()
    places = [
        # Units of rewards do not change what a unit vector asks for, but rounding might.
        Place(index, weights, weights if max(weights) == 1.0 else tuple(row))
        for index, (weights, row) in enumerate(zip(work.grid, rows, strict=True))
    ]
    policies = policies_at(portfolio, work.affine_maps or (), places)
    work = replace(work, calibration=frozen, policies=policies)
    return _mixing(portfolio, work, places) if portfolio.spec.oracle.type == "MOD" else work


def _mixing(portfolio: Portfolio, work: Work, places: list[Place]) -> Work:
    """Return the work in which all but the extreme policies are mixed of those."""
    inner = (place for place in places if max(place.weights) < 1.0)
    mixtures = mixtures_at(portfolio, work.extremes, inner)
    asked = _in_grid_order((*work.extremes, *mixtures))
    return replace(work, policies=asked, fine_tuned=work.policies)


def _with_new_calibration(
    portfolio: Portfolio, evidence: Evidence, work: Work, extremes: tuple[Policy, ...]
) -> Work:
    key = work.calibration_key
    if key is None or key not in evidence.read:
        return work
    if key in evidence.invalid:
        # Never overwritten: other policies may have been trained in its units.
        why = f"{key} is not valid: {evidence.invalid[key]}; delete it"
        return replace(work, problem=_uncalibrated(why))
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
        why = f"the extreme policies do not trade off: {error} ({names})"
        return replace(work, problem=_uncalibrated(why))
    return replace(
        work,
        new_calibration=Calibration(
            extremes=tuple(p.digest for p in extremes),
            payoff=tuple(tuple(row) for row in payoff.tolist()),
            offset=tuple(normalization.offset.tolist()),
            scale=tuple(normalization.scale.tolist()),
        ),
    )


def _uncalibrated(why: str) -> Problem:
    return Problem("CalibrationFailed", why)


def _in_grid_order(policies: tuple[Policy, ...]) -> tuple[Policy, ...]:
    return tuple(sorted(policies, key=lambda policy: policy.index))
