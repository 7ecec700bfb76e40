"""JobSets, reduced to what is decided of Jobs: to decisions they are Jobs of another kind. Pure.

Conditions and counts are those of JobSet v0.12 (``pkg/controllers/jobset_controller.go``,
``pkg/constants``). Why one failed, only the Job that it made knows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from palm_operator.jobs import observed_jobs as observed
from palm_operator.jobs.job_pods import JobPod
from palm_operator.jobs.job_sets import KIND
from palm_operator.jobs.observed_jobs import Job
from palm_operator.names import LABEL_JOB_SET_UID

_REASONS = {"ReachedMaxRestarts": "BackoffLimitExceeded"}
_BEGUN = ("ready", "succeeded", "failed")


@dataclass(frozen=True)
class Child:
    """A Job that a JobSet made: the Pods' controller, and what knows how they ended."""

    uid: str
    job_set_uid: str
    state: observed.JobState
    reason: str
    message: str


def of_kind(body: Mapping[str, Any], *, portfolio_uid: str) -> Job:
    """Return what matters of a Job or a JobSet."""
    if body.get("kind") != KIND:
        return observed.job(body, portfolio_uid=portfolio_uid)
    return replace(observed.job(_as_job(body), portfolio_uid=portfolio_uid), kind=KIND)


def child(body: Mapping[str, Any]) -> Child:
    """Return what matters of a Job that a JobSet made."""
    job = observed.job(body, portfolio_uid="")
    labels = body["metadata"].get("labels") or {}
    return Child(
        uid=job.uid,
        job_set_uid=str(labels.get(LABEL_JOB_SET_UID, "")),
        state=job.state,
        reason=job.reason,
        message=job.message,
    )


def with_children(job: Job, children: Iterable[Child]) -> Job:
    """Return a JobSet that failed with the words of the Job that failed it."""
    failed = [c for c in children if c.job_set_uid == job.uid and c.state == "Failed"]
    if job.state != "Failed" or not failed:
        return job
    return replace(job, reason=failed[0].reason, message=failed[0].message)


def pods_of_sets(pods: Sequence[JobPod], children: Iterable[Child]) -> list[JobPod]:
    """Return Pods with those of a JobSet's Job as the JobSet's own."""
    sets = {c.uid: c.job_set_uid for c in children}
    return [replace(pod, job_uid=sets.get(pod.job_uid, pod.job_uid)) for pod in pods]


def by_set(messages: Mapping[str, str], children: Iterable[Child]) -> dict[str, str]:
    """Return what is said by a Job's uid, with what is said of a JobSet's Job said of the set."""
    sets = {c.uid: c.job_set_uid for c in children}
    return {sets.get(uid, uid): said for uid, said in messages.items()}


def _as_job(body: Mapping[str, Any]) -> dict[str, Any]:
    status = body.get("status") or {}
    counts = status.get("replicatedJobsStatus") or []
    begun = status.get("restarts") or sum(c.get(n) or 0 for c in counts for n in _BEGUN)
    conditions = [_as_job_condition(c) for c in status.get("conditions") or []]
    return {**body, "status": {"conditions": conditions, "ready": begun}}


def _as_job_condition(condition: Mapping[str, Any]) -> dict[str, Any]:
    kind, reason = condition.get("type"), str(condition.get("reason", ""))
    return {
        **condition,
        "type": "Complete" if kind == "Completed" else kind,
        "reason": _REASONS.get(reason, reason),
    }
