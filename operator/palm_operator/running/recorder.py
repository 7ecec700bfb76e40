"""Emits Events: the same again is counted on the one that is there, and a flood is cut.

As Kubernetes' own controllers do it: at most so many at once per object, then one now and then.
An Event that cannot be written is no reason to fail: the status says it all.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from palm_operator.running.api_server import ClusterUnavailable
from palm_operator.running.cluster import Cluster
from palm_operator.said.status import Event

logger = logging.getLogger(__name__)

_REMEMBERED_S = 3600.0
_BURST, _REFILL_S = 25, 60.0
_LARGEST_MEMORY = 5_000


@dataclass
class _Told:
    """An Event that was emitted."""

    name: str
    count: int
    since: float


class Recorder:
    """Tells of Portfolios."""

    def __init__(self, cluster: Cluster, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster, self._clock = cluster, clock
        self._told: dict[tuple[str, Event], _Told] = {}
        self._tokens: dict[tuple[str, str], tuple[float, float]] = {}

    async def tell(self, body: Mapping[str, Any], event: Event, *, stamp: str) -> None:
        """Emit an Event about a Portfolio, or count it once more.

        Args:
            body: The Portfolio.
            event: What to tell.
            stamp: The time, as Kubernetes writes it.
        """
        uid = str(body["metadata"]["uid"])
        if not self._may(uid, event.type):
            logger.warning("Portfolio %s: too many events; not told: %s", uid, event.message)
            return
        try:
            await self._emit(body, uid, event, stamp)
        except ClusterUnavailable as error:
            logger.warning("event %s is not written: %s", event.reason, error)

    async def _emit(self, body: Mapping[str, Any], uid: str, event: Event, stamp: str) -> None:
        told, namespace = self._recalled(uid, event), str(body["metadata"]["namespace"])
        if told is not None:
            told.count += 1
            if await self._cluster.tell_again(namespace, told.name, count=told.count, time=stamp):
                return
        name = await self._cluster.tell(
            body, kind=event.type, reason=event.reason, message=event.message, time=stamp
        )
        if len(self._told) >= _LARGEST_MEMORY:
            self._told.clear()
        self._told[uid, event] = _Told(name, 1, self._clock())

    def _recalled(self, uid: str, event: Event) -> _Told | None:
        told = self._told.get((uid, event))
        return told if told and self._clock() - told.since < _REMEMBERED_S else None

    def _may(self, uid: str, kind: str) -> bool:
        """Take a token: bursts are fine, floods are not. Warnings have their own."""
        now = self._clock()
        tokens, since = self._tokens.get((uid, kind), (float(_BURST), now))
        tokens = min(tokens + (now - since) / _REFILL_S, float(_BURST))
        if len(self._tokens) >= _LARGEST_MEMORY:
            self._tokens.clear()
        self._tokens[uid, kind] = (max(tokens - 1.0, 0.0) if tokens >= 1.0 else tokens, now)
        return tokens >= 1.0
