"""One request to one policy, up to the first bytes of its answer."""

import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp

from palm_gateway.answers import Header

USER_AGENT = "palm-gateway"

_IDLE_SECONDS = 4.0  # below the 5 s after which uvicorn, and so vLLM, closes a connection
_DNS_SECONDS = 10
_RELAYED = ("content-type", "content-length", "content-encoding", "cache-control", "retry-after")
# An answer of these kinds is not the user's fault: path, model and credentials are ours.
_NOT_THE_USERS = frozenset({401, 403, 404, 405, 407})


class Unavailable(Exception):
    """A policy cannot answer this request; another may.

    Attributes:
        reason: For the header and for metrics: ``unreachable``, ``disconnected``, ``status-503``.
        is_down: Whether it did not even accept a connection.
    """

    def __init__(self, reason: str, *, is_down: bool = False) -> None:
        self.reason, self.is_down = reason, is_down
        super().__init__(reason)


class Broken(Exception):
    """An answer ended before it was complete; nothing can be mended any more."""


@dataclass
class Answer:
    """An answer whose first bytes are there."""

    status: int
    headers: tuple[Header, ...]
    first: bytes
    _response: aiohttp.ClientResponse

    async def rest(self) -> AsyncIterator[bytes]:
        """Yield the bytes after the first ones as they arrive.

        Raises:
            Broken: The upstream went away in the middle.
        """
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError) as error:
            raise Broken(type(error).__name__) from None

    def close(self) -> None:
        """Give the connection back if the answer is complete, else cut it: nobody listens."""
        self._response.close()


class Upstream:
    """Connections to policies. Follows no redirect, keeps no cookie, knows no proxy."""

    def __init__(self, session: aiohttp.ClientSession, fresh: aiohttp.ClientSession) -> None:
        self._session, self._fresh = session, fresh

    @classmethod
    def connected(cls, *, connect_seconds: float, ca: Path | None) -> Self:
        """Return an upstream with a pool of its own.

        Args:
            connect_seconds: Until a policy that does not accept a connection is down.
            ca: CA certificates of ``https`` upstreams; None: the system's.
        """
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
        common: dict[str, Any] = {"limit": 0, "ttl_dns_cache": _DNS_SECONDS, "ssl": context}
        kept = aiohttp.TCPConnector(keepalive_timeout=_IDLE_SECONDS, **common)
        unkept = aiohttp.TCPConnector(force_close=True, **common)
        return cls(_session(kept, connect_seconds), _session(unkept, connect_seconds))

    async def ask(self, url: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        """Return an answer as soon as its first bytes are there.

        Raises:
            Unavailable: The policy cannot answer; nothing of its answer was used.
        """
        try:
            return await _asked(self._session, url, content, headers)
        except _Disconnected:
            # Perhaps a kept connection that the other side was just closing: a fresh one tells.
            pass
        try:
            return await _asked(self._fresh, url, content, headers)
        except _Disconnected:
            raise Unavailable("disconnected") from None

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()
        await self._fresh.close()


class _Disconnected(Exception):
    """The connection broke before an answer began."""


def _session(connector: aiohttp.TCPConnector, connect_seconds: float) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds),
        headers={"user-agent": USER_AGENT, "accept-encoding": "identity"},
        trust_env=False,
    )


async def _asked(
    session: aiohttp.ClientSession, url: str, content: bytes, headers: Mapping[str, str]
) -> Answer:
    response = None
    try:
        response = await session.post(
            url,
            data=content,
            headers={"content-type": "application/json", **headers},
            allow_redirects=False,
        )
        status = response.status
        if status >= 500 or 300 <= status < 400 or status in _NOT_THE_USERS:
            raise Unavailable(f"status-{status}")
        first = await response.content.readany()
    except BaseException as error:
        if response is not None:
            response.close()
        raise _explained(error) from None
    return Answer(status, _relayed(response), first, response)


def _explained(error: BaseException) -> BaseException:
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return Unavailable("unreachable", is_down=True)
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
        return _Disconnected()
    if isinstance(error, aiohttp.ClientError | OSError | ValueError):
        return Unavailable("disconnected")
    return error


def _relayed(response: aiohttp.ClientResponse) -> tuple[Header, ...]:
    return tuple(
        (name.encode(), value.encode("latin-1"))
        for name in _RELAYED
        if (value := response.headers.get(name)) is not None
    )
