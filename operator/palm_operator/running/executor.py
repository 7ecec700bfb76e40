"""Writes: the only module that changes anything, in the cluster or in S3."""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from palm_operator.api.portfolio import Portfolio
from palm_operator.calls.requests import storage_location
from palm_operator.jobs.observed_job_sets import of_kind
from palm_operator.jobs.observed_jobs import Job
from palm_operator.objects import is_owned
from palm_operator.plan import Patch, Plan
from palm_operator.record.news import deletion
from palm_operator.refusals import Refusal, refusal
from palm_operator.running.api_server import ClusterUnavailable
from palm_operator.running.cluster import Child, Cluster
from palm_operator.running.observer import Cache, Stores
from palm_operator.running.recorder import Recorder
from palm_operator.said.status import Event
from palm_operator.serving.observed_services import Service
from palm_operator.times import stamp

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


@dataclass(frozen=True)
class Outcome:
    """What could not be done.

    Attributes:
        conflicts: Names that foreign objects have.
        refusals: Why InferenceServices were refused, by name.
        job_refusals: Why Jobs were refused, by name.
        outdated: Whether the plan was: the record had grown meanwhile. Nothing further was done.
    """

    conflicts: tuple[str, ...] = ()
    refusals: Mapping[str, str] = field(default_factory=dict)
    job_refusals: Mapping[str, Refusal] = field(default_factory=dict)
    outdated: bool = False


class Executor:
    """Carries out plans."""

    def __init__(self, cluster: Cluster, stores: Stores, cache: Cache) -> None:
        self._cluster, self._stores, self._cache = cluster, stores, cache
        self._recorder = Recorder(cluster)
        self.expectations = Expectations()

    async def act(self, portfolio: Portfolio, plan: Plan) -> Outcome:
        """Do everything of a plan but report it.

        S3 comes first: a Job that is to replace an invalid object must not find it.
        """
        if not await asyncio.to_thread(self._store, portfolio, plan):
            return Outcome(outdated=True)
        gate = asyncio.Semaphore(_WRITES_AT_ONCE)

        refusals: dict[str, str] = {}
        job_refusals: dict[str, Refusal] = {}

        async def limited(manifest: Mapping[str, Any]) -> str | None:
            async with gate:
                if manifest["kind"] in ("Job", "JobSet"):
                    return await self._create_unless_refused(portfolio, manifest, job_refusals)
                try:
                    return await self._apply(portfolio, manifest)
                except ClusterUnavailable as error:
                    if manifest["kind"] == "ConfigMap":
                        raise  # the status must not name what the route table does not
                    # KServe's webhooks may be down: that is no reason to leave the rest undone.
                    refusals[manifest["metadata"]["name"]] = str(error)
                    return None

        for child in plan.deletes:
            await self._delete(portfolio, child)
        for patch in plan.patches:
            await self._patch(portfolio, patch)
        conflicts = await asyncio.gather(*map(limited, (*plan.creates, *plan.applies)))
        return Outcome(tuple(sorted(name for name in conflicts if name)), refusals, job_refusals)

    async def report(
        self, body: Mapping[str, Any], portfolio: Portfolio, plan: Plan, *, now: datetime
    ) -> None:
        """Write the status if it changed, and tell of the change after it."""
        if plan.status == portfolio.status:
            return
        status = plan.status.model_dump(mode="json", by_alias=True, exclude_none=True)
        if not await self._cluster.report(body, status):
            return  # the change that came between brings another pass
        for event in plan.events:
            await self.tell(body, event, now=now)

    async def tell(self, body: Mapping[str, Any], event: Event, *, now: datetime) -> None:
        """Tell of a Portfolio: as an Event, and in the log."""
        logger.info("Portfolio %s: %s: %s", name_of(body), event.reason, event.message)
        await self._recorder.tell(body, event, stamp=stamp(now))

    async def end_record(self, portfolio: Portfolio, *, now: datetime) -> None:
        """Write into a Portfolio's record that it was deleted."""
        await asyncio.to_thread(self._end_record, portfolio, now)

    def _end_record(self, portfolio: Portfolio, now: datetime) -> None:
        location = storage_location(portfolio.spec)
        store, records = self._stores(location), self._cache.records
        for write in deletion(portfolio, records.read(store, portfolio), now=now).writes:
            store.write_if_absent(write.key, write.content)
            records.grown(location, write.key)
            logger.info("Portfolio %s: wrote %s", portfolio.metadata.name, write.key)

    def _store(self, portfolio: Portfolio, plan: Plan) -> bool:
        """Do everything of a plan in S3; say False where the plan is outdated."""
        if not plan.discards and not plan.writes:
            return True
        location = storage_location(portfolio.spec)
        store = self._stores(location)
        for key in plan.discards:
            store.delete(key)
            self._cache.forget(location, key)
            logger.warning("Portfolio %s: discarded %s", portfolio.metadata.name, key)
        for write in plan.writes:
            if write.exclusive:
                self._cache.records.grown(location, write.key)
                if not store.write_if_absent(write.key, write.content):
                    return False
            elif write.if_absent:
                store.write_if_absent(write.key, write.content)
            else:
                store.write(write.key, write.content)
            self._cache.forget(location, write.key)
            if write.claims:
                self._cache.doubt(location)
            logger.info("Portfolio %s: wrote %s", portfolio.metadata.name, write.key)
        return True

    async def _create_unless_refused(
        self, portfolio: Portfolio, manifest: Mapping[str, Any], refusals: dict[str, Refusal]
    ) -> str | None:
        """Create a Job; once one is refused, the others of a pass are not even tried."""
        name = str(manifest["metadata"]["name"])
        if refusals:
            refusals[name] = next(iter(refusals.values()))
            return None
        try:
            return await self._create_job(portfolio, manifest)
        except ClusterUnavailable as error:
            refusals[name] = refusal(error.status, error.explanation, kind=manifest["kind"])
            return None

    async def _create_job(self, portfolio: Portfolio, manifest: Mapping[str, Any]) -> str | None:
        metadata, uid = manifest["metadata"], portfolio.metadata.uid
        if await self._cluster.create(manifest):
            self.expectations.add(uid, of_kind(manifest, portfolio_uid=uid))
            logger.info("Portfolio %s: created %s %s", portfolio.metadata.name, manifest["kind"],
                        metadata["name"])  # fmt: skip
            return None
        existing = await self._cluster.found(
            manifest["kind"], metadata["namespace"], metadata["name"]
        )
        foreign = existing is not None and not is_owned(existing, uid)
        return str(metadata["name"]) if foreign else None

    async def _apply(self, portfolio: Portfolio, manifest: Mapping[str, Any]) -> str | None:
        kind, metadata = manifest["kind"], manifest["metadata"]
        existing = await self._cluster.found(kind, metadata["namespace"], metadata["name"])
        if existing is not None and not is_owned(existing, portfolio.metadata.uid):
            return str(metadata["name"])
        await self._cluster.apply(manifest)
        logger.info("Portfolio %s: applied %s %s", portfolio.metadata.name, kind, metadata["name"])
        return None

    async def _patch(self, portfolio: Portfolio, patch: Patch) -> None:
        namespace = portfolio.metadata.namespace
        if await self._cluster.patch(patch.kind, namespace, patch.name, patch.content):
            changed = patch.content.get("spec") or patch.content["metadata"]["annotations"]
            logger.info("Portfolio %s: %s %s is now %s", portfolio.metadata.name, patch.kind,
                        patch.name, changed)  # fmt: skip

    async def _delete(self, portfolio: Portfolio, child: Job | Service) -> None:
        kind: Child = child.kind
        await self._cluster.delete(kind, portfolio.metadata.namespace, child.name, child.uid)
        logger.info("Portfolio %s: deleted %s %s", portfolio.metadata.name, kind, child.name)


def name_of(body: Mapping[str, Any]) -> str:
    """Return ``namespace/name`` of an object."""
    return f"{body['metadata']['namespace']}/{body['metadata']['name']}"
