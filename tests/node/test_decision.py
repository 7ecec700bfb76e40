"""What a Pod's worker decides and reports, from containers in given states."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from palm_devcluster.node.decision import ContainerView, Start, decide, next_delay, restarts
from palm_devcluster.node.fields import Json
from palm_devcluster.node.records import Attempt, Exit
from palm_devcluster.node.status import Ending, pod_status, same_status

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
RUNNING = ContainerView((Attempt(0, 0.0, "2026-01-01T11:59:00Z", pid=2, shim=1),))
NEW = ContainerView()


def ended(code: int, *, number: int = 0, delay: float = 0.0, ago: float = 0.0) -> ContainerView:
    finished = (NOW - timedelta(seconds=ago)).isoformat()
    reason = "Error" if code else "Completed"
    last = Attempt(number, delay, "2026-01-01T11:59:00Z", 2, 1, Exit(code, reason, finished))
    return ContainerView((last,))


def pod(*names: str, inits: list[Json] | None = None, **spec: Any) -> Json:
    containers = [{"name": name, "image": "shell"} for name in names]
    return {
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "generation": 4},
        "spec": {"containers": containers, "initContainers": inits or [], **spec},
        "status": {},
    }


def init(name: str, **more: Any) -> Json:
    return {"name": name, "image": "shell", **more}


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 1, False),
    ],
)
def test_restart_policies(policy: str, code: int, again: bool) -> None:
    assert restarts(policy, code) is again


def test_back_off_doubles_to_five_minutes_and_starts_anew_after_a_long_run() -> None:
    delays, delay = [], 0.0
    for number in range(8):
        attempt = ended(1, number=number, delay=delay).attempts[0]
        delay = next_delay(attempt)
        delays.append(delay)
    assert delays == [0, 10, 20, 40, 80, 160, 300, 300]
    long_ago = Attempt(5, 300.0, "2026-01-01T11:00:00Z", 2, 1, Exit(1, "Error", NOW.isoformat()))
    assert next_delay(long_ago) == 0


def test_all_containers_start_at_once() -> None:
    decision = decide(pod("a", "b"), {"a": NEW, "b": NEW}, ending=False, now=NOW)
    assert decision.start == (Start("a", 0, 0.0), Start("b", 0, 0.0))


def test_a_container_waits_for_its_back_off() -> None:
    views = {"a": ended(1, number=1, ago=4)}
    waiting = decide(pod("a"), views, ending=False, now=NOW)
    assert (waiting.start, waiting.wake_at) == ((), NOW + timedelta(seconds=6))
    later = decide(pod("a"), views, ending=False, now=NOW + timedelta(seconds=7))
    assert later.start == (Start("a", 2, 10.0),)


def test_init_containers_go_first_and_one_by_one() -> None:
    two = pod("a", inits=[init("i"), init("j")], restartPolicy="Never")
    views = {"i": RUNNING, "j": NEW, "a": NEW}
    assert decide(two, views, ending=False, now=NOW).start == ()
    views["i"] = ended(0)
    assert decide(two, views, ending=False, now=NOW).start == (Start("j", 0, 0.0),)
    views["j"] = ended(1)
    assert decide(two, views, ending=False, now=NOW).over
    views["j"] = ended(0)
    assert decide(two, views, ending=False, now=NOW).start == (Start("a", 0, 0.0),)


def test_a_sidecar_starts_before_and_stops_after_the_containers() -> None:
    sidecar = pod("a", inits=[init("s", restartPolicy="Always")], restartPolicy="Never")
    assert decide(sidecar, {"s": NEW, "a": NEW}, ending=False, now=NOW).start[0].container == "s"
    views = {"s": RUNNING, "a": NEW}
    assert decide(sidecar, views, ending=False, now=NOW).start[0].container == "a"
    views = {"s": RUNNING, "a": ended(0)}
    assert decide(sidecar, views, ending=False, now=NOW).stop == ("s",)
    views = {"s": ended(143), "a": ended(0)}
    assert status(sidecar, views, over=True)["phase"] == "Succeeded"


def test_an_ending_pod_stops_everything_and_starts_nothing() -> None:
    views = {"a": RUNNING, "b": NEW}
    decision = decide(pod("a", "b"), views, ending=True, now=NOW)
    assert (decision.start, decision.stop, decision.over) == ((), ("a",), False)
    assert decide(pod("a"), {"a": ended(0)}, ending=True, now=NOW).over


def status(document: Json, views: Any, *, ending: Ending | None = None, over: bool = False) -> Json:
    return pod_status(document, views, ending=ending, over=over, now=NOW)


@pytest.mark.parametrize(
    ("view", "over", "phase", "state"),
    [
        (NEW, False, "Pending", {"waiting": {"reason": "ContainerCreating"}}),
        (RUNNING, False, "Running", {"running": {"startedAt": "2026-01-01T11:59:00Z"}}),
        (
            ContainerView(waiting=("X", "y")),
            False,
            "Pending",
            {"waiting": {"reason": "X", "message": "y"}},
        ),
    ],
)
def test_phase_and_state(view: ContainerView, over: bool, phase: str, state: Json) -> None:
    found = status(pod("a"), {"a": view}, over=over)
    assert (found["phase"], found["containerStatuses"][0]["state"]) == (phase, state)
    assert found["observedGeneration"] == 4


@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (7, "Failed")])
def test_a_pod_that_is_over_succeeds_only_with_exit_code_zero(code: int, phase: str) -> None:
    found = status(pod("a", restartPolicy="Never"), {"a": ended(code)}, over=True)
    assert found["phase"] == phase
    assert found["containerStatuses"][0]["state"]["terminated"]["exitCode"] == code


def test_a_crash_loop_is_told_with_its_last_state() -> None:
    found = status(pod("a"), {"a": ended(1, number=2, delay=10.0)})["containerStatuses"][0]
    assert found["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert found["lastState"]["terminated"]["exitCode"] == 1
    assert found["restartCount"] == 2


def test_an_init_container_that_succeeds_at_last_is_done() -> None:
    document = pod("a", initContainers=[{"name": "i", "image": "x"}])
    views = {"i": ended(0, number=3, delay=20.0), "a": RUNNING}
    (found,) = status(document, views)["initContainerStatuses"]
    assert found["state"]["terminated"]["exitCode"] == 0
    assert found["ready"]


def conditions(found: Json) -> dict[str, str]:
    return {entry["type"]: entry["status"] for entry in found["conditions"]}


def test_conditions_follow_readiness() -> None:
    unready = ContainerView(RUNNING.attempts, ready=False)
    assert conditions(status(pod("a"), {"a": unready}))["Ready"] == "False"
    assert set(conditions(status(pod("a"), {"a": RUNNING})).values()) == {"True"}


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    document = pod("a")
    document["status"] = status(document, {"a": NEW})
    before = document["status"]["conditions"]
    later = pod_status(
        document, {"a": RUNNING}, ending=None, over=False, now=NOW + timedelta(hours=1)
    )
    times = {entry["type"]: entry["lastTransitionTime"] for entry in later["conditions"]}
    assert times["Ready"] == "2026-01-01T13:00:00Z"
    assert times["Initialized"] == before[1]["lastTransitionTime"]


def test_the_deadline_is_the_pods_reason() -> None:
    ending = Ending("DeadlineExceeded", "too long")
    found = status(pod("a"), {"a": ended(143)}, ending=ending, over=True)
    assert (found["phase"], found["reason"]) == ("Failed", "DeadlineExceeded")


def test_an_unchanged_status_is_not_written_again() -> None:
    found = status(pod("a"), {"a": RUNNING})
    stored = {**found, "qosClass": "BestEffort", "conditions": found["conditions"][::-1]}
    assert same_status(stored, found)
    assert not same_status(stored, status(pod("a"), {"a": ended(0)}))
