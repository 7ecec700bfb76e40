"""What is left to do for a deleted Portfolio whose objects are to go with it.

Nothing new is made. Its Jobs go first, with their Pods: they write to S3. Then its objects, then
the finalizer. Every step is looked up again, so that whoever is killed is followed anywhere.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from palm import artifacts
from palm.errors import StoreUnavailable
from palm_operator.api.portfolio import Portfolio
from palm_operator.calls.requests import storage_location
from palm_operator.jobs.observed_job_sets import of_kind
from palm_operator.life import retention
from palm_operator.life.pausing import is_paused
from palm_operator.life.retention import Reason
from palm_operator.objects import is_owned
from palm_operator.running.api_server import ClusterUnavailable
from palm_operator.running.cluster import Child, Cluster
from palm_operator.running.executor import Executor, name_of
from palm_operator.running.purger import Purger, UseUnknown
from palm_operator.serving.observed_services import is_llm
from palm_operator.settings import Settings

logger = logging.getLogger(__name__)

_LOOK_AGAIN_SECONDS = 3.0
_ENDED = ("Succeeded", "Failed")


class Deletion:
    """Takes deleted Portfolios to their end."""

    def __init__(
        self,
        cluster: Cluster,
        executor: Executor,
        purger: Purger,
        settings: Settings,
        clock: Callable[[], datetime],
    ) -> None:
        self._cluster, self._executor, self._purger = cluster, executor, purger
        self._settings, self._clock = settings, clock

    async def release(self, body: Mapping[str, Any]) -> float | None:
        """Remove our finalizer; what S3 has stays."""
        without = retention.finalizers(body, ours=False)
        if without is None:
            return None
        done = await self._cluster.set_finalizers(body, without)
        logger.info("Portfolio %s: finalizer removed: %s", name_of(body), done)
        return None if done else 0.0

    async def step(self, body: Mapping[str, Any], portfolio: Portfolio) -> float | None:
        """Take the next step of a purge; return in how many seconds another follows.

        Raises:
            StoreUnavailable: S3 does not answer; the status says so, it is to be tried again later.
            UseUnknown: It cannot be known what others use; the same.
        """
        if is_paused(body):
            why = "the Portfolio is paused by its annotation: nothing is purged"
            await self._said(body, portfolio, "Paused", why)
            return None
        location = storage_location(portfolio.spec)
        objection = self._settings.storage.objection(location, portfolio.metadata.namespace)
        if objection:
            await self._said(body, portfolio, "StorageNotAllowed", objection)
            return None
        await self._stop(portfolio)
        if writers := await self._writers(portfolio):
            await self._said(body, portfolio, *retention.writers_said(writers))
            return _LOOK_AGAIN_SECONDS
        try:
            done = await self._purger.purge(location, name_of(body))
            # Whoever was killed since the deletion may not have come to it; it is written once.
            await self._executor.end_record(portfolio, now=self._clock())
        except (StoreUnavailable, UseUnknown) as error:
            reason: Reason = "UseUnknown" if isinstance(error, UseUnknown) else "StorageUnavailable"
            await self._said(body, portfolio, reason, str(error))
            raise
        event = retention.purged_event(artifacts.uri(location, ""), done.deleted, done.kept)
        await self._executor.tell(body, event, now=self._clock())
        fresh = await self._cluster.portfolio(*name_of(body).split("/"))
        return None if fresh is None else await self.release(fresh)

    async def _stop(self, portfolio: Portfolio) -> None:
        """Delete Jobs with their Pods, and the servers of what is about to go."""
        metadata = portfolio.metadata
        uid, namespace = metadata.uid, metadata.namespace
        jobs, sets, services, llms = await asyncio.gather(
            self._cluster.jobs(namespace, uid),
            self._cluster.job_sets(namespace, uid),
            self._cluster.services(namespace, uid),
            self._cluster.llm_services(namespace, uid),
        )
        for job in (of_kind(body, portfolio_uid=uid) for body in (*jobs, *sets)):
            if job.owned and not job.deleting:
                await self._cluster.delete(
                    job.kind, namespace, job.name, job.uid, propagation="Foreground"
                )
        for body in (*(services or ()), *(llms or ())):
            if is_owned(body, uid) and "deletionTimestamp" not in body["metadata"]:
                kind: Child = "LLMInferenceService" if is_llm(body) else "InferenceService"
                name, uid_of = body["metadata"]["name"], body["metadata"]["uid"]
                await self._cluster.delete(kind, namespace, name, uid_of)

    async def _writers(self, portfolio: Portfolio) -> list[str]:
        """Return the Jobs and Pods of the Portfolio that may still write to S3."""
        namespace, uid = portfolio.metadata.namespace, portfolio.metadata.uid
        jobs, sets, pods = await asyncio.gather(
            self._cluster.jobs(namespace, uid),
            self._cluster.job_sets(namespace, uid),
            self._cluster.job_pods(namespace, uid),
        )
        seen_jobs = [of_kind(body, portfolio_uid=uid) for body in (*jobs, *sets)]
        return [
            *(f"{job.kind} {job.name}" for job in seen_jobs if job.owned),
            *(f"Pod {p['metadata']['name']}" for p in pods
              if (p.get("status") or {}).get("phase") not in _ENDED),
        ]  # fmt: skip

    async def _said(
        self, body: Mapping[str, Any], portfolio: Portfolio, reason: Reason, message: str
    ) -> None:
        now = self._clock()
        plan = retention.leaving(portfolio, reason, message, now=now)
        try:
            await self._executor.report(body, portfolio, plan, now=now)
        except ClusterUnavailable as error:
            # A namespace that ends takes no Events.
            logger.warning("Portfolio %s: %s is not told: %s", name_of(body), reason, error)
