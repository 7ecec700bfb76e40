"""What S3 says, parsed with suspicion: tenant code wrote it. Pure: bytes in, values out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from palm.contract import (
    Calibration,
    EvaluationRequest,
    PolicyResult,
    TrainingRecord,
)
from palm.errors import InvalidResult
from palm.evaluations import MAX_RESULT_BYTES

MAX_BYTES = MAX_RESULT_BYTES
"""Largest object that is read; a result file of 40,000 prompts and 8 rewards has as much."""


@dataclass(frozen=True)
class Evidence:
    """Everything the operator has read from S3 for one Portfolio.

    Attributes:
        trained: Digests of the policies whose commit marker exists.
        results: Valid result files by evaluation digest.
        calibrations: Frozen payoff tables by their digest.
        uses: Digests of the records, in S3, of what the Portfolio relies on.
        invalid: What is wrong with an object that must not be believed, by key.
        manifest: The published ledger as it lies in S3; None where there is none.
        pinned: The manifest that ``spec.serving.pin`` names; None where it is not there.
        deployed: The manifest of what is deployed, where a server of it is to be made again.
        sha256: SHA-256 of every valid object, by key.
        read: Every key that was looked for, found or not.
    """

    trained: frozenset[str] = frozenset()
    results: Mapping[str, PolicyResult] = field(default_factory=dict)
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    uses: frozenset[str] = frozenset()
    invalid: Mapping[str, str] = field(default_factory=dict)
    manifest: bytes | None = None
    pinned: bytes | None = None
    deployed: bytes | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)
    read: frozenset[str] = frozenset()


def training_record(content: bytes, *, policy_digest: str) -> TrainingRecord:
    """Return the commit marker of a policy.

    Raises:
        InvalidResult: It is unreadable or another policy's.
    """
    try:
        record = TrainingRecord.model_validate_json(content)
    except ValidationError as error:
        raise InvalidResult(f"training record is unreadable: {first_problem(error)}") from None
    if record.policy_digest != policy_digest:
        raise InvalidResult(
            f"training record is of policy {record.policy_digest}; expected {policy_digest}"
        )
    return record


def policy_result(content: bytes, request: EvaluationRequest) -> PolicyResult:
    """Return the result that answers a request.

    Raises:
        InvalidResult: It is unreadable, has a value that is not finite, or answers another request.
    """
    try:
        result = PolicyResult.model_validate_json(content)
    except ValidationError as error:
        raise InvalidResult(f"result is unreadable: {first_problem(error)}") from None
    for what, got, expected in (
        ("evaluation digest", result.evaluation_digest, request.evaluation_digest),
        ("policy digest", result.policy_digest, request.policy_digest),
        ("rewards", [r.name for r in result.rewards], [r.name for r in request.rewards]),
        ("number of prompts", len(result.prompt_rewards), result.prompts),
        ("decoding", result.decoding, request.settings.decoding),
    ):
        if got != expected:
            raise InvalidResult(f"{what} of the result is {got}; expected {expected}")
    if result.prompt_divergences is not None and len(result.prompt_divergences) != result.prompts:
        raise InvalidResult(
            f"the result has {len(result.prompt_divergences)} divergences of prompts; "
            f"expected {result.prompts}"
        )
    for index, row in enumerate(result.prompt_rewards):
        if len(row) != len(request.rewards):
            raise InvalidResult(
                f"prompt {index} of the result has {len(row)} rewards; "
                f"expected {len(request.rewards)}"
            )
    return result


def calibration(content: bytes, *, extremes: tuple[str, ...]) -> Calibration:
    """Return the frozen payoff table of these extreme policies.

    Raises:
        InvalidResult: It is unreadable or of other policies.
    """
    try:
        table = Calibration.model_validate_json(content)
    except ValidationError as error:
        raise InvalidResult(f"calibration is unreadable: {first_problem(error)}") from None
    if table.extremes != extremes or not len(table.offset) == len(table.scale) == len(extremes):
        raise InvalidResult(
            f"calibration is of the policies {table.extremes} with {len(table.scale)} scales; "
            f"expected {extremes}"
        )
    return table


def first_problem(error: ValidationError) -> str:
    """Return the first problem of a validation with its place and value, in one short line."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"]) or "document"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {problem['msg']}, got {str(problem.get('input'))[:80]!r}{more}"
