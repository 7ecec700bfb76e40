"""Which upstreams did not accept a connection a moment ago; every request need not find out."""

import time
from collections.abc import Callable, Collection

_SECONDS = 3.0
_NEWS_SECONDS = 30.0


class Outages:
    """URLs that are down, each until somebody may try it again."""

    def __init__(self, *, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Make an empty record.

        Args:
            patience: Seconds that a try may take.
            clock: Tells seconds.
        """
        self._patience, self._clock = patience, clock
        self._until: dict[str, float] = {}
        self._told: dict[tuple[str, str], float] = {}

    def admits(self, url: str) -> bool:
        """Say whether a URL may be asked."""
        return self._until.get(url, 0.0) <= self._clock()

    def begin(self, url: str) -> None:
        """Note that somebody asks: of a URL that was down, others wait for the outcome."""
        if url in self._until:
            self._until[url] = self._clock() + self._patience

    def failed(self, url: str) -> None:
        """Note that it did not accept a connection."""
        self._until[url] = self._clock() + _SECONDS

    def succeeded(self, url: str) -> None:
        """Note that it answered."""
        self._until.pop(url, None)

    def is_news(self, url: str, reason: str) -> bool:
        """Say whether a failure is worth a line: not when it has just had one."""
        now = self._clock()
        if now < self._told.get((url, reason), 0.0):
            return False
        self._told[url, reason] = now + _NEWS_SECONDS
        return True

    def keep_only(self, urls: Collection[str]) -> None:
        """Forget what no table names any more."""
        for url in [url for url in self._until if url not in urls]:
            del self._until[url]
        for told in [told for told in self._told if told[0] not in urls]:
            del self._told[told]
