"""What ``palm status`` tells of a Portfolio, from the object and its Jobs alone. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import ValidationError

from palm_cli.failures import InvalidInput
from palm_cli.inputs import first_error, shown_name
from palm_cli.remedies import TROUBLE, advice_of
from palm_operator import names
from palm_operator.api.status import Condition, PortfolioStatus
from palm_operator.times import parsed

Phase = Literal[
    "being deleted", "paused", "suspended", "new", "refused", "stuck", "refreshing", "serving",
    "in the making", "degraded", "not serving", "done",
]  # fmt: skip

_STEPS = {"train": "training", "evaluate": "evaluating"}
_UNSEEN = timedelta(minutes=1)


@dataclass(frozen=True)
class Running:
    """A Job that has not ended."""

    job: str
    what: str
    policy: str
    since: str
    begun: bool
    """Whether a Pod of it runs; others wait for a place."""


@dataclass(frozen=True)
class Problem:
    """Something that is wrong, and what to do."""

    about: str
    reason: str
    message: str
    advice: str


@dataclass(frozen=True)
class Report:
    """All that is shown."""

    name: str
    phase: Phase
    sentence: str
    rewards: tuple[str, ...]
    status: PortfolioStatus
    running: tuple[Running, ...] | None
    """None: the person may not list Jobs."""
    problems: tuple[Problem, ...]


def report(
    body: Mapping[str, Any], jobs: Sequence[Mapping[str, Any]] | None, *, now: datetime
) -> Report:
    """Return what is to be told.

    Args:
        body: The Portfolio, as the API server has it.
        jobs: Those that carry its label; None: they may not be listed.
        now: The time.

    Raises:
        InvalidInput: The status is of another schema.
    """
    metadata, spec = body["metadata"], body.get("spec") or {}
    name = f"{metadata['namespace']}/{metadata['name']}"
    try:
        # An operator that is newer than this command may tell more.
        status = PortfolioStatus.model_validate(body.get("status") or {}, extra="ignore")
    except ValidationError as error:
        raise first_error(error, f"the status of {name}") from None
    said = {c.type: c for c in status.conditions}
    phase = _phase(metadata, spec, status, said)
    return Report(
        name=name,
        phase=phase,
        sentence=_sentence(phase, said, status),
        rewards=tuple(shown_name(str(r.get("name"))) for r in spec.get("rewards") or []),
        status=status,
        running=None if jobs is None else _running(jobs),
        problems=_problems(metadata, status, said, now),
    )


def document(made: Report) -> dict[str, Any]:
    """Return a report for programs."""
    status = made.status.model_dump(mode="json", exclude_none=True, exclude_defaults=False)
    return {
        "portfolio": made.name,
        "phase": made.phase,
        "sentence": made.sentence,
        "rewards": list(made.rewards),
        "problems": [vars(problem) for problem in made.problems],
        "running": None if made.running is None else [vars(job) for job in made.running],
        "status": status,
    }


def _phase(
    metadata: Mapping[str, Any],
    spec: Mapping[str, Any],
    status: PortfolioStatus,
    said: Mapping[str, Condition],
) -> Phase:
    if "deletionTimestamp" in metadata:
        return "being deleted"
    if _is(said, "Paused"):
        return "paused"
    if _is(said, "Suspended") or spec.get("suspend") is True:
        return "suspended"
    if not status.conditions:
        return "new"
    if _is(said, "Accepted", "False"):
        return "refused"
    if _is(said, "Stalled"):
        return "stuck"
    is_moving = _is(said, "Reconciling") or status.observed_generation != metadata.get("generation")
    if _is(said, "Ready"):
        serves = (
            any(policy.service for policy in status.portfolio.policies)
            if status.portfolio
            else False
        )
        return "refreshing" if is_moving else "serving" if serves else "done"
    if status.portfolio and any(policy.ready for policy in status.portfolio.policies):
        # Once all of it has answered: what is being published for the first time is not there yet.
        return "degraded" if status.portfolio.since else "in the making"
    return "in the making" if is_moving else "not serving"


def _sentence(phase: Phase, said: Mapping[str, Condition], status: PortfolioStatus) -> str:
    """Return what the phase means just now."""
    about = {
        "refused": "Accepted", "stuck": "Stalled", "refreshing": "Progressing",
        "in the making": "Progressing", "serving": "Ready", "done": "Ready", "not serving": "Ready",
        "degraded": "Ready", "paused": "Paused", "suspended": "Suspended",
    }  # fmt: skip
    if phase == "new":
        return "no operator has looked at it yet"
    if phase == "being deleted":
        return "it goes with everything that it made in the cluster; S3 keeps its results"
    condition = said.get(about[phase])
    message = shown_name(condition.message) if condition else ""
    if phase == "refreshing" and status.portfolio:
        return f"revision {status.portfolio.revision} serves, a successor is made: {message}"
    return message


def _is(said: Mapping[str, Condition], kind: str, truth: str = "True") -> bool:
    return kind in said and said[kind].status == truth


def _running(jobs: Sequence[Mapping[str, Any]]) -> tuple[Running, ...]:
    found = []
    for job in jobs:
        state, metadata = job.get("status") or {}, job["metadata"]
        ended = any(c.get("type") in ("Complete", "Failed") and c.get("status") == "True"
                    for c in state.get("conditions") or [])  # fmt: skip
        if ended or "deletionTimestamp" in metadata:
            continue
        labels = metadata.get("labels") or {}
        step = str(labels.get(names.LABEL_STEP, ""))
        found.append(
            Running(
                job=str(metadata["name"]),
                what=_STEPS.get(step, "making"),
                policy=shown_name(str(labels.get(names.LABEL_POLICY) or "the base policy")),
                since=str(state.get("startTime") or metadata.get("creationTimestamp") or ""),
                begun=any(state.get(count) for count in ("ready", "succeeded", "failed")),
            )
        )
    return tuple(sorted(found, key=lambda job: (not job.begun, job.since, job.job)))


def _problems(
    metadata: Mapping[str, Any],
    status: PortfolioStatus,
    said: Mapping[str, Condition],
    now: datetime,
) -> tuple[Problem, ...]:
    found: dict[tuple[str, str], Problem] = {}
    for condition in status.conditions:
        # Ready repeats what keeps others from being True.
        advice = advice_of(condition.reason)
        is_wrong = (
            condition.status == "False" and advice is not None and condition.type != "Ready"
        ) or (condition.status == "True" and condition.reason in TROUBLE)
        if is_wrong or (condition.type == "Stalled" and condition.status == "True"):
            key = (condition.reason, condition.message)
            advice = advice or "the message says what"
            found.setdefault(
                key,
                Problem(condition.type, condition.reason, shown_name(condition.message), advice),
            )
    told = " ".join(problem.message for problem in found.values())
    for policy in status.portfolio.policies if status.portfolio else []:
        if policy.message and not policy.ready and policy.name not in told:
            about = f"policy {policy.name}"
            found[about, policy.message] = Problem(
                about, "NotServed", shown_name(policy.message),
                f"`kubectl describe isvc {policy.service}`",
            )  # fmt: skip
    return (*_unseen(metadata, status, now), *found.values())


def _unseen(
    metadata: Mapping[str, Any], status: PortfolioStatus, now: datetime
) -> tuple[Problem, ...]:
    """Return the complaint that no operator looks, where one should have by now."""
    advice = (
        "see whether the operator runs, and whether it looks after this namespace and "
        "spec.operatorClass"
    )
    try:
        is_old = now - parsed(str(metadata.get("creationTimestamp"))) > _UNSEEN
    except ValueError:
        is_old = False
    if not status.conditions and is_old:
        message = "no operator has looked at it for a minute"
        return (Problem("the operator", "NotSeen", message, advice),)
    if status.conditions and status.observed_generation != metadata.get("generation"):
        message = (
            f"what is shown is of generation {status.observed_generation}, the spec is of "
            f"{metadata.get('generation')}"
        )
        return (Problem("the operator", "NotSeenYet", message, f"wait a moment; else {advice}"),)
    return ()


def checked(body: Any) -> Mapping[str, Any]:
    """Return the object; refuse what is no Portfolio.

    Raises:
        InvalidInput: It has no metadata.
    """
    if not isinstance(body, dict) or not isinstance(body.get("metadata"), dict):
        raise InvalidInput("the API server answered with something that is no Portfolio")
    return body
