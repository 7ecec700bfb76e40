"""The node's HTTPS server: container logs for ``kubectl logs``."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from palm_devcluster.node import logs
from palm_devcluster.node.addresses import ADDRESS
from palm_devcluster.node.agent import Agent

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_UNSUPPORTED = "the process node offers logs only: no exec, attach, portForward or debugging\n"


@web.middleware
async def _authenticated(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Only /healthz is open; the rest wants a certificate that the client CA has signed."""
    if request.path != "/healthz":
        certificate = request.transport and request.transport.get_extra_info("peercert")
        if not certificate:
            return web.Response(status=401, text="a client certificate is required\n")
    return await handler(request)


def _tls(certificate: Path, key: Path, client_ca: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(client_ca))
    context.verify_mode = ssl.CERT_OPTIONAL  # a wrong certificate is refused, none is left to us
    context.load_cert_chain(certificate, key)
    return context


class Server:
    """Serves the logs of an agent's Pods."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=1.0)

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[_authenticated])
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/pods", self._pods)
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        for verb in ("exec", "attach", "portForward", "run"):
            application.router.add_route("*", f"/{verb}/{{rest:.*}}", self._unsupported)
        return application

    async def start(self, port: int, certificate: Path, key: Path, client_ca: Path) -> None:
        """Listen on loopback."""
        await self._runner.setup()
        tls = _tls(certificate, key, client_ca)
        await web.TCPSite(self._runner, ADDRESS, port, ssl_context=tls).start()

    async def stop(self) -> None:
        """Close every connection."""
        await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _pods(self, _: web.Request) -> web.Response:
        items = self._agent.pods()
        return web.json_response({"apiVersion": "v1", "kind": "PodList", "items": items})

    async def _unsupported(self, _: web.Request) -> web.Response:
        return web.Response(status=501, text=_UNSUPPORTED)

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        try:
            options = logs.log_options(request.query, datetime.now(UTC))
        except ValueError as error:
            return web.Response(status=400, text=f"log options: {error}\n")
        where = request.match_info
        worker = self._agent.worker(where["namespace"], where["pod"])
        label = f"container {where['container']!r} in pod {where['pod']!r}"
        if worker is None or where["container"] not in worker.containers:
            return web.Response(status=404, text=f"{label} is not on this node\n")
        found = worker.processes.log_folder(where["container"], previous=options.previous)
        if found is None or not (found[0] / "log").exists():
            which = "previous terminated " if options.previous else ""
            what = "not found" if options.previous else "is waiting to start"
            return web.Response(status=400, text=f"{which}{label} {what}\n")
        folder, number = found
        record = worker.processes.record(where["container"])
        if options.follow and not options.previous:
            lines = logs.followed(folder, options, lambda: not record.attempt(number).alive)
        else:
            lines = _from_list(logs.selected(logs.stored_lines(folder), options))
        return await _stream(request, lines)


async def _from_list(lines: Iterator[bytes]) -> AsyncIterator[bytes]:
    for line in lines:
        yield line


async def _stream(request: web.Request, lines: AsyncIterator[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    async for line in lines:
        await response.write(line)
    await response.write_eof()
    return response
