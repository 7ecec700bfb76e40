"""What the evaluated policies of a grid are worth, in the normalized units of its weights. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from palm.contract import Calibration, PolicyResult
from palm.noise import SamplingError, sampling_error
from palm.objective import Normalization
from palm.rational import parse_decimal
from palm_operator.api.portfolio import Portfolio, PortfolioSpec
from palm_operator.calls.evidence import Evidence
from palm_operator.calls.requests import Policy, divergence_coefficient, training_utilities
from palm_operator.calls.work import Work


@dataclass(frozen=True, eq=False)
class Outcomes:
    """The policies that are trained and evaluated, and what each is worth.

    Attributes:
        policies: In the order of the grid.
        weights: Weight vectors they were trained for, shape ``(policies, d)``.
        utilities: Normalized u(π) as measured, shape ``(policies, d)``, higher is better.
        beside: Policies that are no candidates, but show what is possible.
        utilities_beside: Theirs, shape ``(beside, d)``.
    """

    policies: tuple[Policy, ...]
    weights: NDArray[np.float64]
    utilities: NDArray[np.float64]
    beside: tuple[Policy, ...] = ()
    utilities_beside: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))

    @property
    def rows_beside(self) -> tuple[tuple[float, ...], ...]:
        """Return the utilities of the policies that are no candidates."""
        return tuple(map(tuple, self.utilities_beside.tolist()))

    @property
    def by_index(self) -> dict[int, tuple[float, ...]]:
        """Return the utilities by index in the grid."""
        rows = self.utilities.tolist()
        return {p.index: tuple(row) for p, row in zip(self.policies, rows, strict=True)}


def is_evaluated(policy: Policy, evidence: Evidence) -> bool:
    """Say whether S3 has the trained policy and a valid result of it."""
    is_trained = policy.is_trained(evidence.trained)
    return is_trained and policy.evaluation_digest in evidence.results


def outcomes_of(
    portfolio: Portfolio, work: Work, calibration: Calibration, evidence: Evidence
) -> Outcomes:
    """Return what is known of the policies of a determined grid; the extremes are among them."""
    policies = tuple(p for p in work.policies if is_evaluated(p, evidence))
    beside = tuple(p for p in work.mixed if is_evaluated(p, evidence))
    results = [evidence.results[p.evaluation_digest] for p in (*policies, *beside)]
    raw = training_utilities(portfolio.spec, work.affine_maps or (), results)
    normalization = Normalization(
        offset=np.array(calibration.offset), scale=np.array(calibration.scale)
    )
    utilities = normalization.apply(raw)
    return Outcomes(
        policies=policies,
        weights=np.array([p.weights for p in policies]),
        utilities=utilities[: len(policies)],
        beside=beside,
        utilities_beside=utilities[len(policies) :],
    )


def confidence_of(spec: PortfolioSpec) -> float:
    """Return the confidence of what is said with sampling error."""
    return float(parse_decimal(spec.evaluation.confidence))


def evaluation_error(
    spec: PortfolioSpec,
    work: Work,
    outcomes: Outcomes,
    results: Mapping[str, PolicyResult],
) -> SamplingError | None:
    """Return how far measured utilities may be from the true ones, at the spec's confidence.

    The evaluation prompts are taken as a sample. In normalized units; None where it is not known,
    because a prompt is alone or the policies were judged on different numbers of prompts.
    """
    if work.calibration is None or work.affine_maps is None:
        return None
    policies = (*outcomes.policies, *outcomes.beside)
    found = tuple(results[policy.evaluation_digest] for policy in policies)
    if len({result.prompts for result in found}) != 1 or found[0].prompts < 2:
        return None
    units = zip(work.affine_maps, work.calibration.scale, strict=True)
    sample = _Sample(
        confidence=confidence_of(spec),
        digests=tuple(result.evaluation_digest for result in found),
        utilities=(*outcomes.by_index.values(), *outcomes.rows_beside),
        units=tuple(m.scale * scale for m, scale in units),
        divergence_units=work.calibration.scale,
        beta=divergence_coefficient(spec),
        results=found,
    )
    return _error(sample)


@dataclass(frozen=True)
class _Sample:
    """Results, hashed without looking at every prompt."""

    confidence: float
    digests: tuple[str, ...]
    utilities: tuple[tuple[float, ...], ...]
    units: tuple[float, ...]
    divergence_units: tuple[float, ...]
    beta: float
    results: tuple[PolicyResult, ...] = field(hash=False)


@lru_cache(maxsize=16)
def _error(sample: _Sample) -> SamplingError:
    """All pairs of policies over all prompts: not to be paid for again in every pass."""
    rows = np.array([result.prompt_rewards for result in sample.results]) / np.array(sample.units)
    known = [r.prompt_divergences for r in sample.results if r.prompt_divergences is not None]
    if sample.beta == 0 or len(known) == len(sample.results):
        # What a prompt's rewards and its KL term have in common, they have in common here too.
        if sample.beta > 0:
            penalty = sample.beta * np.array(known)[:, :, None] / np.array(sample.divergence_units)
            rows = rows - penalty
        return sampling_error(rows, confidence=sample.confidence)
    # Half of the failure probability for the rewards, half for the KL term, shared by all policies.
    failure = (1 - sample.confidence) / 2
    quantile = NormalDist().inv_cdf(1 - failure / (2 * len(sample.results)))
    errors = np.array([result.divergence.standard_error for result in sample.results])
    return sampling_error(
        rows,
        confidence=1 - failure,
        regularizer_error=quantile * sample.beta * errors / min(sample.divergence_units),
    )
