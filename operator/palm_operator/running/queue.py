"""One work queue: keyed, deduplicating, debounced, one pass per key at a time, with back-off."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

Key = tuple[str, str]
"""Namespace and name of a Portfolio."""

logger = logging.getLogger(__name__)

DEBOUNCE_SECONDS = 0.3
_FIRST_BACKOFF_SECONDS = 0.5
_LONGEST_BACKOFF_SECONDS = 300.0


class WorkQueue:
    """Calls a function per key: soon after a reason came up, never twice at once.

    Reasons that come while a pass runs bring one more pass after it. A pass that raises is tried
    again, each time later; a new reason does not shorten that.
    """

    def __init__(
        self, work: Callable[[Key], Awaitable[float | None]], *, debounce: float = DEBOUNCE_SECONDS
    ) -> None:
        """Make a queue.

        Args:
            work: One pass; returns in how many seconds another follows, None if none does.
            debounce: Seconds to wait for more reasons before a pass.
        """
        self._work, self._debounce = work, debounce
        self._due: set[Key] = set()
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._failures: dict[Key, int] = {}
        self._alarms: dict[Key, asyncio.TimerHandle] = {}

    def add(self, key: Key) -> None:
        """Ask for a pass over a key."""
        self._due.add(key)
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._serve(key), name=f"pass {key}")

    async def stop(self) -> None:
        """Let no further pass begin and cancel those that run; they are safe to repeat."""
        self._due.clear()
        for alarm in self._alarms.values():
            alarm.cancel()
        self._alarms.clear()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, key: Key) -> None:
        try:
            while key in self._due:
                await asyncio.sleep(self._debounce + self._backoff(key))
                self._due.discard(key)
                await self._once(key)
        finally:
            del self._tasks[key]

    async def _once(self, key: Key) -> None:
        try:
            following = await self._work(key)
        except Exception as error:
            self._failures[key] = self._failures.get(key, 0) + 1
            logger.warning(
                "Portfolio %s/%s: the pass failed (%s); again in %.1f s",
                *key,
                type(error).__name__,
                self._backoff(key),
            )
            self._due.add(key)
        else:
            self._failures.pop(key, None)
            self._follow(key, following)

    def _follow(self, key: Key, seconds: float | None) -> None:
        """Let another pass follow; the latest pass alone says when."""
        if alarm := self._alarms.pop(key, None):
            alarm.cancel()
        if seconds == 0:
            self._due.add(key)
        elif seconds is not None:
            loop = asyncio.get_running_loop()
            self._alarms[key] = loop.call_later(seconds, self._wake, key)

    def _wake(self, key: Key) -> None:
        self._alarms.pop(key, None)
        self.add(key)

    def _backoff(self, key: Key) -> float:
        failures = self._failures.get(key, 0)
        if not failures:
            return 0.0
        return float(min(_FIRST_BACKOFF_SECONDS * 2 ** (failures - 1), _LONGEST_BACKOFF_SECONDS))


async def resync(
    keys: Callable[[], Awaitable[list[Key]]], queue: WorkQueue, *, seconds: float
) -> None:
    """Add every key now and then, forever: a watch may have missed something.

    Args:
        keys: Lists what there is; a failure is logged and tried again.
        queue: Where to add.
        seconds: Mean time between two rounds; spread a little, so that fleets do not march in step.
    """
    while True:
        try:
            for key in await keys():
                queue.add(key)
        except Exception as error:
            logger.error("Portfolios cannot be listed: %s", error)
            await asyncio.sleep(min(seconds, 10.0))
        else:
            await asyncio.sleep(seconds * random.uniform(0.9, 1.1))
