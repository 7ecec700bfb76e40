"""Which objects of S3 are looked at, how they are checked, and what they amount to. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from palm.contract import Calibration, PolicyResult, TrainingRecord
from palm_operator.api.portfolio import Portfolio
from palm_operator.calls import evidence as believed
from palm_operator.calls.evidence import Evidence
from palm_operator.calls.requests import policy_evaluation
from palm_operator.calls.uses import Uses, uses_of
from palm_operator.calls.work import Work

Parsed = TrainingRecord | PolicyResult | Calibration | Uses


@dataclass(frozen=True)
class Want:
    """One object to look for, and how to check it."""

    key: str
    digest: str
    parse: Callable[[bytes], Parsed]


@dataclass(frozen=True)
class Found:
    """What was there: a valid object, an invalid one, or (neither) nothing."""

    valid: Parsed | None = None
    sha256: str = ""
    invalid: str = ""


def wants(portfolio: Portfolio, work: Work, evidence: Evidence) -> Iterator[Want]:
    """Yield every object that decides what comes next, as far as the work is determined.

    The result of a policy matters, and is looked for, once the policy is known to be trained.
    """
    used = uses_of(portfolio, work)
    yield Want(used.key, used.digest, used.parse)
    yield Want(
        work.base_key,
        work.base.evaluation_digest,
        partial(believed.policy_result, request=work.base),
    )
    for policy in work.every:
        if not policy.mixture:
            parse_record = partial(believed.training_record, policy_digest=policy.digest)
            yield Want(policy.record_key, policy.digest, parse_record)
        if not policy.is_trained(evidence.trained):
            continue
        request = policy_evaluation(portfolio, policy)
        yield Want(
            policy.result_key,
            policy.evaluation_digest,
            partial(believed.policy_result, request=request),
        )
    if work.calibration_key:
        extremes = tuple(policy.digest for policy in work.extremes)
        yield Want(
            work.calibration_key,
            work.calibration_digest,
            partial(believed.calibration, extremes=extremes),
        )


def gathered(found: Mapping[str, tuple[Want, Found]]) -> Evidence:
    """Return the evidence that the objects found so far amount to."""
    valid = [(want.digest, outcome.valid) for want, outcome in found.values()]
    return Evidence(
        trained=frozenset(d for d, value in valid if isinstance(value, TrainingRecord)),
        results={d: value for d, value in valid if isinstance(value, PolicyResult)},
        calibrations={d: value for d, value in valid if isinstance(value, Calibration)},
        uses=frozenset(d for d, value in valid if isinstance(value, Uses)),
        invalid={key: outcome.invalid for key, (_, outcome) in found.items() if outcome.invalid},
        sha256={key: outcome.sha256 for key, (_, outcome) in found.items() if outcome.sha256},
        read=frozenset(found),
    )
