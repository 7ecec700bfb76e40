"""Reads: Jobs and InferenceServices straight from the API server, results from S3."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from palm import artifacts
from palm.contract import StorageLocation
from palm.errors import InvalidResult
from palm.schema import sha256_of
from palm_operator import names
from palm_operator.api.portfolio import Portfolio
from palm_operator.calls.evidence import MAX_BYTES, Evidence
from palm_operator.calls.reading import Found, Want, gathered, wants
from palm_operator.calls.requests import storage_location
from palm_operator.calls.work import work_for
from palm_operator.jobs.observed_jobs import Job
from palm_operator.jobs.workloads import Workload, workload
from palm_operator.observed import Observed
from palm_operator.record.chain import Recorded
from palm_operator.running.cluster import Cluster
from palm_operator.running.job_observer import JobObserver
from palm_operator.running.records import Records
from palm_operator.running.services import ServiceObserver
from palm_operator.running.training_progress import TrainingObserver
from palm_operator.serving.recall import deployed_manifest
from palm_store import ResultStore

Stores = Callable[[StorageLocation], ResultStore]

_READS_AT_ONCE = 16
_DOUBT_SECONDS = 60.0
_LONGEST_DOUBT_SECONDS = 6 * 3600.0
_LARGEST_CACHE = 50_000


@dataclass(frozen=True)
class _Doubt:
    """An object that was absent or invalid, and for how long that is believed."""

    found: Found
    finished: frozenset[str]
    patience: float
    until: float


class Cache:
    """What S3 said. Valid objects never change; absent and invalid ones are asked for again.

    That is believed for a minute, then for twice as long each time it is found so again, and never
    longer than until another Job finishes: a grid of which few policies are needed would otherwise
    be asked for whole in every resync. Who starts a Job on an old absence learns it from the image,
    which ends at once where its object is there.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.records = Records()
        self._valid: dict[tuple[StorageLocation, str], Found] = {}
        self._other: dict[tuple[StorageLocation, str], _Doubt] = {}
        self._known: set[StorageLocation] = set()

    def recalled(
        self, location: StorageLocation, key: str, finished: frozenset[str]
    ) -> Found | None:
        """Return what is known well enough; None where S3 must be asked."""
        if found := self._valid.get((location, key)):
            return found
        doubt = self._other.get((location, key))
        if doubt is None or doubt.finished != finished or self._clock() >= doubt.until:
            return None
        return doubt.found

    def keep(
        self, location: StorageLocation, key: str, finished: frozenset[str], found: Found
    ) -> None:
        """Remember what S3 said."""
        self._known.add(location)
        if len(self._valid) + len(self._other) > _LARGEST_CACHE:
            self._valid.clear()
            self._other.clear()
        before = self._other.pop((location, key), None)
        if found.valid is not None:
            self._valid[location, key] = found
            return
        is_same = before is not None and before.found == found and before.finished == finished
        patience = _DOUBT_SECONDS
        if before is not None and is_same:
            patience = min(2 * before.patience, _LONGEST_DOUBT_SECONDS)
        until = self._clock() + patience
        self._other[location, key] = _Doubt(found, finished, patience, until)

    def forget(self, location: StorageLocation, key: str) -> None:
        """Ask S3 the next time, however the bucket and the prefix are reached."""
        for known in self._locations(location):
            self._valid.pop((known, key), None)
            self._other.pop((known, key), None)

    def doubt(self, location: StorageLocation) -> None:
        """Ask S3 the next time for everything that was found there."""
        known = self._locations(location)
        self._valid = {at: found for at, found in self._valid.items() if at[0] not in known}

    def _locations(self, location: StorageLocation) -> list[StorageLocation]:
        place = (location.bucket, location.prefix)
        return [known for known in self._known if (known.bucket, known.prefix) == place]


class Observer:
    """Reads everything a plan depends on."""

    def __init__(
        self,
        cluster: Cluster,
        stores: Stores,
        cache: Cache,
        services: ServiceObserver,
        trainings: TrainingObserver,
    ) -> None:
        self._cluster, self._stores, self._cache = cluster, stores, cache
        self._services, self._jobs = services, JobObserver(cluster)
        self._trainings = trainings

    async def observe(self, portfolio: Portfolio, *, expected: tuple[Job, ...] = ()) -> Observed:
        """Return what there is.

        Args:
            portfolio: Whose children and results.
            expected: Jobs that were just created, in case a list does not show them yet.
        """
        metadata = portfolio.metadata
        routes = names.route_table_name(metadata.name)
        listed, served, table = await asyncio.gather(
            self._jobs.jobs(portfolio),
            self._services.services(portfolio),
            self._cluster.found("ConfigMap", metadata.namespace, routes),
        )
        known = {job.name for job in listed}
        all_jobs = (*listed, *(job for job in expected if job.name not in known))
        workloads = await self._workloads(portfolio, all_jobs)
        record = await self._record(portfolio)
        last = deployed_manifest(portfolio, served.services, record)
        return Observed(
            jobs=all_jobs,
            services=served.services,
            evidence=await self._evidence(portfolio, all_jobs, last),
            progress=await self._trainings.progress(storage_location(portfolio.spec), all_jobs),
            serves=served.serves,
            serves_llms=served.serves_llms,
            routes=table,
            workloads=workloads,
            record=record,
        )

    async def cluster_only(self, portfolio: Portfolio) -> Observed:
        """Return what a refused Portfolio still serves, and its Jobs where they are suspended."""
        observed = Observed()
        if portfolio.status.portfolio:
            served = await self._services.services(portfolio)
            observed = replace(
                observed,
                services=served.services,
                serves=served.serves,
                serves_llms=served.serves_llms,
            )
        if not portfolio.spec.suspend:
            return observed
        jobs = await self._jobs.jobs(portfolio)
        return replace(observed, jobs=jobs, workloads=await self._workloads(portfolio, jobs))

    async def _workloads(
        self, portfolio: Portfolio, jobs: tuple[Job, ...]
    ) -> tuple[Workload, ...] | None:
        """Ask Kueue where Jobs are to be suspended or resumed, and not otherwise."""
        unfinished = [job for job in jobs if job.owned and job.state == "Active"]
        if not any(portfolio.spec.suspend or job.held for job in unfinished):
            return None
        bodies = await self._cluster.workloads(portfolio.metadata.namespace)
        return None if bodies is None else tuple(workload(body) for body in bodies)

    async def _evidence(
        self, portfolio: Portfolio, jobs: tuple[Job, ...], last: str | None
    ) -> Evidence:
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
            known = gathered(found)
            work = await asyncio.to_thread(work_for, portfolio, known)
            unread = [want for want in wants(portfolio, work, known) if want.key not in found]
            if not unread:
                break
            await asyncio.gather(*map(look, unread))
        pin = portfolio.spec.serving.pin
        pinned = await self._manifest(portfolio, store, pin.sha256 if pin else None)
        deployed = await self._manifest(portfolio, store, last)
        evidence = replace(gathered(found), pinned=pinned, deployed=deployed)
        if not work.is_determined:
            return evidence
        metadata = portfolio.metadata
        key = artifacts.manifest(metadata.namespace, metadata.name, work.revision)
        return replace(evidence, manifest=await asyncio.to_thread(_content, store, key))

    async def _record(self, portfolio: Portfolio) -> Recorded:
        location = storage_location(portfolio.spec)
        store = await asyncio.to_thread(self._stores, location)
        return await asyncio.to_thread(self._cache.records.read, store, portfolio)

    async def _manifest(
        self, portfolio: Portfolio, store: ResultStore, sha256: str | None
    ) -> bytes | None:
        """Read the manifest with this digest, where one is wanted."""
        if sha256 is None:
            return None
        metadata = portfolio.metadata
        key = artifacts.manifest_copy(metadata.namespace, metadata.name, sha256)
        return await asyncio.to_thread(_content, store, key)

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
        if content is None:
            return Found()
        return Found(valid=want.parse(content), sha256=sha256_of(content))
    except InvalidResult as error:
        return Found(invalid=str(error))


def _content(store: ResultStore, key: str) -> bytes | None:
    try:
        return store.read(key, max_bytes=MAX_BYTES)
    except InvalidResult:
        return None  # not ours: it is written again
