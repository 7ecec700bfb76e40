"""Every single thing to be trained or evaluated, and how far it is. Pure.

S3 is the record: a task is done when its object is there and valid, whatever its Jobs say. A Job
that failed is a decision for a person; a Job that finished without a valid object is repeated as
another attempt, a few times.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum, auto

from palm_operator import names
from palm_operator.api.portfolio import Portfolio
from palm_operator.calls.requests import Policy
from palm_operator.calls.work import Work
from palm_operator.jobs import job_kinds
from palm_operator.jobs.job_kinds import JobKind
from palm_operator.jobs.observed_jobs import Job
from palm_operator.names import LAST_ATTEMPT, Step
from palm_operator.observed import Observed


class State(Enum):
    """How far a task is."""

    DONE = auto()
    RUNNING = auto()
    STARTABLE = auto()
    WAITING = auto()
    """For its policy to be trained, for a Job that occupies its name to go, or for a person."""
    FAILED = auto()
    """Its Job failed for good, or waited too long to run; a person must look at it."""
    EXHAUSTED = auto()
    """Its last attempt finished and still there is no valid object."""
    CONFLICT = auto()
    """An object that is not ours has its Job's name."""


BROKEN = (State.FAILED, State.EXHAUSTED, State.CONFLICT)
"""What only a person can mend."""


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
    kind: JobKind = "Job"
    """What its current or next attempt is run by."""
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
    def whose(self) -> str:
        """Return what it is about, in a sentence of its own."""
        return self.subject if self.policy is None else f"policy {self.subject}"

    @property
    def what(self) -> str:
        """Return what its Job does, for people."""
        return "training" if self.step is Step.TRAIN else "evaluation"

    @property
    def section(self) -> str:
        """Return the part of the spec that says how it is run."""
        return "training" if self.step is Step.TRAIN else "evaluation"

    @property
    def ran_as(self) -> JobKind:
        """Return what its last attempt was run by."""
        return self.job.kind if self.job else self.kind

    @property
    def is_repetition(self) -> bool:
        """Say whether an earlier attempt finished without a valid object."""
        return self.attempt > 1


def tasks_of(
    portfolio: Portfolio, work: Work, observed: Observed, called: Iterable[Policy]
) -> tuple[Task, ...]:
    """Return what is to be made, most urgent first.

    Evaluations come before training: they finish what is begun.

    Args:
        portfolio: Whose tasks they are.
        work: What is determined of it.
        observed: What there is.
        called: The policies that are wanted, most urgent first.
    """
    pairs = [policy_tasks(portfolio, observed, policy) for policy in called]
    return (
        base_task(portfolio, work, observed),
        *(evaluation for evaluation, _ in pairs),
        *(training for _, training in pairs),
    )


def held(tasks: tuple[Task, ...]) -> tuple[Task, ...]:
    """Return the same tasks, of which none is to be started; what runs goes on."""
    return tuple(
        replace(task, state=State.WAITING) if task.state is State.STARTABLE else task
        for task in tasks
    )


def obsolete_jobs(
    work: Work, observed: Observed, *, search_over: bool, unasked: frozenset[str] = frozenset()
) -> list[Job]:
    """Return unfinished Jobs that make nothing that is still needed.

    They are of an earlier revision; or no further oracle call is wanted, or not theirs, and they
    have not begun. What is begun is let finish: what it makes is of use for ever.

    Args:
        work: The policies that matter.
        observed: What there is.
        search_over: Whether no further oracle call is wanted.
        unasked: Digests of policies that are not wanted.
    """
    wanted = {work.base.evaluation_digest}
    for policy in work.every:
        wanted |= {policy.digest, policy.evaluation_digest}
    return [
        job
        for job in observed.unfinished
        if not job.deleting
        and (
            (job.revision != work.revision and job.digest not in wanted)
            or (
                (search_over or job.digest in unasked)
                and job.step == Step.TRAIN
                and not _is_begun(job, observed)
            )
        )
    ]


def _is_begun(job: Job, observed: Observed) -> bool:
    """Say whether a training has begun; its Job forgets it with the Pod that was taken from it."""
    return job.begun or job.digest in observed.progress


def base_task(portfolio: Portfolio, work: Work, observed: Observed) -> Task:
    """Return the evaluation of the base policy."""
    digest = work.base.evaluation_digest
    done = digest in observed.evidence.results
    return _task(portfolio, observed, Step.EVALUATE, None, digest, work.base_key, done)


def policy_tasks(portfolio: Portfolio, observed: Observed, policy: Policy) -> tuple[Task, Task]:
    """Return the evaluation and the training of a policy."""
    evidence = observed.evidence
    trained = policy.is_trained(evidence.trained)
    evaluated = policy.evaluation_digest in evidence.results
    return (
        _task(
            portfolio,
            observed,
            Step.EVALUATE,
            policy,
            policy.evaluation_digest,
            policy.result_key,
            evaluated,
            waits=not trained,
        ),
        _task(
            portfolio,
            observed,
            Step.TRAIN,
            policy,
            policy.digest,
            policy.record_key,
            trained,
            waits=bool(policy.mixture),  # for those that it is mixed of
        ),
    )


def _task(
    portfolio: Portfolio,
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
    name = job_kinds.name_of(portfolio, step, subject, attempt)
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
        kind=job_kinds.kind_of(portfolio, step),
        job=last,
        invalid=observed.evidence.invalid.get(key, ""),
    )


def _state(last: Job | None, *, done: bool, waits: bool) -> tuple[State, int]:
    """Return a task's state and the attempt it is at, or would start."""
    attempt = last.attempt if last else 1
    if done:
        return State.DONE, attempt
    overdue = last is not None and last.overdue_after is not None and not last.deleting
    if last is not None and not overdue and (last.state == "Active" or last.deleting):
        return State.RUNNING, attempt
    if last is not None and (overdue or last.state == "Failed"):
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
