"""What the gateway costs against a direct request, in the same run: ``make bench-gateway``.

Processes: this one makes the load, one is a cheap upstream (and a stand-in for the API server that
lists one route table), one passes bytes on, one is ``palm-gateway``. Their rounds alternate, so
that what else the machine does falls on all. Prints one line per figure, ``name: value``.

- ``added_median_ms``, ``added_p99_ms``: latency of short answers at 100 requests a second, whether
  the one before is done or not, minus that of direct requests in the same round; the median of the
  rounds, since one in which the machine was busy elsewhere says nothing of the gateway, and the
  worst beside it;
- ``bare_relay_added_median_ms``, ``…_p99_ms``: the same for a process that passes bytes on and
  does nothing else: what a second hop costs on this machine, at this hour;
- ``gateway_cpu_ms``: processor time of the gateway's process per short answer;
- ``streaming_ratio``: events per second of 64 streams, each at a model's pace of 50 tokens a
  second, against the same streams directly;
- ``streaming_ceiling_events_per_second``: as many as the gateway relays when nothing paces them;
- ``memory_mib``: the largest resident size of the gateway's process, at the end of it all;
- ``decision_us``: choosing among 8 policies of 3 rewards, preference parsed and header made.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import psutil
import yaml

from gateways import free_port
from palm.routing import parse_preference
from palm_gateway.choice import choose, headers_of
from palm_gateway.tables import route_of
from routes import config_map, make_table

BOUNDS = {
    "added_median_ms": ("at most", 2.0),
    "added_p99_ms": ("at most", 10.0),
    "streaming_ratio": ("at least", 0.95),
    "memory_mib": ("at most", 150.0),
}
_RATE = 100
_ROUND_SECONDS = 5.0
_ROUNDS = 6
_STREAMS = 64
_EVENTS = 150
_PACE = 0.02
_CONNECTIONS = 16

_ANSWER = json.dumps({"id": "x", "choices": [{"message": {"content": "yes " * 20}}]}).encode()
_EVENT = b'data: {"choices":[{"index":0,"delta":{"content":" token"}}],"model":"w00"}\n\n'


# The upstream: its own process, `python tests/bench/gateway.py upstream PORT`.


class Upstream(asyncio.Protocol):
    """HTTP/1.1, as little as it takes: short answers, streams, one list and a silent watch."""

    table = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            _, found, rest = head.partition(b"content-length:")
            length = int(rest.split(b"\r\n", 1)[0]) if found else 0
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if b"watch=true" in head:
            self._transport.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        elif head.startswith(b"get /api/v1/"):
            self._whole(self.table)
        elif b'"stream"' in body:
            pace = 0.0 if b'"unpaced"' in body else _PACE
            self._task = asyncio.get_running_loop().create_task(self._stream(pace))
        else:
            self._whole(_ANSWER)

    def _whole(self, content: bytes) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n%s" % (len(content), content)
        )

    async def _stream(self, pace: float) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        begin = time.monotonic()
        for number in range(_EVENTS):
            self._transport.write(b"%x\r\n%s\r\n" % (len(_EVENT), _EVENT))
            await asyncio.sleep(max(begin + (number + 1) * pace - time.monotonic(), 0))
        self._transport.write(b"0\r\n\r\n")


async def upstream(port: int) -> None:
    url = f"http://127.0.0.1:{port}/v1"
    table = make_table([[1.0, 0.0], [0.7, 0.7], [0.0, 1.0]], urls=[url] * 3)
    Upstream.table = json.dumps(
        {"metadata": {"resourceVersion": "1"}, "items": [config_map(table)]}
    ).encode()
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
    await server.serve_forever()


class Relay(asyncio.Protocol):
    """A connection whose bytes go to another and come back."""

    def __init__(self, port: int) -> None:
        self._port, self._other = port, asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._task = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: Back(self._transport), "127.0.0.1", self._port
        )
        self._other.set_result(transport)

    def data_received(self, data: bytes) -> None:
        self._other.add_done_callback(lambda other: other.result().write(data))

    def connection_lost(self, exc: Exception | None) -> None:
        self._other.add_done_callback(lambda other: other.result().close())


class Back(asyncio.Protocol):
    """The way back."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


async def relay(port: int, to: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Relay(to), "127.0.0.1", port)
    await server.serve_forever()


# The load.


class Connection:
    """One kept connection that sends a request at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, body: bytes) -> tuple[float, int]:
        """Return the seconds until the whole answer is there, and its events."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)
        reader, writer = self._streams
        begin = time.perf_counter()
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"x-palm-preference: reward-0=0.7,reward-1=0.3\r\n"
            b"content-length: %d\r\n\r\n%s" % (len(body), body)
        )
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        if b"chunked" not in head:
            length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            await reader.readexactly(length)
            return time.perf_counter() - begin, 0
        events = 0
        while size := int(await reader.readline(), 16):
            events += (await reader.readexactly(size + 2)).count(b"data: ")
        await reader.readline()
        return time.perf_counter() - begin, events

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


async def short_answers(port: int) -> list[float]:
    """Return the latencies of one round, in seconds."""
    free = [Connection(port) for _ in range(_CONNECTIONS)]
    every = list(free)
    body = json.dumps({"model": "ml/assistant", "messages": [{"role": "user", "content": "x"}]})
    latencies: list[float] = []

    async def one() -> None:
        connection = free.pop() if free else Connection(port)
        if connection not in every:
            every.append(connection)
        latencies.append((await connection.ask(body.encode()))[0])
        free.append(connection)

    for _ in range(2 * _CONNECTIONS):  # warm
        await one()
    latencies.clear()
    begin, tasks = time.perf_counter(), []
    for number in range(int(_RATE * _ROUND_SECONDS)):
        await asyncio.sleep(max(begin + number / _RATE - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(one()))
    await asyncio.gather(*tasks)
    for connection in every:
        connection.close()
    return latencies


async def streams(port: int, count: int, *, unpaced: bool = False) -> float:
    """Return events per second over streams that run at once."""
    parts = {"model": "ml/assistant", "messages": [], "stream": True}
    body = json.dumps(parts | ({"unpaced": True} if unpaced else {})).encode()
    connections = [Connection(port) for _ in range(count)]
    begin = time.perf_counter()
    answers = await asyncio.gather(*(c.ask(body) for c in connections))
    seconds = time.perf_counter() - begin
    for connection in connections:
        connection.close()
    assert {events for _, events in answers} == {_EVENTS}
    return count * _EVENTS / seconds


async def measured(
    direct: int, relayed: int, routed: int, gateway: psutil.Process
) -> dict[str, float]:
    """Return every figure that needs the load."""
    cpu = 0.0
    ports = (direct, relayed, routed)
    latencies: dict[int, list[list[float]]] = {port: [] for port in ports}
    paced: dict[int, list[float]] = {direct: [], routed: []}
    for round_ in range(_ROUNDS):
        for port in ports if round_ % 2 else ports[::-1]:
            before = sum(gateway.cpu_times()[:2])
            latencies[port].append(await short_answers(port))
            cpu += sum(gateway.cpu_times()[:2]) - before if port == routed else 0.0
            if port in paced:
                paced[port].append(await streams(port, _STREAMS))

    def quantiles(port: int, q: float) -> np.ndarray:
        return 1e3 * np.array([np.quantile(round_, q) for round_ in latencies[port]])

    medians = {port: quantiles(port, 0.5) for port in ports}
    p99s = {port: quantiles(port, 0.99) for port in ports}
    answers = sum(len(round_) for round_ in latencies[routed])
    return {
        "direct_median_ms": float(np.median(medians[direct])),
        "direct_p99_ms": float(np.median(p99s[direct])),
        "added_median_ms": float(np.median(medians[routed] - medians[direct])),
        "added_p99_ms": float(np.median(p99s[routed] - p99s[direct])),
        "added_p99_worst_round_ms": float(np.max(p99s[routed] - p99s[direct])),
        "bare_relay_added_median_ms": float(np.median(medians[relayed] - medians[direct])),
        "bare_relay_added_p99_ms": float(np.median(p99s[relayed] - p99s[direct])),
        "gateway_cpu_ms": 1e3 * cpu / answers,
        "streaming_ratio": statistics.median(paced[routed]) / statistics.median(paced[direct]),
        "streaming_ceiling_events_per_second": max(
            [await streams(routed, 8, unpaced=True) for _ in range(3)]
        ),
    }


def decision_us() -> float:
    """Return the microseconds of one decision."""
    table = make_table(np.random.default_rng(0).random((8, 3)).tolist())
    route = route_of(
        config_map(table), namespaces=("ml",), hosts=("*.ml.svc",), default_preferences={}
    )
    count = 5_000
    begin = time.process_time()
    for _ in range(count):
        preference = parse_preference("reward-0=0.5,reward-1=0.3,reward-2=0.2")
        choice = choose(route, preference, lambda _: True)
        headers_of(choice, choice.candidates[0], {})
    return 1e6 * (time.process_time() - begin) / count


async def until_ready(port: int) -> None:
    for _ in range(600):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            answer = await reader.read()
            writer.close()
            if answer.startswith(b"HTTP/1.1 200"):
                return
        except OSError:
            pass
        await asyncio.sleep(0.1)
    raise SystemExit("the gateway is not ready")


def run(folder: Path) -> dict[str, float]:
    """Start the processes, measure, and stop them."""
    direct, relayed, routed, admin = (free_port() for _ in range(4))
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "bench",
        "clusters": [{"name": "bench", "cluster": {"server": f"http://127.0.0.1:{direct}"}}],
        "users": [{"name": "bench", "user": {}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    environment = {
        **os.environ,
        "KUBECONFIG": str(folder / "kubeconfig"),
        "PALM_GATEWAY_NAMESPACES": "ml",
        "PALM_GATEWAY_UPSTREAM_HOSTS": '["127.0.0.1"]',
        "PALM_GATEWAY_HOST": "127.0.0.1",
        "PALM_GATEWAY_PORT": str(routed),
        "PALM_GATEWAY_ADMIN_PORT": str(admin),
        "PALM_GATEWAY_DRAIN_SECONDS": "0",
    }
    here = [sys.executable, str(Path(__file__).resolve())]
    processes = [
        subprocess.Popen([*here, "upstream", str(direct)]),
        subprocess.Popen([*here, "relay", str(relayed), str(direct)]),
        subprocess.Popen([sys.executable, "-m", "palm_gateway"], env=environment),
    ]
    try:
        asyncio.run(until_ready(admin))
        gateway = psutil.Process(processes[-1].pid)
        figures = asyncio.run(measured(direct, relayed, routed, gateway))
        status = Path(f"/proc/{gateway.pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        figures["memory_mib"] = int(peak.split()[1]) / 1024
    finally:
        for process in processes:
            process.terminate()
            process.wait(timeout=20)
    return {**figures, "decision_us": decision_us()}


def within(figures: dict[str, float]) -> Iterable[str]:
    """Yield the names of the figures that miss their bound."""
    for name, (side, bound) in BOUNDS.items():
        if not (figures[name] <= bound if side == "at most" else figures[name] >= bound):
            yield name


def main() -> int:
    if sys.argv[1:2] == ["upstream"]:
        asyncio.run(upstream(int(sys.argv[2])))
        return 0
    if sys.argv[1:2] == ["relay"]:
        asyncio.run(relay(int(sys.argv[2]), int(sys.argv[3])))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        figures = run(Path(folder))
    for name, value in figures.items():
        print(f"{name}: {value:.4g}")
    missed = list(within(figures))
    print(f"load_average: {psutil.getloadavg()[0]:.1f}")
    print(f"missed_bounds: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
