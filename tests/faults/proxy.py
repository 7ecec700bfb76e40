"""A small proxy between one operator and the API server, that misbehaves on demand."""

import asyncio
import base64
import json
import ssl
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

_DROPPED = {"transfer-encoding", "content-length", "connection", "host"}
_WRITES = ("POST", "PUT", "PATCH", "DELETE")


class Manners:
    """How the proxy behaves; this one does as it is told."""

    def answer(self, request: web.Request) -> web.Response | None:
        """Return what is answered instead of the API server; None: it is asked."""
        return None

    def line(self, request: web.Request, event: bytes) -> bytes | None:
        """Return a line of a watch as it is passed on; None: it is kept back."""
        return event

    def lets_end(self, request: web.Request) -> bool:
        """Say whether the end of a watch is passed on."""
        return True


class Answers(Manners):
    """Every request, or every write, or every watch, is answered with one code."""

    def __init__(self, code: int, reason: str, *, which: str = "all", **headers: str) -> None:
        self._code, self._reason, self._which, self._headers = code, reason, which, headers

    def answer(self, request: web.Request) -> web.Response | None:
        is_wanted = {
            "all": True,
            "writes": request.method in _WRITES,
            "watches": is_watch(request),
        }[self._which]
        if not is_wanted:
            return None
        body = _status(self._code, self._reason)
        headers = {name.replace("_", "-"): value for name, value in self._headers.items()}
        return web.json_response(body, status=self._code, headers=headers)


class Expired(Manners):
    """Every watch says that its version is too old, as the API server does: in the stream."""

    def answer(self, request: web.Request) -> web.Response | None:
        if not is_watch(request) or "resourceVersion" not in request.query:
            return None
        event = {"type": "ERROR", "object": _status(410, "Expired")}
        return web.Response(text=json.dumps(event) + "\n", content_type="application/json")


class HidesDeletions(Manners):
    """No watch tells of what is deleted."""

    def line(self, request: web.Request, event: bytes) -> bytes | None:
        return None if json.loads(event).get("type") == "DELETED" else event


class Silent(Manners):
    """Watches stay open, and nothing comes any more, not even their end."""

    def line(self, request: web.Request, event: bytes) -> bytes | None:
        return None

    def lets_end(self, request: web.Request) -> bool:
        return False


class Proxy:
    """Listens on loopback, in a thread of its own."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        """Begin to listen.

        Args:
            kubeconfig: Of the operator, with the API server's own address.
            folder: For the kubeconfig with the proxy's address; it has the operator's token.
        """
        self.manners = Manners()
        document = yaml.safe_load(kubeconfig.read_text())
        self._server = document["clusters"][0]["cluster"]["server"]
        authority = document["clusters"][0]["cluster"]["certificate-authority-data"]
        self._context = ssl.create_default_context()
        folder.mkdir(exist_ok=True)
        (folder / "ca.pem").write_bytes(base64.b64decode(authority))
        self._context.load_verify_locations(folder / "ca.pem")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._watches: set[web.StreamResponse] = set()
        port = self._call(self._begin())
        document["clusters"] = [
            {"name": "proxy", "cluster": {"server": f"http://127.0.0.1:{port}"}}
        ]
        for context in document["contexts"]:
            context["context"]["cluster"] = "proxy"
        (folder / "token").write_text((kubeconfig.parent / "token").read_text())
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(document))

    def cut(self) -> None:
        """End every watch, as a load balancer would."""

        async def end() -> None:
            for watch in list(self._watches):
                if watch._req is not None and watch._req.transport is not None:
                    watch._req.transport.close()

        self._call(end())

    def close(self) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=30)

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=60)

    async def _begin(self) -> int:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._context, limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
            auto_decompress=False,
            # What has no body has no type either: the API server refuses a wrong one with 415.
            skip_auto_headers=["Content-Type"],
        )
        application = web.Application(client_max_size=16 * 1024**2)
        application.router.add_route("*", "/{path:.*}", self._passed)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def _end(self) -> None:
        await self._runner.cleanup()
        # Streams of operators that are gone: nobody is told of their end, and nobody needs to be.
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._session.close()

    async def _passed(self, request: web.Request) -> web.StreamResponse:
        instead = self.manners.answer(request)
        if instead is not None:
            return instead
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _DROPPED}
        try:
            async with self._session.request(
                request.method,
                f"{self._server}{request.path_qs}",
                headers=headers,
                data=await request.read(),
            ) as answer:
                if is_watch(request) and answer.status == 200:
                    return await self._watched(request, answer)
                kept = {k: v for k, v in answer.headers.items() if k.lower() not in _DROPPED}
                return web.Response(status=answer.status, body=await answer.read(), headers=kept)
        except aiohttp.ClientConnectionError:
            return web.json_response(_status(502, "BadGateway"), status=502)

    async def _watched(
        self, request: web.Request, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "application/json"})
        await stream.prepare(request)
        self._watches.add(stream)
        try:
            async for event in _lines(answer):
                passed = self.manners.line(request, event)
                if passed is not None:
                    await stream.write(passed + b"\n")
            while not self.manners.lets_end(request):
                await asyncio.sleep(0.2)
        except (aiohttp.ClientError, ConnectionError):
            pass
        finally:
            self._watches.discard(stream)
        return stream


async def _lines(answer: aiohttp.ClientResponse) -> Any:
    """Yield the lines of a stream; events may be longer than a reader's buffer."""
    rest = b""
    async for part in answer.content.iter_any():
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            if line:
                yield line


def is_watch(request: web.Request) -> bool:
    """Say whether a request is one for a stream of events."""
    return request.query.get("watch") in ("true", "1")


def _status(code: int, reason: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": f"the tests' proxy says {code}",
        "reason": reason,
        "code": code,
    }
