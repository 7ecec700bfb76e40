"""Reads the Jobs of a Portfolio, and where they do not run, what else tells why."""

import asyncio
from datetime import UTC, datetime, timedelta

from palm_operator.api.portfolio import Portfolio
from palm_operator.jobs import observed_job_sets as job_sets
from palm_operator.jobs import queue_standing
from palm_operator.jobs.job_pods import job_pod
from palm_operator.jobs.job_standing import Surroundings, refused_pods, stand
from palm_operator.jobs.observed_job_sets import Child
from palm_operator.jobs.observed_jobs import Job
from palm_operator.names import LABEL_KUEUE_JOB_UID
from palm_operator.running.api_server import ClusterUnavailable, Object
from palm_operator.running.cluster import Cluster

_UIDS_PER_REQUEST = 100
_MOST_WORKLOADS = 300
_PATIENCE_SECONDS = 5.0
"""A Job for so long without a Pod or a Workload may have been refused it."""


class JobObserver:
    """Sees how the Jobs of a Portfolio stand."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def jobs(self, portfolio: Portfolio) -> tuple[Job, ...]:
        """Return the Jobs of a Portfolio, JobSets among them, straight from the API server.

        What else tells of them is read only where a Job failed or does not run: nothing of it
        while all is well.
        """
        metadata = portfolio.metadata
        bodies, sets = await asyncio.gather(
            self._cluster.jobs(metadata.namespace, metadata.uid),
            self._cluster.job_sets(metadata.namespace, metadata.uid),
        )
        jobs = tuple(
            job_sets.of_kind(body, portfolio_uid=metadata.uid) for body in (*bodies, *sets)
        )
        waiting = [job for job in jobs if job.owned and job.state == "Active" and not job.begun]
        failed = [job for job in jobs if job.owned and job.state == "Failed"]
        if not waiting and not failed:
            return jobs
        children = await self._children(metadata.namespace, [*waiting, *failed])
        around = await self._around(portfolio, waiting, children)
        return stand([job_sets.with_children(job, children) for job in jobs], around)

    async def _around(
        self, portfolio: Portfolio, waiting: list[Job], children: list[Child]
    ) -> Surroundings:
        namespace, uid = portfolio.metadata.namespace, portfolio.metadata.uid
        pods = [job_pod(body) for body in await self._cluster.troubled_pods(namespace, uid)]
        pods = job_sets.pods_of_sets(pods, children)
        queued = [job.uid for job in waiting if job.suspended and job.queue]
        before = datetime.now(UTC) - timedelta(seconds=_PATIENCE_SECONDS)
        young = {job.uid for job in waiting if not job.waiting_since or job.waiting_since > before}
        free = {job.uid for job in waiting if not job.suspended} - young
        podless = free - {pod.job_uid for pod in pods}
        refused = await self._refused_pods(namespace) if podless else None
        sets = {job.uid for job in waiting if job.kind == "JobSet"}
        return Surroundings(
            pods=pods,
            workloads=await self._workloads(namespace, queued),
            patient_with=frozenset(young),
            refused_pods=None if refused is None else job_sets.by_set(refused, children),
            made_nothing=frozenset(free & sets - {child.job_set_uid for child in children}),
        )

    async def _children(self, namespace: str, jobs: list[Job]) -> list[Child]:
        """Return the Jobs that some JobSets have made."""
        uids = [job.uid for job in jobs if job.kind == "JobSet"]
        found: list[Child] = []
        for first in range(0, len(uids), _UIDS_PER_REQUEST):
            some = uids[first : first + _UIDS_PER_REQUEST]
            found += map(job_sets.child, await self._cluster.jobs_of_sets(namespace, some))
        return found

    async def _workloads(self, namespace: str, uids: list[str]) -> dict[str, Object] | None:
        found: dict[str, Object] = {}
        for first in range(0, min(len(uids), _MOST_WORKLOADS), _UIDS_PER_REQUEST):
            some = ",".join(uids[first : first + _UIDS_PER_REQUEST])
            try:
                listed = await self._cluster.workloads(
                    namespace, f"{LABEL_KUEUE_JOB_UID} in ({some})"
                )
            except ClusterUnavailable:
                return None  # it only tells why; the Jobs wait all the same
            if listed is None:
                return None
            found |= {queue_standing.job_uid(body): body for body in listed}
        return found

    async def _refused_pods(self, namespace: str) -> dict[str, str] | None:
        try:
            return refused_pods(await self._cluster.refused_pods(namespace))
        except ClusterUnavailable:
            return None  # as above
