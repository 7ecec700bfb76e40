"""``make wrong-watches``: what an operator makes of an API server that misbehaves.

Each fault has an operator, a proxy and a Portfolio of its own. While the fault lasts a person acts:
the spec is edited, or a Job is deleted. Prints a line per fault with the seconds that passed, after
the fault, until the operator had acted on that; the last line says for how many it was within one
resync. Nothing may be lost and no Job be created twice. Exit code 1 otherwise.
"""

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]

from faults.lab import STOPPING, Lab, Tenant, end_tidily, lab
from faults.operator_process import WatchedOperator
from faults.proxy import Answers, Expired, HidesDeletions, Manners, Proxy, Silent
from palm_devcluster import processes
from palm_devcluster.paths import ClusterPaths

_PATIENCE = 600.0
_POLL = 0.2
_JITTER = 1.1  # resyncs of fleets do not march in step
_PASS_SECONDS = 5.0


@dataclass
class Scene:
    """One operator behind its proxy, and its Portfolio."""

    lab: Lab
    tenant: Tenant
    proxy: Proxy
    operator: WatchedOperator
    resync: float
    restarts: int = 0

    def edit(self) -> None:
        self.tenant.apply(training={"seed": 2, "parallelism": 2})

    def has_seen_edit(self) -> bool:
        body = self.tenant.portfolio
        seen = body.get("status", {}).get("observedGeneration")
        return bool(seen == body["metadata"]["generation"]) and self.jobs() > 7

    def jobs(self) -> int:
        return sum(self.tenant.jobs_created().values())

    def supervise(self) -> None:
        """Start the operator again where it ended, as a kubelet would."""
        if self.operator.exit_code is not None:
            self.restarts += 1
            self.operator.start()

    def until(self, holds: Callable[[], bool], what: str) -> float:
        """Wait; return for how many seconds."""
        began = time.monotonic()
        while not holds():
            self.supervise()
            waited = time.monotonic() - began
            assert not STOPPING.is_set(), "interrupted"
            assert waited < _PATIENCE, (
                f"not within {_PATIENCE:.0f} s: {what}; it says {self.tenant.condition('Ready')}"
            )
            time.sleep(_POLL)
        return time.monotonic() - began


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong between operator and API server."""

    name: str
    play: Callable[[Scene, float], float]
    """Lets it happen for so many seconds; returns how long recovery took after it."""
    seconds: float
    """In full; the tests are content with less."""
    training_seconds: float = 0.0
    """Of the Portfolio's first Jobs; 0 lets it be served before anything goes wrong."""
    repeated: int = 0
    """Jobs that have to be created a second time."""
    restarts: int = 0
    """How often the operator may end, to be started again by the kubelet."""


@dataclass
class Result:
    """How a fault was stood."""

    fault: Fault
    recovery: float = 0.0
    restarts: int = 0
    problems: list[str] = field(default_factory=list)


def _while_misbehaving(manners: Manners) -> Callable[[Scene, float], float]:
    """A fault during which the spec is edited."""

    def play(scene: Scene, seconds: float) -> float:
        scene.proxy.manners = manners
        scene.proxy.cut()
        scene.edit()
        _last(scene, seconds)
        scene.proxy.manners = Manners()
        return scene.until(scene.has_seen_edit, "acts on the edit")

    return play


def _silent_stream(scene: Scene, _: float) -> float:
    """Silence does not end: a resync has to make up for it."""
    scene.proxy.manners = Silent()
    scene.edit()
    return scene.until(scene.has_seen_edit, "acts on the edit")


def _missed_deletion(scene: Scene, seconds: float) -> float:
    """A Job is deleted; no watch tells of it, and then no watch can go on from where it was."""
    scene.proxy.manners = HidesDeletions()
    running = [job for job in scene.tenant.objects("jobs") if not job["status"].get("succeeded")]
    name = running[0]["metadata"]["name"]
    path = f"/apis/batch/v1/namespaces/{scene.tenant.namespace}/jobs/{name}"
    scene.lab.api.delete(path)
    scene.until(lambda: not scene.lab.api.get(path) or scene.jobs() > 3, "the Job is gone")
    scene.proxy.manners = Expired()
    scene.proxy.cut()
    _last(scene, seconds)
    scene.proxy.manners = Manners()
    recovery = scene.until(lambda: scene.jobs() == 4, "makes the Job anew")
    scene.edit()
    return recovery


def _restarted_server(scene: Scene, _: float) -> float:
    """The API server is killed and started again."""
    cluster = scene.lab.cluster
    processes.stop(ClusterPaths(cluster.root), "kube-apiserver", 0.1)
    cluster.up(progress=lambda _: None)
    scene.edit()
    return scene.until(scene.has_seen_edit, "acts on the edit")


def _last(scene: Scene, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        scene.supervise()
        time.sleep(_POLL)


MISSED_DELETION = Fault(
    "expired watch, missed deletion", _missed_deletion, 5.0, training_seconds=3600, repeated=1
)
GONE = Fault("410 in every watch", _while_misbehaving(Expired()), 30.0)
REFUSED = Fault(
    "410 instead of a watch",
    _while_misbehaving(Answers(410, "Gone", which="watches")),
    5.0,
    restarts=20,  # kopf ends; no API server of today does this
)
TOO_MANY = Fault(
    "429 to everything",
    _while_misbehaving(Answers(429, "TooManyRequests", Retry_After="1")),
    30.0,
)
CONFLICT = Fault(
    "409 to every write", _while_misbehaving(Answers(409, "Conflict", which="writes")), 30.0
)
ERRORS = Fault("500 to everything", _while_misbehaving(Answers(500, "InternalError")), 60.0)
SILENT = Fault("silent stream", _silent_stream, 0.0)
RESTARTED = Fault("API server restarted", _restarted_server, 0.0)
SIDE_BY_SIDE = (MISSED_DELETION, GONE, REFUSED, TOO_MANY, CONFLICT, ERRORS, SILENT)


def played(place: Lab, fault: Fault, *, resync: float, scale: float = 1.0) -> Result:
    """Play one fault in a namespace of its own."""
    words = "".join(c if c.isalnum() else "-" for c in fault.name.lower())
    namespace = f"watch-{words}"[:24].rstrip("-")  # KServe's names hold the namespace's
    result = Result(fault)
    proxy = Proxy(Path(place.environment["KUBECONFIG"]), place.folder / f"{namespace}.proxy")
    tenant = place.tenant(namespace)
    operator = place.operator(
        namespace, KUBECONFIG=str(proxy.kubeconfig), PALM_RESYNC_SECONDS=str(resync)
    )
    scene = Scene(place, tenant, proxy, operator, resync)
    operator.start()
    try:
        tenant.apply(
            training={"seed": 1, "parallelism": 3}, training_seconds=fault.training_seconds
        )
        if fault.training_seconds:
            scene.until(lambda: _trains(tenant), "trains")
        else:
            scene.until(tenant.is_settled, "serves the first spec")
        result.recovery = fault.play(scene, fault.seconds * scale)
        scene.proxy.manners = Manners()
        scene.until(tenant.is_settled, "serves the edited spec")
        created = tenant.jobs_created()
        again = sum(created.values()) - len(created)
        if again != fault.repeated:
            result.problems.append(f"{again} Jobs were created again, not {fault.repeated}")
    except Exception as error:
        result.problems.append(f"{type(error).__name__}: {error}")
    finally:
        operator.end()
        proxy.close()
    result.restarts = scene.restarts
    if result.restarts > fault.restarts:
        result.problems.append(f"the operator ended by itself {result.restarts} times")
    if result.recovery > resync * _JITTER + _PASS_SECONDS:
        result.problems.append(f"{result.recovery:.1f} s is more than one resync and a pass")
    return result


def _trains(tenant: Tenant) -> bool:
    jobs = tenant.objects("jobs")
    return len(jobs) == 3 and sum(bool(job["status"].get("succeeded")) for job in jobs) == 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resync", type=float, default=60.0, help="PALM_RESYNC_SECONDS (60)")
    parser.add_argument("--only", default="", help="faults whose name holds this text")
    options = parser.parse_args()
    end_tidily()
    with lab() as place:

        def play(fault: Fault) -> Result:
            result = played(place, fault, resync=options.resync)
            again = f", {result.restarts} restarts" if result.restarts else ""
            print(f"{fault.name}: {result.recovery:.1f} s{again}", flush=True)
            for problem in result.problems:
                print(f"    {problem}", flush=True)
            return result

        faults = [fault for fault in SIDE_BY_SIDE if options.only in fault.name]
        with ThreadPoolExecutor(max(len(faults), 1)) as pool:
            results = list(pool.map(play, faults))
        if options.only in RESTARTED.name:
            results.append(play(RESTARTED))
    well = sum(not result.problems for result in results)
    print(
        f"wrong watches: {len(results)} faults, {well} recovered within one resync "
        f"({options.resync:.0f} s), nothing lost, no Job twice"
    )
    return 0 if results and well == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
