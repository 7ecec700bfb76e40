"""What is said of oracle calls and evaluations that failed: what happened, what next, what to do.

Pure. A reason is ``OracleCall`` or ``Evaluation`` and why: Failed, OutOfMemory, DeadlineExceeded,
NeverStarted, InvalidRequest, InvalidData, Evicted. The message names policy, weight vector and Job.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from palm_operator.api.portfolio import Portfolio
from palm_operator.calls.tasks import State, Task
from palm_operator.jobs.exit_codes import OUT_OF_MEMORY, Why, meaning
from palm_operator.jobs.job_kinds import logs_command
from palm_operator.jobs.observed_jobs import Job
from palm_operator.names import LAST_ATTEMPT, Step
from palm_operator.said.status import FOREIGN_LIMIT, Said, shortened
from palm_operator.said.waiting import hindrance_text, remedy

_EXIT_CODE = re.compile(r"failed with exit code (\d+)")


@dataclass(frozen=True)
class Failure:
    """Why a Job failed for good, and what a person can do."""

    why: Why
    happened: str
    remedy: str
    goes_on: bool = False
    """Whether it goes on by itself once what keeps it from running is gone."""


def failed_said(broken: Sequence[Task], portfolio: Portfolio) -> Said:
    """Return what is said of tasks that will not get further by themselves; the first is told."""
    task = broken[0]
    others = f"; and {len(broken) - 1} more" if len(broken) > 1 else ""
    if task.state is State.CONFLICT:
        return Said(
            "False",
            "NameConflict",
            f"a {task.kind} {task.name} exists and is not controlled by this Portfolio, so the "
            f"{task.what} of {task.whose} cannot be made; that {task.kind} is not touched: delete "
            f"it, or rename the Portfolio{others}",
        )
    if task.state is State.FAILED and task.job is not None:
        return _failed(task, task.job, portfolio, others)
    return Said(
        "False",
        repetition_reason(task),
        f"the {task.what} of {task.whose} finished {LAST_ATTEMPT} times and {complaint(task)}: "
        f"see `{logs_command(task.ran_as, task.name)}`. {_consequence(task, portfolio)}. Delete "
        f"its {task.ran_as}s to try again{others}",
    )


def failure_of(job: Job, *, section: str, limits: tuple[int | None, int]) -> Failure:
    """Return why a Job failed.

    Args:
        job: A failed Job, or one that waited too long.
        section: ``training`` or ``evaluation``: where its template is.
        limits: ``activeDeadlineSeconds`` and ``backoffLimit``.
    """
    deadline, retries = limits
    if job.overdue_after is not None:
        return _never_started(job, section)
    if job.reason == "DeadlineExceeded":
        return Failure(
            "DeadlineExceeded",
            f"it ran longer than spec.{section}.activeDeadlineSeconds"
            f"{f' ({deadline} s)' if deadline else ''}",
            "raise it, or ask for more or faster resources",
        )
    tries = f" after {retries} retries" if job.reason == "BackoffLimitExceeded" and retries else ""
    code = _exit_code(job)
    if code is None:
        if job.ending is not None:
            why: Why = "Evicted" if job.ending.reason == "Evicted" else "Failed"
            said = f"{job.ending.reason}: {job.ending.message}"
            return Failure(why, f"its Pod ended{tries} ({said})", "see what took its Pod away")
        said = shortened(job.message, FOREIGN_LIMIT)
        return Failure("Failed", f"{job.reason}: {said}", "look at its log")
    found = meaning(code)
    word = job.ending.reason if job.ending else ""
    shown = f"{code} ({word})" if word not in ("", "Error", "Unknown") else f"{code}"
    line = job.ending.message if job.ending else ""
    last = f"; the last line of its log: {line!r}" if line and line != "no message" else ""
    happened = f"it ended with exit code {shown}{tries}: {found.what}{last}"
    return Failure(found.why, happened, found.remedy.format(section=section))


def repetition(task: Task) -> str:
    """Return what is said of a task of which an earlier attempt made nothing that can be used."""
    return (
        f"an earlier {task.what} of {task.whose} finished and {complaint(task)}; it is made "
        f"again, attempt {task.attempt} of {LAST_ATTEMPT}"
    )


def repetition_reason(task: Task) -> str:
    """Return the reason under which that is said."""
    return "ResultInvalid" if task.invalid else "ResultMissing"


def complaint(task: Task) -> str:
    """Return what is wrong with what a finished Job was to leave in S3."""
    if task.invalid:
        return f"{task.key} is not valid: {shortened(task.invalid, FOREIGN_LIMIT)}"
    return f"{task.key} is not in S3"


def _failed(task: Task, job: Job, portfolio: Portfolio, others: str) -> Said:
    spec = portfolio.spec
    part = spec.training if task.step is Step.TRAIN else spec.evaluation
    limits = (part.active_deadline_seconds, spec.training.backoff_limit)
    failure = failure_of(job, section=task.section, limits=limits)
    logs = "" if failure.goes_on else f" (`{logs_command(job.kind, job.name)}`)"
    if failure.goes_on:
        again = "it goes on by itself as soon as it can run"
    else:
        again = (
            f"a changed spec.{task.section}.template is tried by itself; to try again as it is, "
            f"delete {job.kind} {job.name}"
        )
    kind = "OracleCall" if task.step is Step.TRAIN else "Evaluation"
    return Said(
        "False",
        f"{kind}{failure.why}",
        f"the {task.what} of {task.whose} failed: {failure.happened}{logs}. "
        f"{_consequence(task, portfolio)}. {_capital(failure.remedy)}: "
        f"{again}{others}",
    )


def _consequence(task: Task, portfolio: Portfolio) -> str:
    """Return what it means for the rest; nothing is ever pruned for want of a result."""
    if portfolio.spec.failure_policy.on_oracle_failure == "Hold":
        return (
            "Other weight vectors go on; nothing is decided without it unless others are certified "
            "to cover its weight vector, and what is deployed stays"
        )
    if task.policy is None or task.policy.is_extreme:
        return (
            "Other weight vectors go on, but nothing can be decided without it, whatever "
            "spec.failurePolicy says; what is deployed stays"
        )
    return (
        "Other weight vectors go on; once nothing more can be trained, spec.failurePolicy "
        "AllowPartial publishes what there is, without the guarantee"
    )


def _never_started(job: Job, section: str) -> Failure:
    waits = hindrance_text(job.hindrance) if job.hindrance else "nothing says why"
    return Failure(
        "NeverStarted",
        f"it waited longer than spec.training.pendingDeadlineSeconds ({job.overdue_after} s) to "
        f"run: {waits}",
        remedy(job.hindrance, section) or "make room for it, or raise that deadline",
        goes_on=True,
    )


def _exit_code(job: Job) -> int | None:
    if job.ending is not None:
        if job.ending.reason == "OOMKilled":
            return OUT_OF_MEMORY
        if job.ending.exit_code is not None and not job.ending.is_disruption:
            return job.ending.exit_code
    # Its Pods may be gone; of a pod failure policy, the Job itself still knows.
    match = _EXIT_CODE.search(job.message)
    return int(match[1]) if match else None


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
