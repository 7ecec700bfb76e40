"""``make no-gap``: does a user ever notice? A constant load while everything else changes.

On an embedded cluster of its own, with the operator and two replicas of the gateway installed by
the chart, a served Portfolio is refreshed, moved to one shared server and back, the operator and
the gateway are restarted, and Pods are killed. Requests go through the gateway's Service. Prints a
table of what happened to the requests of each phase and, last, one line with the sums. Exit code 1
when a request failed during a switch, or more did while Pods were killed than were under way.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

BENCH = Path(__file__).parent
# The tests' own tenant is what is served here too.
sys.path[:0] = [str(BENCH), str(BENCH.parent / "serving"), str(BENCH.parent)]

from load import Load, Phase  # noqa: E402

from conftest import NAME, SEEDS, Tenant, prepared  # noqa: E402
from palm.route_table import RouteTable, parse_route_table  # noqa: E402
from palm_devcluster.cluster import EmbeddedCluster  # noqa: E402
from palm_devcluster.demo import install  # noqa: E402
from palm_devcluster.demo.tools import Tools  # noqa: E402

_CLIENTS = 6
_PAUSE = 0.1
_SECONDS = 600.0
_PER_POLICY: dict[str, Any] = {"mode": "PerPolicy"}
_SHARED: dict[str, Any] = {"mode": "SharedAdapters"}

console = Console(highlight=False, width=120)


@dataclass(frozen=True)
class World:
    """What is served, and by what."""

    tenant: Tenant
    tools: Tools
    load: Load

    # What a user of the cluster would do.

    def refresh(self, seed: int, serving: dict[str, Any]) -> None:
        """Another revision, or another way to serve: until the old servers are gone."""
        self.begin(seed, serving)
        self.settle()

    def begin(self, seed: int, serving: dict[str, Any]) -> None:
        self.tenant.apply(seed, **serving)

    def settle(self) -> None:
        tenant = self.tenant
        tenant.eventually(tenant.says("Published", "True"), seconds=_SECONDS)
        tenant.eventually(self._only_the_new, seconds=_SECONDS)

    def roll(self, deployment: str) -> None:
        """``kubectl rollout restart`` until nothing of the old one is left."""
        before = {pod["metadata"]["name"] for pod in self.pods(deployment)}
        self._system("rollout", "restart", f"deployment/{deployment}")
        self._system("rollout", "status", f"deployment/{deployment}", "--timeout=300s")
        self.tenant.eventually(
            lambda: before.isdisjoint(p["metadata"]["name"] for p in self.pods(deployment)),
            seconds=_SECONDS,
        )

    def pods(self, deployment: str) -> list[Any]:
        name = "palm-gateway" if deployment == install.GATEWAY else "palm-operator"
        selector = f"app.kubernetes.io/name={name}"
        return self.tools.items("pods", "-n", install.SYSTEM_NAMESPACE, "-l", selector)

    def crash(self, pod: Any) -> None:
        """Kill a Pod's processes, as a kernel that is out of memory would; it starts again."""
        name = pod["metadata"]["name"]
        killed = [p for p in psutil.process_iter() if _hostname(p) == name]
        assert killed, f"no process of Pod {name}"
        for process in killed:
            process.kill()

    def ready(self, deployment: str) -> None:
        self.tenant.eventually(lambda: all(map(_is_ready, self.pods(deployment))), seconds=_SECONDS)

    def servers(self) -> list[Any]:
        return self.tenant.objects("pods", "-l", "serving.kserve.io/inferenceservice")

    def table(self) -> RouteTable:
        (body,) = [
            found
            for found in self.tenant.objects("configmaps")
            if found["metadata"]["name"] == f"{NAME}-routes"
        ]
        return parse_route_table(body["data"]["routes.json"])

    def _only_the_new(self) -> bool:
        wanted = {policy["service"] for policy in self.tenant.policies}
        there = {service["metadata"]["name"] for service in self.tenant.objects("isvc")}
        ready = all(policy.ready for policy in self.table().policies)
        return ready and there == wanted and len(self.servers()) == len(wanted)

    def _system(self, *arguments: str) -> None:
        self.tools.kubectl("-n", install.SYSTEM_NAMESPACE, *arguments)


def _hostname(process: psutil.Process) -> str:
    try:
        return str(process.environ().get("HOSTNAME", ""))
    except psutil.Error:
        return ""


def _is_ready(pod: Any) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


# The phases.


def refresh(world: World) -> None:
    """refresh"""
    world.refresh(SEEDS[1], _PER_POLICY)


def refresh_with_crashes(world: World) -> None:
    """refresh, operator crashing"""
    (operator,) = world.pods(install.RELEASE)
    world.crash(operator)
    world.begin(SEEDS[0], _PER_POLICY)
    world.tenant.eventually(lambda: len(world.servers()) > 2, seconds=_SECONDS)
    world.crash(operator)
    world.settle()


def to_shared(world: World) -> None:
    """to one shared server"""
    world.refresh(SEEDS[0], _SHARED)


def refresh_shared(world: World) -> None:
    """refresh of the shared one"""
    world.refresh(SEEDS[1], _SHARED)


def to_own(world: World) -> None:
    """to a server per policy"""
    world.refresh(SEEDS[1], _PER_POLICY)


def roll_operator(world: World) -> None:
    """operator rolled"""
    world.roll(install.RELEASE)


def roll_gateway(world: World) -> None:
    """gateway rolled"""
    world.roll(install.GATEWAY)


def crash_policies(world: World) -> None:
    """policies' Pods killed"""
    for pod in world.servers():
        world.crash(pod)
        world.tenant.eventually(lambda: not all(map(_is_ready, world.servers())))
        world.tenant.eventually(lambda: all(map(_is_ready, world.servers())), seconds=_SECONDS)


def crash_gateways(world: World) -> None:
    """gateway's Pods killed"""
    for pod in world.pods(install.GATEWAY):
        world.crash(pod)
        world.tenant.eventually(lambda: not all(map(_is_ready, world.pods(install.GATEWAY))))
        world.ready(install.GATEWAY)


Act = Callable[[World], None]

SWITCHES: tuple[Act, ...] = (
    refresh, refresh_with_crashes, roll_operator, roll_gateway, to_shared, refresh_shared, to_own,
)  # fmt: skip
KILLS: tuple[Act, ...] = (crash_policies, crash_gateways)


def run(world: World, requests: int) -> None:
    """Go through every phase, then through refreshes until there were so many requests."""
    for act in SWITCHES:
        one(world, act, kills=False)
    for act in KILLS:
        one(world, act, kills=True)
    seeds = iter(SEEDS * requests)
    while world.load.requests < requests:
        seed = next(seeds)
        one(world, lambda world, seed=seed: world.refresh(seed, _PER_POLICY),
            kills=False, name=refresh.__doc__ or "")  # fmt: skip


def one(world: World, act: Act, *, kills: bool, name: str = "") -> None:
    name = name or act.__doc__ or ""
    console.print(f"[bold cyan]==>[/] {name} …")
    with world.load.phase(name, kills=kills) as phase:
        act(world)
    console.print(
        f"    {phase.seconds:.0f} s, {phase.requests} requests, {phase.failed} failed, "
        f"{phase.rerouted} answered by the next best policy"
    )
    for problem, count in phase.failures.most_common(5):
        console.print(f"    {count} x {problem}", markup=False)


def table(phases: list[Phase]) -> Table:
    """Return what happened, for people."""
    made = Table()
    made.add_column("while", no_wrap=True)
    for column in ("s", "requests", "failed", "next best", "median ms", "longest ms"):
        made.add_column(column, justify="right", no_wrap=True)
    for phase in phases:
        latencies = sorted(phase.latencies) or [0.0]
        made.add_row(
            phase.name,
            f"{phase.seconds:.0f}",
            str(phase.requests),
            str(phase.failed),
            str(phase.rerouted),
            f"{1e3 * latencies[len(latencies) // 2]:.0f}",
            f"{1e3 * latencies[-1]:.0f}",
        )
    return made


@contextmanager
def world_of(folder: Path) -> Iterator[World]:
    """A cluster with all that is needed, its Portfolio served and its load begun."""
    cluster = EmbeddedCluster(folder / "cluster")
    try:
        console.print("[bold cyan]==>[/] Starting the embedded cluster …")
        cluster.up(progress=lambda text: console.print(f"    {text}", markup=False))
        os.environ["AWS_ACCESS_KEY_ID"] = cluster.s3.access_key
        os.environ["AWS_SECRET_ACCESS_KEY"] = cluster.s3.secret_key
        tools = Tools(cluster.kubectl, cluster.helm, cluster.kubeconfig)
        console.print("[bold cyan]==>[/] Installing the chart, serving the Portfolio …")
        tenant = prepared(cluster, install.DEMO_NAMESPACE)
        install.prepare_namespaces(tools, cluster)
        install.install_operator(tools, cluster, install.checkout())
        model = f"{tenant.namespace}/{NAME}"
        url = f"{install.gateway_url(cluster)}/v1"
        load = Load(url, model, clients=_CLIENTS, pause=_PAUSE)
        world = World(tenant, tools, load)
        world.refresh(SEEDS[0], _PER_POLICY)
        with load:
            yield world
    finally:
        cluster.down(purge=True, progress=lambda _: None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=12_000, help="at least so many (12000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="palm-no-gap-") as folder, world_of(Path(folder)) as w:
        run(w, options.requests)
    phases = w.load.phases
    console.print(table(phases))
    in_switches = sum(phase.failed for phase in phases if not phase.kills)
    in_kills = sum(phase.failed for phase in phases if phase.kills)
    # Of each Pod that dies, what is under way there may be lost: no more than there are clients.
    bound = _CLIENTS * 2 * len(KILLS)
    if in_kills > bound:
        console.print(f"{in_kills} failed while Pods were killed; at most {bound} were under way")
    print(
        f"no gap: {w.load.requests} requests, {in_switches} failed during switches, "
        f"{in_kills} failed while pods were killed"
    )
    return 1 if in_switches or in_kills > bound else 0


if __name__ == "__main__":
    sys.exit(main())
