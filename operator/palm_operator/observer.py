"""Reads: Jobs and InferenceServices straight from the API server, results from S3."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from palm import artifacts
from palm.contract import StorageLocation
from palm.errors import InvalidResult
from palm_operator import observed as seen
from palm_operator.api import Portfolio
from palm_operator.cluster import Cluster
from palm_operator.evidence import MAX_BYTES, Evidence
from palm_operator.observed import Job, Observed
from palm_operator.reading import Found, Want, gathered, wants
from palm_operator.requests import storage_location
from palm_operator.work import work_for
from palm_store import ResultStore

Stores = Callable[[StorageLocation], ResultStore]

_READS_AT_ONCE = 16
_ABSENT_SECONDS = 60.0
_LARGEST_CACHE = 50_000


class Cache:
    """What S3 said. Valid objects never change; absent and invalid ones are asked for again.

    An absence is believed for a minute, and no longer than until another Job finishes.
    """

    def __init__(self) -> None:
        self._valid: dict[tuple[StorageLocation, str], Found] = {}
        self._other: dict[tuple[StorageLocation, str], tuple[float, frozenset[str], Found]] = {}

    def recalled(
        self, location: StorageLocation, key: str, finished: frozenset[str]
    ) -> Found | None:
        """Return what is known well enough; None where S3 must be asked."""
        if found := self._valid.get((location, key)):
            return found
        until, when, other = self._other.get((location, key), (0.0, finished, None))
        return other if when == finished and time.monotonic() < until else None

    def keep(
        self, location: StorageLocation, key: str, finished: frozenset[str], found: Found
    ) -> None:
        """Remember what S3 said."""
        if len(self._valid) + len(self._other) > _LARGEST_CACHE:
            self._valid.clear()
            self._other.clear()
        if found.valid is not None:
            self._valid[location, key] = found
        else:
            self._other[location, key] = (time.monotonic() + _ABSENT_SECONDS, finished, found)

    def forget(self, location: StorageLocation, key: str) -> None:
        """Ask S3 the next time."""
        self._valid.pop((location, key), None)
        self._other.pop((location, key), None)


class Observer:
    """Reads everything a plan depends on."""

    def __init__(self, cluster: Cluster, stores: Stores, cache: Cache) -> None:
        self._cluster, self._stores, self._cache = cluster, stores, cache

    async def observe(self, portfolio: Portfolio, *, expected: tuple[Job, ...] = ()) -> Observed:
        """Return what there is.

        Args:
            portfolio: Whose children and results.
            expected: Jobs that were just created, in case a list does not show them yet.
        """
        metadata = portfolio.metadata
        jobs, services = await asyncio.gather(
            self._cluster.jobs(metadata.namespace, metadata.uid),
            self._cluster.services(metadata.namespace, metadata.uid),
        )
        listed = tuple(seen.job(body, portfolio_uid=metadata.uid) for body in jobs)
        known = {job.name for job in listed}
        all_jobs = (*listed, *(job for job in expected if job.name not in known))
        return Observed(
            jobs=all_jobs,
            services=tuple(seen.service(b, portfolio_uid=metadata.uid) for b in services or []),
            evidence=await self._evidence(portfolio, all_jobs),
            serves=services is not None,
        )

    async def services_only(self, portfolio: Portfolio) -> Observed:
        """Return the InferenceServices alone: what a refused Portfolio still serves."""
        metadata = portfolio.metadata
        services = await self._cluster.services(metadata.namespace, metadata.uid)
        return Observed(
            services=tuple(seen.service(b, portfolio_uid=metadata.uid) for b in services or []),
            serves=services is not None,
        )

    async def _evidence(self, portfolio: Portfolio, jobs: tuple[Job, ...]) -> Evidence:
        """Read S3 stage by stage: what one stage says decides which objects the next has."""
        location = storage_location(portfolio.spec)
        store = await asyncio.to_thread(self._stores, location)
        finished = frozenset(job.uid for job in jobs if job.state != "Active")
        gate = asyncio.Semaphore(_READS_AT_ONCE)
        found: dict[str, tuple[Want, Found]] = {}

        async def look(want: Want) -> None:
            async with gate:
                found[want.key] = want, await self._look(store, location, want, finished)

        while True:
            work = await asyncio.to_thread(work_for, portfolio, gathered(found))
            unread = [want for want in wants(portfolio, work) if want.key not in found]
            if not unread:
                break
            await asyncio.gather(*map(look, unread))
        evidence = gathered(found)
        if not work.is_determined:
            return evidence
        metadata = portfolio.metadata
        key = artifacts.manifest(metadata.namespace, metadata.name, work.revision)
        return replace(evidence, manifest=await asyncio.to_thread(_content, store, key))

    async def _look(
        self, store: ResultStore, location: StorageLocation, want: Want, finished: frozenset[str]
    ) -> Found:
        if known := self._cache.recalled(location, want.key, finished):
            return known
        found = await asyncio.to_thread(_found, store, want)
        self._cache.keep(location, want.key, finished, found)
        return found


def _found(store: ResultStore, want: Want) -> Found:
    try:
        content = store.read(want.key, max_bytes=MAX_BYTES)
        return Found() if content is None else Found(valid=want.parse(content))
    except InvalidResult as error:
        return Found(invalid=str(error))


def _content(store: ResultStore, key: str) -> bytes | None:
    try:
        return store.read(key, max_bytes=MAX_BYTES)
    except InvalidResult:
        return None  # not ours: it is written again
