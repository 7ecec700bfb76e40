"""Every single thing to be trained or evaluated, and how far it is. Pure.

S3 is the record: a task is done when its object is there and valid, whatever its Jobs say. A Job
that failed is a decision for a person; a Job that finished without a valid object is repeated as
another attempt, a few times.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from palm_operator import names
from palm_operator.api import Portfolio
from palm_operator.names import LAST_ATTEMPT, Step
from palm_operator.observed import Job, Observed
from palm_operator.requests import Policy
from palm_operator.work import Work


class State(Enum):
    """How far a task is."""

    DONE = auto()
    RUNNING = auto()
    STARTABLE = auto()
    WAITING = auto()
    """For its policy to be trained, or for a Job that occupies its name to go."""
    FAILED = auto()
    """Its Job failed for good; a person must look at it."""
    EXHAUSTED = auto()
    """Its last attempt finished and still there is no valid object."""
    CONFLICT = auto()
    """An object that is not ours has its Job's name."""


@dataclass(frozen=True)
class Task:
    """One thing to be made: a trained policy or a result file."""

    step: Step
    policy: Policy | None
    """None: the base policy."""
    digest: str
    key: str
    """Where its object lies in S3."""
    name: str
    """Name of the Job of the current or next attempt."""
    state: State
    attempt: int = 1
    job: Job | None = None
    """The Job of the last attempt."""
    invalid: str = ""
    """What is wrong with the object in S3."""

    @property
    def subject(self) -> str:
        """Return what it is about, for people: name and weight vector."""
        if self.policy is None:
            return "the base policy"
        shown = ", ".join(f"{w:.4f}".rstrip("0").rstrip(".") for w in self.policy.weights)
        return f"{self.policy.name} (weights {shown})"

    @property
    def is_repetition(self) -> bool:
        """Say whether an earlier attempt finished without a valid object."""
        return self.attempt > 1


def tasks_of(portfolio: Portfolio, work: Work, observed: Observed) -> tuple[Task, ...]:
    """Return all known tasks, most urgent first.

    Evaluations come before training: they finish what is begun. Extreme policies come before
    others: their payoff table decides how the others are trained.
    """
    return tuple(_tasks(portfolio, work, observed))


def obsolete_jobs(work: Work, observed: Observed) -> list[Job]:
    """Return unfinished Jobs of earlier revisions that make nothing this revision needs."""
    wanted = {work.base.evaluation_digest}
    for policy in work.policies:
        wanted |= {policy.digest, policy.evaluation_digest}
    return [
        job
        for job in observed.unfinished
        if job.revision != work.revision and job.digest not in wanted and not job.deleting
    ]


def _tasks(portfolio: Portfolio, work: Work, observed: Observed) -> Iterator[Task]:
    evidence, portfolio_name = observed.evidence, portfolio.metadata.name
    base = work.base.evaluation_digest
    yield _task(
        portfolio_name, observed, Step.EVALUATE, None, base, work.base_key, base in evidence.results
    )
    for policy in work.policies:
        trained = policy.digest in evidence.trained
        done = policy.evaluation_digest in evidence.results
        yield _task(
            portfolio_name,
            observed,
            Step.EVALUATE,
            policy,
            policy.evaluation_digest,
            policy.result_key,
            done,
            waits=not trained,
        )
    for policy in sorted(work.policies, key=lambda p: not p.is_extreme):
        trained = policy.digest in evidence.trained
        yield _task(
            portfolio_name,
            observed,
            Step.TRAIN,
            policy,
            policy.digest,
            policy.record_key,
            trained,
        )


def _task(
    portfolio: str,
    observed: Observed,
    step: Step,
    policy: Policy | None,
    digest: str,
    key: str,
    done: bool,
    *,
    waits: bool = False,
) -> Task:
    jobs = observed.jobs_of(step, digest)
    last = jobs[-1] if jobs else None
    state, attempt = _state(last, done=done, waits=waits)
    subject = policy.name if policy else names.base_policy(digest)
    name = names.job_name(portfolio, step, subject, attempt)
    if state is State.STARTABLE:
        state = _unless_occupied(name, observed)
    return Task(
        step=step,
        policy=policy,
        digest=digest,
        key=key,
        name=name,
        state=state,
        attempt=attempt,
        job=last,
        invalid=observed.evidence.invalid.get(key, ""),
    )


def _state(last: Job | None, *, done: bool, waits: bool) -> tuple[State, int]:
    """Return a task's state and the attempt it is at, or would start."""
    attempt = last.attempt if last else 1
    if done:
        return State.DONE, attempt
    if last is not None and (last.state == "Active" or last.deleting):
        return State.RUNNING, attempt
    if last is not None and last.state == "Failed":
        return State.FAILED, attempt
    if last is not None and last.attempt >= LAST_ATTEMPT:
        return State.EXHAUSTED, attempt
    if waits:
        return State.WAITING, attempt
    return State.STARTABLE, attempt + 1 if last else 1


def _unless_occupied(name: str, observed: Observed) -> State:
    if name in observed.conflicts:
        return State.CONFLICT
    for job in observed.jobs:
        if job.name == name:
            return State.WAITING if job.owned else State.CONFLICT
    return State.STARTABLE
