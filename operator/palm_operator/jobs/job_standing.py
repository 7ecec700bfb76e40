"""How each Job stands: what keeps it from running, how it ended, how long it waits. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from palm_operator.api.portfolio import Portfolio
from palm_operator.jobs import queue_standing
from palm_operator.jobs.endings import most_telling
from palm_operator.jobs.job_pods import Hindrance, JobPod, one_line
from palm_operator.jobs.observed_jobs import Job
from palm_operator.observed import Observed
from palm_operator.refusals import refusal

_FIRST_LOOK_S, _LAST_LOOK_S = 3.0, 60.0
UNTOUCHED = Hindrance("JobSetNotWatched", "JobSet's controller has made no Job for it")


@dataclass(frozen=True)
class Surroundings:
    """What else tells of Jobs: their Pods, Kueue's Workloads, why Pods were refused.

    Attributes:
        pods: Pods that are neither running nor succeeded.
        workloads: Kueue's, by the Job's uid; None where the cluster has no such resource.
        patient_with: Jobs too young for conclusions from what is not there yet, by uid.
        refused_pods: The last thing that the Job controller was told when it made a Pod, by the
            Job's uid.
        made_nothing: JobSets, by uid, for which their controller has made no Job although it could.
    """

    pods: Sequence[JobPod] = ()
    workloads: Mapping[str, Mapping[str, Any]] | None = None
    patient_with: frozenset[str] = frozenset()
    refused_pods: Mapping[str, str] | None = None
    made_nothing: frozenset[str] = frozenset()


def stand(jobs: Sequence[Job], around: Surroundings) -> tuple[Job, ...]:
    """Return the Jobs with what their surroundings tell of them."""
    pods: dict[str, list[JobPod]] = {}
    for pod in sorted(around.pods, key=lambda pod: pod.created):
        pods.setdefault(pod.job_uid, []).append(pod)
    return tuple(_standing(job, pods.get(job.uid, []), around) for job in jobs)


def refused_pods(events: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the last message of the Job controller's FailedCreate events, by the Job's uid."""
    in_order = sorted(events, key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or ""))
    return {str((e.get("involvedObject") or {}).get("uid")): one_line(e.get("message"))
            for e in in_order}  # fmt: skip


def with_deadlines(portfolio: Portfolio, observed: Observed, *, now: datetime) -> Observed:
    """Return what is observed with the Jobs marked that wait longer than they may."""
    limit = portfolio.spec.training.pending_deadline_seconds
    if limit is None or portfolio.spec.suspend:
        return observed
    jobs = tuple(
        replace(job, overdue_after=limit) if _waited(job, now) >= limit else job
        for job in observed.jobs
    )
    return replace(observed, jobs=jobs)


def next_look(portfolio: Portfolio, observed: Observed, *, now: datetime) -> float | None:
    """Return in how many seconds to look again at Jobs that wait: nothing tells of it otherwise.

    The older the last change, the later; None where no Job waits.
    """
    limit = portfolio.spec.training.pending_deadline_seconds
    looks = []
    for job in observed.unfinished:
        if job.begun or job.deleting or job.waiting_since is None:
            continue
        waited = _waited(job, now)
        looks.append(min(max(waited / 2, _FIRST_LOOK_S), _LAST_LOOK_S))
        if limit is not None and waited < limit:
            looks.append(limit - waited)
    return min(looks, default=None)


def _standing(job: Job, pods: Sequence[JobPod], around: Surroundings) -> Job:
    endings = [pod.ending for pod in pods if pod.ending is not None]
    # A disruption is nobody's fault: what the last try of its own said matters.
    own = [ending for ending in endings if not ending.is_disruption]
    if endings:
        told = own or endings
        job = replace(job, ending=most_telling(told) if job.kind == "JobSet" else told[-1])
    if job.state != "Active" or job.begun:
        return job
    waiting = [pod for pod in pods if pod.ending is None]
    later = [pod.created for pod in waiting[-1:]]
    if found := (around.workloads or {}).get(job.uid):
        later += queue_standing.turns(found)
        job = replace(job, resuming=job.resuming or queue_standing.is_resuming(found))
    if job.waiting_since is not None:
        job = replace(job, waiting_since=max([job.waiting_since, *later]))
    return replace(job, hindrance=_hindrance(job, waiting, around))


def _hindrance(job: Job, pods: Sequence[JobPod], around: Surroundings) -> Hindrance | None:
    if job.held:
        return None  # by the operator itself: spec.suspend
    if job.suspended:
        found = (around.workloads or {}).get(job.uid)
        if found is not None:
            return queue_standing.hindrance(found)
        if job.uid in around.patient_with:
            return None
        if job.queue:
            why = f"it is suspended and Kueue has made no Workload for it (queue {job.queue})"
            return Hindrance("QueueNotWatched", why)
        return Hindrance("Suspended", "it is suspended")
    if job.uid in around.made_nothing:
        return UNTOUCHED
    if pods:
        return pods[-1].hindrance
    said = (around.refused_pods or {}).get(job.uid)
    if said is None:
        return None
    reason = refusal(None, said).reason
    return Hindrance(reason if reason != "ClusterRefused" else "PodRefused", said)


def _waited(job: Job, now: datetime) -> float:
    """Return for how many seconds a Job has waited to run; 0 where it does not."""
    if job.state != "Active" or job.begun or job.deleting or job.held or job.resuming:
        return 0.0
    if job.waiting_since is None:
        return 0.0
    return max((now - job.waiting_since) / timedelta(seconds=1), 0.0)
