"""The gateway as one coroutine: tables by watch, the API, and what the platform asks."""

import asyncio
import contextlib
import gc
import logging
import ssl
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import uvicorn

from palm_gateway.admin import Admin
from palm_gateway.connection import Connection
from palm_gateway.credentials import Certificate, Tokens, keep_reading
from palm_gateway.directory import Directory
from palm_gateway.gateway import Gateway
from palm_gateway.metrics import Metrics
from palm_gateway.outages import Outages
from palm_gateway.settings import Settings
from palm_gateway.tables import Tables
from palm_gateway.upstream import Upstream

logger = logging.getLogger(__name__)

Watch = Callable[[str, Directory], Coroutine[Any, Any, None]]

_LAST_SECONDS = 1.0


class _Server(uvicorn.Server):
    """A server that leaves signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(settings: Settings, watch: Watch, *, stop: asyncio.Event) -> None:
    """Serve until asked to stop; requests that are being answered are finished then.

    Args:
        settings: The gateway's settings.
        watch: Tells of a namespace's route tables, for ever.
        stop: Set by whoever wants the gateway to end.

    Raises:
        ValueError: A token or certificate file cannot be used.
    """
    tokens = Tokens(settings.token_file)
    certificate = _certificate(settings)
    metrics = Metrics()
    outages = Outages(patience=settings.connect_seconds)

    def changed(tables: Tables) -> None:
        metrics.follow(tables)
        metrics.refused.set(directory.refused)
        routes = tables.by_key.values()
        outages.keep_only({p.url for route in routes for p in route.table.policies if p.url})

    directory = Directory(settings, changed)
    upstream = Upstream.connected(connect_seconds=settings.connect_seconds, ca=settings.upstream_ca)
    gateway = Gateway(
        settings,
        tables=lambda: directory.tables,
        upstream=upstream,
        outages=outages,
        tokens=tokens,
        metrics=metrics,
    )
    background = [
        asyncio.create_task(watch(namespace, directory)) for namespace in settings.namespaces
    ]
    sources = (tokens, certificate) if certificate else (tokens,)
    background.append(asyncio.create_task(keep_reading(*sources)))
    admin = Admin(
        metrics,
        is_alive=lambda: not any(task.done() for task in background),
        is_ready=lambda: directory.is_synced and not gateway.is_draining,
    )
    api = _server(
        gateway, settings.host, settings.port, certificate=certificate,
        seconds=settings.timeout_seconds,
    )  # fmt: skip
    aside = _server(admin, settings.host, settings.admin_port)
    running = [asyncio.create_task(server.serve()) for server in (api, aside)]
    # What is there now stays: a full collection would stop every stream for tens of milliseconds.
    gc.collect()
    gc.freeze()
    try:
        await _until(stop, running)
        gateway.is_draining = True
        logger.info("stopping: no new requests in %g s", settings.drain_seconds)
        await asyncio.sleep(settings.drain_seconds)
        api.should_exit = True
        await running[0]
    finally:
        aside.should_exit = api.should_exit = True
        await asyncio.gather(*running, return_exceptions=True)
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await upstream.close()


async def _until(stop: asyncio.Event, running: list[asyncio.Task[None]]) -> None:
    """Wait for the wish to stop; a server that ends by itself could not begin."""
    wish = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait((wish, *running), return_when=asyncio.FIRST_COMPLETED)
    wish.cancel()
    if wish not in done:
        raise OSError("a server could not listen")


def _certificate(settings: Settings) -> Certificate | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return Certificate(settings.tls_certificate, settings.tls_key)


def _server(
    application: Any,
    host: str,
    port: int,
    *,
    certificate: Certificate | None = None,
    seconds: float = _LAST_SECONDS,
) -> _Server:
    def context(*_: Any) -> ssl.SSLContext:
        assert certificate is not None
        return certificate.context

    config = uvicorn.Config(
        application,
        host=host or None,  # type: ignore[arg-type]  # asyncio's word for every address
        port=port,
        http=Connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=max(int(seconds), 1),
        ssl_context_factory=context if certificate else None,
    )
    return _Server(config)
