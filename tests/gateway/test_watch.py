"""The watch against an API server that does what a real one does only on its bad days."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from gateways import Loop, free_port
from palm_gateway import watch
from palm_gateway.watch import follow
from routes import config_map, make_table

Answer = Callable[[web.Request], Any]


def body(portfolio: str, version: int) -> dict[str, Any]:
    table = make_table([[1.0, 0.0], [0.0, 1.0]], portfolio=portfolio)
    return config_map(table, resourceVersion=str(version))


class ApiServer:
    """Answers lists and watches as the test says, one after the other; then it keeps silent."""

    def __init__(self, loop: Loop) -> None:
        self.lists: list[Any] = []
        self.watches: list[list[Any]] = []
        self.seen: list[dict[str, str]] = []
        self.port = free_port()
        self._loop, self._runner = loop, None

    def start(self) -> None:
        async def started() -> None:
            application = web.Application()
            application.router.add_get("/api/v1/namespaces/ml/configmaps", self._answer)
            self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
            await self._runner.setup()
            await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

        self._loop.run(started())

    def stop(self) -> None:
        if self._runner is not None:
            self._loop.run(self._runner.cleanup())

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(dict(request.query))
        if "watch" not in request.query:
            answer = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
            if isinstance(answer, int):
                return web.json_response({"kind": "Status", "message": "no"}, status=answer)
            return web.json_response({"metadata": {"resourceVersion": "7"}, "items": answer})
        response = web.StreamResponse()
        await response.prepare(request)
        if not self.watches:
            await asyncio.sleep(3600)
        for event in self.watches.pop(0):
            line = event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n"
            await response.write(line)
        return response


class Told:
    """What the follower is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def listed(self, namespace: str, bodies: list[dict[str, Any]]) -> None:
        names = ",".join(item["metadata"]["name"] for item in bodies)
        self.events.append(("listed", f"{namespace}:{names}"))

    def changed(self, item: dict[str, Any]) -> None:
        self.events.append(("changed", item["metadata"]["name"]))

    def deleted(self, item: dict[str, Any]) -> None:
        self.events.append(("deleted", item["metadata"]["name"]))

    def await_events(self, count: int) -> list[tuple[str, str]]:
        deadline = time.monotonic() + 10
        while len(self.events) < count:
            assert time.monotonic() < deadline, self.events
            time.sleep(0.02)
        return self.events


@pytest.fixture
def server(loop: Loop) -> Iterator[ApiServer]:
    made = ApiServer(loop)
    yield made
    made.stop()


@pytest.fixture
def told(server: ApiServer, loop: Loop) -> Iterator[Told]:
    """What somebody hears who follows namespace ``ml`` of the server."""
    made = Told()

    async def following() -> None:
        configuration = Configuration(host=f"http://127.0.0.1:{server.port}")
        async with ApiClient(configuration=configuration) as client:
            await follow(client, "ml", made)

    future = loop.start(following())
    yield made
    future.cancel()
    loop.run(asyncio.sleep(0.1))


def event(kind: str, portfolio: str, version: int) -> dict[str, Any]:
    return {"type": kind, "object": body(portfolio, version)}


GONE = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}
BOOKMARK = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "99"}}}


def test_what_is_listed_and_what_changes_is_told(server, told):
    server.lists = [[body("a", 5)]]
    server.watches = [
        [event("ADDED", "b", 8), event("MODIFIED", "a", 9), event("DELETED", "b", 10)]
    ]
    server.start()
    assert told.await_events(4) == [
        ("listed", "ml:a-routes"),
        ("changed", "b-routes"),
        ("changed", "a-routes"),
        ("deleted", "b-routes"),
    ]
    assert server.seen[0] == {
        "labelSelector": "palm-operator.dev/component=route-table,!palm-operator.dev/operator-class"
    }
    assert server.seen[1]["resourceVersion"] == "7"


def test_a_watch_that_ends_goes_on_where_it_was(server, told):
    server.lists = [[]]
    server.watches = [[event("ADDED", "a", 8), BOOKMARK], [event("ADDED", "b", 100)]]
    server.start()
    assert [kind for kind, _ in told.await_events(3)] == ["listed", "changed", "changed"]
    assert [seen.get("resourceVersion") for seen in server.seen[:3]] == [None, "7", "99"]


@pytest.mark.parametrize(
    "accident",
    [
        GONE,
        {"type": "ERROR", "object": {"code": 500, "reason": "InternalError"}},
        {"type": "ADDED"},
        b"no json\n",
        b'{"type": "ADDED", "obj',
        b"[]\n",
    ],
)
def test_after_an_accident_all_is_listed_again(server, told, accident, monkeypatch):
    monkeypatch.setattr(watch, "_FIRST_BACKOFF_SECONDS", 0.01)
    server.lists = [[body("a", 5)], [body("b", 6)]]
    server.watches = [[accident]]
    server.start()
    assert told.await_events(2) == [("listed", "ml:a-routes"), ("listed", "ml:b-routes")]


def test_a_server_that_refuses_or_is_not_there_is_asked_again(server, told, monkeypatch, caplog):
    monkeypatch.setattr(watch, "_FIRST_BACKOFF_SECONDS", 0.01)
    time.sleep(0.3)
    server.lists = [403, 503, [body("a", 5)]]
    server.start()
    assert told.await_events(1) == [("listed", "ml:a-routes")]
    assert "the API server answered 403" in caplog.text


def test_a_table_of_the_largest_size_passes_the_watch(server, told):
    large = event("ADDED", "a", 8)
    large["object"]["data"]["routes.json"] = "x" * 128 * 1024
    large["object"]["metadata"]["managedFields"] = [{"fieldsV1": {"x" * 60_000: {}}}]
    server.lists = [[]]
    server.watches = [[large]]
    server.start()
    assert told.await_events(2)[1] == ("changed", "a-routes")


def test_a_program_that_is_told_nothing_says_what_it_needs():
    done = subprocess.run(
        [sys.executable, "-m", "palm_gateway"], env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("palm-gateway: PALM_GATEWAY_NAMESPACES is ''; it must name")


def test_help_explains_every_setting():
    done = subprocess.run(
        [sys.executable, "-m", "palm_gateway", "--help"], capture_output=True, text=True, check=True
    )
    for name in ("NAMESPACES", "UPSTREAM_HOSTS", "TOKEN_FILE", "DRAIN_SECONDS"):
        assert f"PALM_GATEWAY_{name}" in done.stdout
