"""The operator as one coroutine: probes, the Lease; while it leads queue, resync and watches."""

import asyncio
import logging
import signal
import socket
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import kopf

from palm.contract import StorageLocation
from palm_operator.running.asking import Asker
from palm_operator.running.cluster import Cluster
from palm_operator.running.election import Elector
from palm_operator.running.fence import FencedStore
from palm_operator.running.handlers import kopf_settings, registry
from palm_operator.running.health import Health
from palm_operator.running.lease import ClusterLease
from palm_operator.running.observer import Stores
from palm_operator.running.queue import Key, WorkQueue, resync
from palm_operator.running.reconciler import Reconciler
from palm_operator.settings import Settings
from palm_store import ResultStore, S3Store

logger = logging.getLogger(__name__)

_THREADS = 64


@lru_cache(maxsize=64)
def s3_store(location: StorageLocation) -> ResultStore:
    """Return the store of a location; making a boto3 client takes a while."""
    return S3Store(location)


async def run(settings: Settings, *, stop: asyncio.Event, stores: Stores = s3_store) -> None:
    """Run the operator until it is asked to stop.

    Args:
        settings: The operator's settings.
        stop: Set by whoever wants the operator to end.
        stores: Where a location's objects are read and written.
    """
    # Waiting for one tenant's slow bucket must not keep others waiting for a thread.
    threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="work")
    asyncio.get_running_loop().set_default_executor(threads)
    cluster = await Cluster.connected()
    health = Health(settings.resync_seconds)
    runner = None
    if settings.http_port:
        runner = await health.serve(settings.http_host, settings.http_port)
    try:
        if settings.lease is None:
            await _operate(cluster, settings, health, stop=stop, stores=stores)
        else:
            lease = ClusterLease(cluster, *settings.lease)
            await _lead(lease, cluster, settings, health, stop=stop, stores=stores)
    finally:
        if runner is not None:
            await runner.cleanup()
        await cluster.close()


def end_on_signals(stop: asyncio.Event) -> None:
    """Set an event on SIGTERM and SIGINT; only the main thread gets signals."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _lead(
    lease: ClusterLease,
    cluster: Cluster,
    settings: Settings,
    health: Health,
    *,
    stop: asyncio.Event,
    stores: Stores,
) -> None:
    """Operate whenever the Lease is held, as a candidate in between."""
    identity = f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
    elector = Elector(lease, identity, looked=health.listed)
    while True:
        # While it runs, kopf takes the signals, and does not give them back.
        end_on_signals(stop)
        term = await elector.acquire(stop)
        if term is None:
            return
        ended = asyncio.Event()
        work = asyncio.create_task(
            _operate(
                cluster.fenced(term.check),
                settings,
                health,
                stop=ended,
                stores=_fenced(stores, term.check),
            )
        )
        stopped = asyncio.create_task(stop.wait())
        renewal = asyncio.create_task(elector.keep(term))
        await asyncio.wait({work, stopped, renewal}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            stop.set()  # kopf was told to end
        ended.set()
        try:
            await work
        finally:
            for task in (stopped, renewal):
                task.cancel()
            await asyncio.gather(stopped, renewal, return_exceptions=True)
            await elector.release()


def _fenced(stores: Stores, check: Callable[[], object]) -> Stores:
    return lambda location: FencedStore(stores(location), check)


async def _operate(
    cluster: Cluster, settings: Settings, health: Health, *, stop: asyncio.Event, stores: Stores
) -> None:
    """Look after every Portfolio until told to stop."""

    async def one(key: Key) -> float | None:
        return await reconciler.reconcile(*key)

    async def keys() -> list[Key]:
        found = []
        for namespace in settings.namespaces or (None,):
            found += await cluster.portfolios(namespace)
        health.listed()
        return [
            (body["metadata"]["namespace"], body["metadata"]["name"])
            for body in found
            if settings.cares_for(body)
        ]

    queue = WorkQueue(one)
    asker = Asker(queue.add)
    reconciler = Reconciler(cluster, stores, settings, asker)
    listing = asyncio.create_task(resync(keys, queue, seconds=settings.resync_seconds))
    try:
        await kopf.operator(
            registry=registry(queue, settings.cares_for),
            settings=kopf_settings(scans=not settings.namespaces),
            standalone=True,
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
            stop_flag=stop,
        )
    finally:
        listing.cancel()
        await asyncio.gather(listing, return_exceptions=True)
        await queue.stop()
        await asker.close()
