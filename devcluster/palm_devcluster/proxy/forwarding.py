"""Forwarding one HTTP request to a Pod, streaming both ways."""

import random
from collections.abc import Callable

import aiohttp
from aiohttp import web
from yarl import URL

from palm_devcluster.proxy.routing import NoRoute, destination

Backends = Callable[[str, str, str], list[tuple[str, int]]]
"""Namespace, Service and port to addresses; raises NoRoute."""

# RFC 9110 §7.6.1: these concern one connection, not the message.
_HOP_BY_HOP = frozenset(
    [
        "connection",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
_CONNECT_S = 2.0


class Forwarder:
    """Answers requests with what a Pod behind their Service answers."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
            # A connection per request: one that is kept may belong to a Pod that is going.
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close the connections to Pods."""
        await self._session.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Forward a request; 503 where no Pod is Ready, 502 where none accepts it."""
        try:
            to = destination(request.rel_url.raw_path)
            choices = self._backends(to.namespace, to.service, to.port)
        except NoRoute as error:
            return _refused(error.code, str(error))
        if not choices:
            return _refused(503, f"Service {to.namespace}/{to.service} has no Pod that is Ready")
        query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
        for host, port in random.sample(choices, k=len(choices)):
            url = URL(f"http://{host}:{port}{to.rest}{query}", encoded=True)
            try:
                return await self._forwarded(request, url)
            except aiohttp.ClientConnectorError:  # nothing was sent: another Pod may do
                continue
            except aiohttp.ClientError as error:
                return _refused(502, f"{host}:{port}: {type(error).__name__}: {error}")
        return _refused(502, f"no Pod of Service {to.namespace}/{to.service} accepts connections")

    async def _forwarded(self, request: web.Request, url: URL) -> web.StreamResponse:
        headers = [(k, v) for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP]
        body = request.content.iter_any() if request.can_read_body else None
        async with self._session.request(
            request.method, url, headers=headers, data=body, allow_redirects=False
        ) as answer:
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            for name, value in answer.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    response.headers.add(name, value)
            await response.prepare(request)
            try:
                async for part in answer.content.iter_any():
                    await response.write(part)
                await response.write_eof()
            except (aiohttp.ClientError, ConnectionError):
                # Half an answer is out: breaking off is how HTTP says so.
                if request.transport is not None:
                    request.transport.abort()
            return response


def _refused(code: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "code": code}}, status=code)
