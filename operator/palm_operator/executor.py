"""Writes: the only module that changes anything, in the cluster or in S3."""

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from palm_operator import observed as seen
from palm_operator.api import Portfolio
from palm_operator.cluster import Cluster
from palm_operator.observed import Job, Service, is_owned
from palm_operator.observer import Cache, Stores
from palm_operator.plan import Plan
from palm_operator.requests import storage_location

logger = logging.getLogger(__name__)

_WRITES_AT_ONCE = 20
_EXPECTED_SECONDS = 30.0


class Expectations:
    """Jobs just created: a list that lags behind must not make them again."""

    def __init__(self) -> None:
        self._jobs: dict[str, dict[str, tuple[float, Job]]] = {}

    def add(self, portfolio_uid: str, job: Job) -> None:
        """Expect a Job to be listed soon."""
        deadline = time.monotonic() + _EXPECTED_SECONDS
        self._jobs.setdefault(portfolio_uid, {})[job.name] = (deadline, job)

    def met(self, portfolio_uid: str, listed: tuple[Job, ...]) -> None:
        """Drop what has been listed."""
        for job in listed:
            self._jobs.get(portfolio_uid, {}).pop(job.name, None)

    def pending(self, portfolio_uid: str) -> tuple[Job, ...]:
        """Return the Jobs that are still expected."""
        now = time.monotonic()
        jobs = self._jobs.get(portfolio_uid, {})
        for name in [name for name, (deadline, _) in jobs.items() if deadline < now]:
            del jobs[name]
        return tuple(job for _, job in jobs.values())


class Executor:
    """Carries out plans."""

    def __init__(self, cluster: Cluster, stores: Stores, cache: Cache) -> None:
        self._cluster, self._stores, self._cache = cluster, stores, cache
        self.expectations = Expectations()

    async def act(self, portfolio: Portfolio, plan: Plan) -> tuple[str, ...]:
        """Do everything of a plan but report it; return names that foreign objects have.

        S3 comes first: a Job that is to replace an invalid object must not find it.
        """
        await asyncio.to_thread(self._store, portfolio, plan)
        gate = asyncio.Semaphore(_WRITES_AT_ONCE)

        async def limited(manifest: Mapping[str, Any]) -> str | None:
            async with gate:
                if manifest["kind"] == "Job":
                    return await self._create_job(portfolio, manifest)
                return await self._apply_service(portfolio, manifest)

        for child in plan.deletes:
            await self._delete(portfolio, child)
        conflicts = await asyncio.gather(*map(limited, (*plan.creates, *plan.applies)))
        return tuple(sorted(name for name in conflicts if name))

    async def report(
        self, body: Mapping[str, Any], portfolio: Portfolio, plan: Plan, *, now: datetime
    ) -> None:
        """Write the status if it changed, and tell of the change after it."""
        if plan.status == portfolio.status:
            return
        status = plan.status.model_dump(mode="json", by_alias=True, exclude_none=True)
        if not await self._cluster.report(body, status):
            return  # the change that came between brings another pass
        stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        for event in plan.events:
            logger.info("Portfolio %s: %s: %s", name_of(body), event.reason, event.message)
            await self._cluster.tell(
                body, kind=event.type, reason=event.reason, message=event.message, time=stamp
            )

    def _store(self, portfolio: Portfolio, plan: Plan) -> None:
        if not plan.discards and not plan.writes:
            return
        location = storage_location(portfolio.spec)
        store = self._stores(location)
        for key in plan.discards:
            store.delete(key)
            self._cache.forget(location, key)
            logger.warning("Portfolio %s: discarded %s", portfolio.metadata.name, key)
        for write in plan.writes:
            if write.if_absent:
                store.write_if_absent(write.key, write.content)
            else:
                store.write(write.key, write.content)
            self._cache.forget(location, write.key)
            logger.info("Portfolio %s: wrote %s", portfolio.metadata.name, write.key)

    async def _create_job(self, portfolio: Portfolio, manifest: Mapping[str, Any]) -> str | None:
        metadata, uid = manifest["metadata"], portfolio.metadata.uid
        if await self._cluster.create(manifest):
            self.expectations.add(uid, seen.job(manifest, portfolio_uid=uid))
            logger.info("Portfolio %s: created Job %s", portfolio.metadata.name, metadata["name"])
            return None
        existing = await self._cluster.found("Job", metadata["namespace"], metadata["name"])
        foreign = existing is not None and not is_owned(existing, uid)
        return str(metadata["name"]) if foreign else None

    async def _apply_service(self, portfolio: Portfolio, manifest: Mapping[str, Any]) -> str | None:
        metadata = manifest["metadata"]
        existing = await self._cluster.found(
            "InferenceService", metadata["namespace"], metadata["name"]
        )
        if existing is not None and not is_owned(existing, portfolio.metadata.uid):
            return str(metadata["name"])
        await self._cluster.apply(manifest)
        logger.info(
            "Portfolio %s: applied InferenceService %s", portfolio.metadata.name, metadata["name"]
        )
        return None

    async def _delete(self, portfolio: Portfolio, child: Job | Service) -> None:
        kind: Any = "Job" if isinstance(child, Job) else "InferenceService"
        await self._cluster.delete(kind, portfolio.metadata.namespace, child.name, child.uid)
        logger.info("Portfolio %s: deleted %s %s", portfolio.metadata.name, kind, child.name)


def name_of(body: Mapping[str, Any]) -> str:
    """Return ``namespace/name`` of an object."""
    return f"{body['metadata']['namespace']}/{body['metadata']['name']}"
