"""What is guaranteed of a set of policies: (ε, δ) over the simplex, with the error of sampling."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from palm.certificate import Certificate, certify
from palm.errors import NoCertificate
from palm.noise import SamplingError
from palm_operator.api.portfolio import Portfolio
from palm_operator.calls.evidence import Evidence
from palm_operator.calls.grids import WeightVectors
from palm_operator.calls.outcomes import Outcomes, confidence_of, evaluation_error
from palm_operator.calls.work import Work

_CLAIMS = (1.0, 0.5, 0.2, 0.1, 0.05)
_ROUNDS = 4


@dataclass(frozen=True, eq=False)
class Guaranteed:
    """What is claimed of a set of policies.

    Attributes:
        certificate: (ε, δ) over the whole simplex, with the sampling error η where it is known;
            None where there is no certificate.
        measured: The same with the measured rewards taken as the true ones.
        eta: η, the largest error of a measured J_w(π) at the confidence; None where not known.
        confidence: Of what is said with η.
    """

    certificate: Certificate | None
    measured: Certificate | None
    eta: float | None
    confidence: float


def guaranteed(
    portfolio: Portfolio,
    work: Work,
    evidence: Evidence,
    outcomes: Outcomes,
    rows: tuple[int, ...],
) -> Guaranteed:
    """Return what is claimed of some of the evaluated policies.

    Args:
        portfolio: Whose policies they are.
        work: The determined work.
        evidence: What S3 says, for the error of its means.
        outcomes: What the policies are worth.
        rows: Which are kept, as rows of the outcomes.
    """
    error = evaluation_error(portfolio.spec, work, outcomes, evidence.results)
    weights = tuple(policy.weights for policy in outcomes.policies)
    # What is beside stands where something was trained: nothing is taken for optimal by it.
    weights += weights[:1] * len(outcomes.beside)
    utilities = (*outcomes.by_index.values(), *outcomes.rows_beside)

    def certified(eta: float) -> Certificate | None:
        return _certified(weights, utilities, rows, eta)

    measured, confidence = certified(0.0), confidence_of(portfolio.spec)
    if error is None:
        return Guaranteed(measured, measured, eta=None, confidence=confidence)
    certificate = _with_error(certified, error)
    eta = error.eta(0.0) if certificate is None else certificate.eta
    return Guaranteed(certificate, measured, eta=eta, confidence=confidence)


def _with_error(
    certified: Callable[[float], Certificate | None], error: SamplingError
) -> Certificate | None:
    """Return a certificate that is true despite the error of the evaluation.

    The η to allow for grows with the ε that is claimed. So an ε is true where it is at most the one
    that its η allows, and the smaller η of an ε that is true leads to one that is no larger.
    """
    found = None
    for claimed in _CLAIMS:
        tried = certified(error.eta(claimed))
        if tried is not None and tried.epsilon is not None and tried.epsilon <= claimed:
            found = tried
            break
    if found is None:
        only_delta = certified(error.eta(0.0))
        return only_delta and replace(only_delta, epsilon=None, argmax_epsilon=None)
    for _ in range(_ROUNDS):
        tried = certified(error.eta(found.epsilon or 0.0))
        if tried is None or tried.epsilon is None or not tried.eta < found.eta:
            break
        if tried.epsilon > (found.epsilon or 0.0):
            break  # rounding
        found = tried
    return found


@lru_cache(maxsize=64)
def _certified(
    weights: WeightVectors,
    utilities: tuple[tuple[float, ...], ...],
    portfolio: tuple[int, ...],
    eta: float,
) -> Certificate | None:
    try:
        return certify(
            weights=np.array(weights), utilities=np.array(utilities), portfolio=portfolio, eta=eta
        )
    except NoCertificate:
        return None
