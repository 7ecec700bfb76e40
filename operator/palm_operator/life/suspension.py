"""``spec.suspend``: which Jobs are suspended and resumed, how, and what is said of it. Pure.

A Job is suspended by its own ``spec.suspend`` unless Kueue has it, which owns that field: then by
``spec.active`` of its Workload. Only what the operator suspended is resumed by it; an annotation on
the Job says so, written before its Workload is deactivated and removed after it is active again,
so that whoever is killed in between finds the Job again.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from palm_operator.api.portfolio import Portfolio
from palm_operator.calls.search import Fate, Search
from palm_operator.jobs.observed_jobs import Job
from palm_operator.jobs.workloads import Workload
from palm_operator.names import ANNOTATION_RESUMED, ANNOTATION_SUSPENDED
from palm_operator.observed import Observed
from palm_operator.plan import Patch
from palm_operator.said.status import Said
from palm_operator.times import earliest, stamp

KUEUE_SECONDS = 15.0
"""Until Kueue is asked again for the Workload of a Job; nothing tells of it."""
_SHOWN = 3


def patches(
    portfolio: Portfolio, observed: Observed, obsolete: list[Job], *, now: datetime
) -> tuple[Patch, ...]:
    """Return what suspends the Jobs that run, or resumes those that were suspended.

    No more are resumed than ``training.parallelism`` has room for.

    Args:
        portfolio: Whose Jobs.
        observed: What there is.
        obsolete: Jobs that are about to be deleted.
        now: The time.
    """
    jobs = _wanted(observed, obsolete)
    if portfolio.spec.suspend:
        return tuple(patch for job in jobs for patch in _suspended(job, observed))
    held = [job for job in jobs if job.held]
    room = portfolio.spec.training.parallelism - (len(jobs) - len(held))
    return tuple(
        patch for job in held[: max(room, 0)] for patch in _resumed(job, observed, now=now)
    )


def again_in(
    portfolio: Portfolio, observed: Observed, obsolete: list[Job], other: float | None
) -> float | None:
    """Return in how many seconds something is due: another thing's time, or Kueue's next answer."""
    waits = portfolio.spec.suspend and _running_on(observed, obsolete)
    return earliest(KUEUE_SECONDS, other) if waits else other


def told(
    portfolio: Portfolio,
    said: dict[str, Said],
    search: Search,
    observed: Observed,
    obsolete: list[Job],
) -> dict[str, Said]:
    """Return what is said of a Portfolio, which is another thing where it is suspended."""
    if not portfolio.spec.suspend:
        return said
    doing = Said("False", "Suspended", _message(search, observed, obsolete))
    kept = {kind: s for kind, s in said.items() if kind not in ("Reconciling", "Stalled")}
    kept |= {"Progressing": doing, "Suspended": replace(doing, status="True")}
    ready = said["Ready"]
    if ready.status == "False" and ready.reason == said["Progressing"].reason:
        kept["Ready"] = replace(doing, status="False")
    return kept


def _message(search: Search, observed: Observed, obsolete: list[Job]) -> str:
    """Return what waits, and for what."""
    parts = ["spec.suspend is true: nothing new is made"]
    waiting = _running_on(observed, obsolete)
    count = len(_wanted(observed, obsolete)) - len(waiting)
    if count:
        them = "1 Job is suspended and continues" if count == 1 else (
            f"{count} Jobs are suspended and continue")  # fmt: skip
        parts.append(f"{them} when it is false")
    if waiting:
        shown = ", ".join(job.name for job in waiting[:_SHOWN])
        more = f" and {len(waiting) - _SHOWN} more" if len(waiting) > _SHOWN else ""
        parts.append(
            f"Kueue has no Workload of {shown}{more} yet, and alone may suspend what it queues"
        )
    done = search.count(Fate.EVALUATED)
    parts.append(f"{done} of at most {search.planned} policies are evaluated")
    return "; ".join(parts)


def _wanted(observed: Observed, obsolete: list[Job]) -> list[Job]:
    return [job for job in observed.unfinished if not job.deleting and job not in obsolete]


def _running_on(observed: Observed, obsolete: list[Job]) -> list[Job]:
    """Return the Jobs that only Kueue may suspend, and that it has not taken up yet."""
    return [job for job in _wanted(observed, obsolete) if _is_kueues_alone(job, observed)]


def _is_kueues_alone(job: Job, observed: Observed) -> bool:
    has_kueue = observed.workloads is not None
    return has_kueue and job.queued and _workload_of(job, observed) is None


def _workload_of(job: Job, observed: Observed) -> Workload | None:
    return next((w for w in observed.workloads or () if job.uid and w.job_uid == job.uid), None)


def _suspended(job: Job, observed: Observed) -> list[Patch]:
    if _is_kueues_alone(job, observed):
        return []
    workload = _workload_of(job, observed)
    if workload is None:
        # Whoever else suspended it also resumes it.
        return [] if job.suspended else [_job_patch(job, held=True, suspend=True)]
    made = [] if job.held else [_job_patch(job, held=True)]
    return [*made, _workload_patch(workload, active=False)] if workload.active else made


def _resumed(job: Job, observed: Observed, *, now: datetime) -> list[Patch]:
    workload = _workload_of(job, observed)
    if workload is None and not _is_kueues_alone(job, observed):
        return [_job_patch(job, held=False, suspend=False, resumed=now)]
    done = [_job_patch(job, held=False, resumed=now)]
    is_ours = workload is not None and workload.held
    return [_workload_patch(workload, active=True), *done] if workload and is_ours else done


def _job_patch(
    job: Job, *, held: bool, suspend: bool | None = None, resumed: datetime | None = None
) -> Patch:
    content = {} if suspend is None else {"spec": {"suspend": suspend}}
    metadata = _metadata(job.uid, held=held)
    if resumed is not None:
        # Kueue keeps no time of it for what it had not admitted yet.
        metadata["annotations"][ANNOTATION_RESUMED] = stamp(resumed)
    return Patch(job.kind, job.name, {"metadata": metadata, **content})


def _workload_patch(workload: Workload, *, active: bool) -> Patch:
    metadata = _metadata(workload.uid, held=not active)
    return Patch("Workload", workload.name, {"metadata": metadata, "spec": {"active": active}})


def _metadata(uid: str, *, held: bool) -> dict[str, Any]:
    return {"uid": uid, "annotations": {ANNOTATION_SUSPENDED: "true" if held else None}}
