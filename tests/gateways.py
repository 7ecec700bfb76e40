"""A gateway and upstreams over real sockets; the tables come from whoever tests."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import requests
from aiohttp import web
from openai import OpenAI

from palm.route_table import RouteTable
from palm_devcluster.addons import run_kubectl
from palm_devcluster.cluster import EmbeddedCluster
from palm_gateway.directory import Directory
from palm_gateway.service import serve
from palm_gateway.settings import Settings
from routes import config_map, make_table

T = TypeVar("T")

WORDS = ["Once", " upon", " a", " time", " there", " was", " a", " policy", "."]


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        port: int = made.getsockname()[1]
        return port


class Loop:
    """An event loop in a thread, for servers beside a test that blocks."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.start(work).result(timeout=30)

    def call(self, function: Callable[[], T]) -> T:
        async def called() -> T:
            return function()

        return self.run(called())

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=10)
        self.loop.close()


@dataclass
class Upstream:
    """A policy's server: OpenAI-compatible enough, and able to fail in the ways servers do."""

    name: str
    loop: Loop
    port: int = field(default_factory=free_port)
    host: str = "127.0.0.1"
    status: int = 200
    """Status of its answers."""
    manner: str = "well"
    """``well``, ``slow``, ``cut`` (breaks off in the middle), ``hang``, ``drop`` (no answer)."""
    headers: dict[str, str] = field(default_factory=dict)
    seen: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    cancelled: int = 0
    running: int = 0
    most_running: int = 0
    sent: bytes = b""
    """The body of the last stream, as it left here."""
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/v1"

    def start(self) -> None:
        async def started() -> None:
            application = web.Application(client_max_size=64 * 1024 * 1024)
            application.router.add_route("*", "/{path:.*}", self._answer)
            self._runner = web.AppRunner(
                application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
            )
            await self._runner.setup()
            await web.TCPSite(self._runner, self.host, self.port).start()

        self.loop.run(started())

    def stop(self) -> None:
        if self._runner is not None:
            self.loop.run(self._runner.cleanup())
            self._runner = None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        content = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append((request.path, headers, content))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self._answered(request, json.loads(content))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def _answered(self, request: web.Request, ask: dict[str, Any]) -> web.StreamResponse:
        if self.manner == "hang":
            await asyncio.sleep(3600)
        if self.manner == "drop":
            assert request.transport is not None
            request.transport.abort()
            await asyncio.sleep(3600)
        if self.status != 200:
            error = {"error": {"message": f"{self.name} says no", "type": "t", "code": None}}
            return web.json_response(error, status=self.status, headers=self.headers)
        if ask.get("stream"):
            return await self._streamed(request, ask)
        return web.json_response(self._whole(request.path, ask), headers=self.headers)

    def _whole(self, path: str, ask: dict[str, Any]) -> dict[str, Any]:
        kind = "chat.completion" if path.endswith("/chat/completions") else "text_completion"
        text = "".join(WORDS)
        choice = {"index": 0, "finish_reason": "stop"}
        choice |= (
            {"message": {"role": "assistant", "content": text}}
            if kind == "chat.completion"
            else {"text": text}
        )
        return {
            "id": f"from-{self.name}",
            "object": kind,
            "created": 1,
            "model": ask["model"],
            "choices": [choice],
        }

    async def _streamed(self, request: web.Request, ask: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream", **self.headers})
        await response.prepare(request)
        self.sent = b""
        for index, word in enumerate(WORDS):
            chunk = {
                "id": f"from-{self.name}",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": ask["model"],
                "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}],
            }
            part = f"data: {json.dumps(chunk)}\n\n".encode()
            self.sent += part
            await response.write(part)
            await asyncio.sleep(0.2 if self.manner == "slow" else 0.001)
            if self.manner == "cut" and index == 3:
                assert request.transport is not None
                request.transport.abort()
                await asyncio.sleep(3600)
        self.sent += b"data: [DONE]\n\n"
        await response.write(b"data: [DONE]\n\n")
        return response


class Gateway:
    """A running gateway and its clients."""

    def __init__(self, loop: Loop, settings: Settings) -> None:
        self.loop, self.settings = loop, settings
        self.directories: dict[str, Directory] = {}
        self._clients: dict[str, OpenAI] = {}
        self._stop = loop.call(asyncio.Event)

        async def watch(namespace: str, directory: Directory) -> None:
            self.directories[namespace] = directory
            directory.listed(namespace, [])
            await asyncio.sleep(3600)

        self.done = loop.start(serve(settings, watch, stop=self._stop))
        self._await(f"http://127.0.0.1:{settings.admin_port}/readyz")

    @property
    def scheme(self) -> str:
        return "https" if self.settings.tls_certificate else "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.settings.port}/v1"

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.settings.admin_port}"

    def publish(self, table: RouteTable) -> None:
        directory = self.directories[table.namespace]
        self.loop.call(lambda: directory.changed(config_map(table)))

    def retract(self, table: RouteTable) -> None:
        directory = self.directories[table.namespace]
        self.loop.call(lambda: directory.deleted(config_map(table)))

    def client(self, key: str = "none", **arguments: Any) -> OpenAI:
        if key not in self._clients:
            self._clients[key] = OpenAI(
                base_url=self.url, api_key=key, max_retries=0, timeout=20, **arguments
            )
        return self._clients[key]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self.ask_to_stop()
        self.done.result(timeout=30)

    def ask_to_stop(self) -> None:
        self.loop.call(self._stop.set)

    def _await(self, url: str) -> None:
        import requests

        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self.done.done():
                self.done.result()
            try:
                if requests.get(url, timeout=5).status_code == 200:
                    return
            except requests.ConnectionError:
                pass
            time.sleep(0.05)
        raise AssertionError("the gateway is not ready")


UTILITIES = [[1.0, 0.0], [0.7, 0.7], [0.0, 1.0]]
REWARDS = ("helpfulness", "brevity")


def table_of(upstreams: list[Upstream], **parts: Any) -> RouteTable:
    """The table of a trio: each is best for a third or so of the preferences."""
    utilities = UTILITIES[: len(upstreams)]
    return make_table(utilities, urls=[u.url for u in upstreams], rewards=REWARDS, **parts)


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, True, False, False, False),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / f"{name}.crt", folder / f"{name}.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, private


def gateway_account(system: str) -> str:
    """The gateway's ServiceAccount in a release that is named like its namespace."""
    return f"{system}-palm-operator-gateway"


class GatewayProcess:
    """``palm-gateway`` as its Pod would run it, with the chart's rights, on a real API server."""

    def __init__(
        self, cluster: EmbeddedCluster, namespace: str, folder: Path, *, system: str
    ) -> None:
        self.port, self.admin_port = free_port(), free_port()
        self._log = (folder / "gateway.log").open("wb")
        self._environment = {
            **os.environ,
            "KUBECONFIG": str(self._kubeconfig(cluster, namespace, folder, system)),
            "PALM_GATEWAY_NAMESPACES": namespace,
            "PALM_GATEWAY_UPSTREAM_HOSTS": '["127.0.0.1"]',
            "PALM_GATEWAY_PORT": str(self.port),
            "PALM_GATEWAY_ADMIN_PORT": str(self.admin_port),
            "PALM_GATEWAY_DRAIN_SECONDS": "0",
        }
        self.client = OpenAI(
            base_url=f"http://127.0.0.1:{self.port}/v1", api_key="none", max_retries=0, timeout=30
        )

    @staticmethod
    def _kubeconfig(cluster: EmbeddedCluster, namespace: str, folder: Path, system: str) -> Path:
        chart = Path(__file__).parents[1] / "charts" / "palm-operator"
        rights = subprocess.run(
            [
                str(cluster.helm), "template", system, str(chart), "-n", system,
                "--set", "gateway.enabled=true", "--set", f"gateway.namespaces={{{namespace}}}",
                "--show-only=templates/gateway/rbac.yaml",
            ],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        run_kubectl(cluster.kubectl, cluster.kubeconfig, "apply", "-f", "-", stdin=rights)
        account = gateway_account(system)
        token = run_kubectl(
            cluster.kubectl, cluster.kubeconfig, "create", "token", account, "-n", system
        )
        (folder / "token").write_text(token)
        config = json.loads(cluster.kubeconfig.read_text())
        config["users"] = [{"name": "gateway", "user": {"tokenFile": "token"}}]
        for context in config["contexts"]:
            context["context"]["user"] = "gateway"
        (folder / "kubeconfig").write_text(json.dumps(config))
        return folder / "kubeconfig"

    def __enter__(self) -> "GatewayProcess":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "palm_gateway"],
            env=self._environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + 60
        while not self.is_ready:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._process.terminate()
        self._process.wait(timeout=30)
        self._log.close()
        print(self.log)

    @property
    def is_ready(self) -> bool:
        assert self._process.poll() is None, self.log
        try:
            url = f"http://127.0.0.1:{self.admin_port}/readyz"
            return bool(requests.get(url, timeout=5).status_code == 200)
        except requests.ConnectionError:
            return False

    @property
    def log(self) -> str:
        return Path(self._log.name).read_text()

    def chat(self, **preference: float) -> Any:
        return self.client.chat.completions.with_raw_response.create(
            model="assistant",
            messages=[{"role": "user", "content": "a secret question"}],
            max_tokens=4,
            extra_body={"preference": preference} if preference else {},
        )
