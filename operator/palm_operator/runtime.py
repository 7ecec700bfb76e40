"""The operator as one coroutine: cluster, queue, resync, probes and kopf's watches."""

import asyncio
import logging
from functools import lru_cache

import kopf

from palm.contract import StorageLocation
from palm_operator.cluster import Cluster
from palm_operator.handlers import kopf_settings, registry
from palm_operator.health import Health
from palm_operator.observer import Stores
from palm_operator.queue import Key, WorkQueue, resync
from palm_operator.reconciler import Reconciler
from palm_operator.settings import Settings
from palm_store import ResultStore, S3Store

logger = logging.getLogger(__name__)


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
    cluster = await Cluster.connected()
    health = Health(settings.resync_seconds)
    reconciler = Reconciler(cluster, stores, settings)

    async def one(key: Key) -> bool:
        return await reconciler.reconcile(*key)

    async def keys() -> list[Key]:
        found = []
        for namespace in settings.namespaces or (None,):
            found += await cluster.portfolios(namespace)
        health.listed()
        return [(body["metadata"]["namespace"], body["metadata"]["name"]) for body in found]

    queue = WorkQueue(one)
    runner = await health.serve(settings.http_port) if settings.http_port else None
    listing = asyncio.create_task(resync(keys, queue, seconds=settings.resync_seconds))
    try:
        await kopf.operator(
            registry=registry(queue),
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
        if runner is not None:
            await runner.cleanup()
        await cluster.close()
