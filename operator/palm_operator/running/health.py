"""``/healthz``: does the operator still see the cluster? ``/readyz``: has it begun to?

One that only waits for the Lease is as healthy and ready as the one that leads.
"""

import time
from collections.abc import Callable

from aiohttp import web

_TOLERATED_RESYNCS = 3.0


class Health:
    """When Portfolios were last listed; a process that cannot list is worth a restart."""

    def __init__(
        self, resync_seconds: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._limit = _TOLERATED_RESYNCS * max(resync_seconds, 10.0)
        self._since = clock()
        self.is_ready = False

    def listed(self) -> None:
        """Note that the API server has just answered: Portfolios, or a candidate's Lease."""
        self._since = self._clock()
        self.is_ready = True

    @property
    def age(self) -> float:
        """Return the seconds since the last list, or since the start."""
        return self._clock() - self._since

    @property
    def is_alive(self) -> bool:
        """Say whether the last list is recent enough."""
        return self.age <= self._limit

    async def serve(self, host: str, port: int) -> web.AppRunner:
        """Answer probes until the runner is cleaned up; an empty host is every address."""
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, host or None, port).start()
        return runner

    async def _healthz(self, _: web.Request) -> web.Response:
        text = f"the API server last answered {self.age:.0f} s ago; limit {self._limit:.0f} s\n"
        return web.Response(text=text, status=200 if self.is_alive else 503)

    async def _readyz(self, _: web.Request) -> web.Response:
        text = "ready\n" if self.is_ready else "the API server has not answered yet\n"
        return web.Response(text=text, status=200 if self.is_ready else 503)
