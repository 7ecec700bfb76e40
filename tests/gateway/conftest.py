"""A gateway over real sockets, in front of small real upstreams; its tables come from the test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateways import Gateway, Loop, Upstream, free_port, make_certificate, table_of
from palm_gateway.settings import Settings


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


@pytest.fixture
def start_gateway(loop: Loop) -> Iterator[Callable[..., Gateway]]:
    """Starts a gateway with settings that differ from the ordinary ones."""
    made: list[Gateway] = []

    def start(**settings: Any) -> Gateway:
        ordinary: dict[str, Any] = {
            "namespaces": ("ml", "other"),
            "upstream_hosts": ("127.0.0.1",),
            "host": "127.0.0.1",
            "port": free_port(),
            "admin_port": free_port(),
            "connect_seconds": 10.0,  # hundreds of threads share this process
            "timeout_seconds": 20.0,
            "drain_seconds": 0.0,
        }
        gateway = Gateway(loop, Settings(**{**ordinary, **settings}))
        made.append(gateway)
        return gateway

    yield start
    for gateway in made:
        gateway.close()


@pytest.fixture
def gateway(start_gateway: Callable[..., Gateway]) -> Gateway:
    return start_gateway()


@pytest.fixture
def start_upstream(loop: Loop) -> Iterator[Callable[[str], Upstream]]:
    made: list[Upstream] = []

    def start(name: str) -> Upstream:
        upstream = Upstream(name, loop)
        upstream.start()
        made.append(upstream)
        return upstream

    yield start
    for upstream in made:
        upstream.stop()


@pytest.fixture
def trio(start_upstream: Callable[[str], Upstream]) -> list[Upstream]:
    """Upstreams of helpful, balanced and brief policies, in this order."""
    return [start_upstream(name) for name in ("helpful", "balanced", "brief")]


@pytest.fixture
def served(gateway: Gateway, trio: list[Upstream]) -> Gateway:
    """A gateway that serves ``ml/assistant`` with the trio."""
    gateway.publish(table_of(trio))
    return gateway


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Certificate and key of 127.0.0.1, signed by itself."""
    return make_certificate(tmp_path, "first")
