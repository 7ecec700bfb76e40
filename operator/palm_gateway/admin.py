"""``/healthz``, ``/readyz`` and ``/metrics``, on a port of their own that users do not reach."""

from collections.abc import Callable

from palm_gateway.answers import Receive, Scope, Send, answer
from palm_gateway.metrics import Metrics

_TEXT = b"text/plain; charset=utf-8"
_METRICS = b"text/plain; version=0.0.4; charset=utf-8"


class Admin:
    """What the platform asks."""

    def __init__(
        self, metrics: Metrics, *, is_alive: Callable[[], bool], is_ready: Callable[[], bool]
    ) -> None:
        """Make the application.

        Args:
            metrics: What is counted.
            is_alive: Says whether a restart would not help.
            is_ready: Says whether requests may come.
        """
        self._metrics, self._is_alive, self._is_ready = metrics, is_alive, is_ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path == "/healthz":
            await self._say(send, self._is_alive())
        elif path == "/readyz":
            await self._say(send, self._is_ready())
        elif path == "/metrics":
            await answer(send, self._metrics.text(), _METRICS)
        else:
            await answer(send, b"there is no such path\n", _TEXT, status=404)

    @staticmethod
    async def _say(send: Send, truth: bool) -> None:
        await answer(send, b"yes\n" if truth else b"no\n", _TEXT, status=200 if truth else 503)
