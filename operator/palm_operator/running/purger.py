"""Deletes a Portfolio's objects from S3; what is to be deleted, ``purging`` decides."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from palm import artifacts
from palm.contract import StorageLocation
from palm.errors import InvalidResult
from palm_operator.calls.evidence import MAX_BYTES
from palm_operator.life.purging import Purge, are_recorded, purge, telling, united
from palm_operator.running.observer import Cache, Stores
from palm_store import ResultStore

logger = logging.getLogger(__name__)

_AT_ONCE = 16
_FOLDERS = (
    artifacts.POLICIES,
    artifacts.CHECKPOINTS,
    artifacts.BASE,
    artifacts.CALIBRATIONS,
    artifacts.PORTFOLIOS,
)


class UseUnknown(Exception):
    """An object that tells what another Portfolio uses cannot be read; nothing shared may go."""


@dataclass(frozen=True)
class Purged:
    """What became of a Portfolio's objects."""

    deleted: int
    kept: int
    """Policies, results and tables that others use."""


class Purger:
    """Deletes what only one Portfolio uses."""

    def __init__(self, stores: Stores, cache: Cache) -> None:
        self._stores, self._cache = stores, cache
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}

    async def purge(self, location: StorageLocation, whose: str) -> Purged:
        """Delete what only this Portfolio uses; safe to be cut off anywhere and begun again.

        One after the other for each prefix: of two that share a policy, the last takes it along.

        Args:
            location: Where.
            whose: The Portfolio, ``namespace/name``.

        Raises:
            StoreUnavailable: S3 does not answer or refuses.
            UseUnknown: It cannot be known what others use.
        """
        place = (location.bucket, location.prefix.strip("/"))
        async with self._locks.setdefault(place, asyncio.Lock()):
            store = await asyncio.to_thread(self._stores, location)
            found = await asyncio.to_thread(_found, store, whose)
            for stage in found.stages:
                await self._delete(store, location, stage)
            return Purged(found.count, found.kept)

    async def _delete(
        self, store: ResultStore, location: StorageLocation, keys: Iterable[str]
    ) -> None:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(key: str) -> None:
            async with gate:
                # Before, too: whoever is asked meanwhile must not remember what is about to go.
                self._cache.forget(location, key)
                await asyncio.to_thread(store.delete, key)
                self._cache.forget(location, key)
                logger.info("purged %s", artifacts.uri(location, key))

        # All are awaited: none must go on while somebody else has the prefix.
        failed = await asyncio.gather(*map(one, keys), return_exceptions=True)
        for error in failed:
            if error is not None:
                raise error


def _found(store: ResultStore, whose: str) -> Purge:
    keys = [f"{folder}/{name}" for folder in _FOLDERS for name in store.list(folder)]
    start = f"{artifacts.PORTFOLIOS}/"
    told = telling(key.removeprefix(start) for key in keys if key.startswith(start))
    own = _read(store, told.pop(whose, ()), strict=False)
    others = _read(store, (name for names in told.values() for name in names), strict=True)
    return purge(
        keys,
        whose=whose,
        own=united(own),
        others=united(others),
        recorded=are_recorded(told),
    )


def _read(store: ResultStore, names: Iterable[str], *, strict: bool) -> dict[str, bytes]:
    contents = {}
    for name in names:
        key = f"{artifacts.PORTFOLIOS}/{name}"
        try:
            content = store.read(key, max_bytes=MAX_BYTES)
        except InvalidResult as error:
            if strict:
                raise UseUnknown(str(error)) from None
            continue
        if content is not None:
            contents[name] = content
    return contents
