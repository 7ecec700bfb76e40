"""HTTP connections of strangers: uvicorn's protocol with a bound on the head of a request.

The parser keeps a head of any length for any time; the server has no limit for either. And the
parser takes what follows a request for an upgrade as another protocol's bytes, so the body of a
request that merely offers one would be lost (Java's HTTP client offers h2c with every request).
"""

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_LONGEST_HEAD = 32 * 1024
_HEAD_SECONDS = 15.0
_END = b"\r\n\r\n"
_UPGRADE = re.compile(rb"\r\nupgrade(?=:)", re.IGNORECASE)


class Connection(HttpToolsProtocol):
    """A connection that is closed when a request's head is too long or takes too long."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_head, self._head_bytes = True, 0
        self._is_fresh, self._head = True, b""
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what is there, a head as soon as it is whole; refuse one that is too long."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_timer is None:
                self._await_head()
        fed = self._whole_head(data) if self._is_fresh else data
        if fed:
            super().data_received(fed)
        if self._in_head and self._head_bytes > _LONGEST_HEAD and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def on_message_begin(self) -> None:
        """Note that the parser is inside a request."""
        self._is_fresh = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop the clock: what follows is bounded elsewhere."""
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect another head."""
        self._in_head, self._head_bytes, self._is_fresh = True, 0, True
        super().on_message_complete()

    def _whole_head(self, data: bytes) -> bytes:
        """Return the head that these bytes complete, and what follows it; b"" while it is not."""
        self._head += data
        end = self._head.find(_END)
        if end < 0:
            self._unset_keepalive_if_required()
            return b""
        head, self._head = self._head, b""
        return _UPGRADE.sub(b"\r\nx-upgrade", head[:end]) + head[end:]

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(_HEAD_SECONDS, self._give_up)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()
