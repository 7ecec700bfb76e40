"""The status of a Pod, from its containers as they are. Pure."""

from dataclasses import dataclass
from datetime import datetime

from palm_devcluster.node.addresses import ADDRESS, pod_address
from palm_devcluster.node.conditions import pod_conditions, time_text
from palm_devcluster.node.decision import (
    ContainerView,
    Views,
    is_sidecar,
    next_delay,
    restart_policy,
    restarts,
)
from palm_devcluster.node.fields import Json
from palm_devcluster.node.records import Attempt

_CREATING = ("ContainerCreating", "")
_INITIALIZING = ("PodInitializing", "")


@dataclass(frozen=True)
class Ending:
    """Why the whole Pod ends: reason and message of its status, empty for a deletion."""

    reason: str = ""
    message: str = ""


def pod_status(
    pod: Json, views: Views, *, ending: Ending | None, over: bool, now: datetime
) -> Json:
    """Everything of ``.status`` that a node writes.

    Args:
        pod: The Pod; its present status gives the times of unchanged conditions.
        views: Every container by name.
        ending: Set while the Pod is deleted or past its deadline.
        over: Nothing of the Pod will ever run again.
        now: The time of new conditions.
    """
    spec, before = pod["spec"], pod.get("status", {})
    inits = spec.get("initContainers", [])
    initialized = _initialized(pod, views)
    phase = _phase(pod, views, initialized=initialized, ending=ending is not None, over=over)
    status = {
        "phase": phase,
        "hostIP": ADDRESS,
        "hostIPs": [{"ip": ADDRESS}],
        "podIP": pod_address(pod),
        "podIPs": [{"ip": pod_address(pod)}],
        "startTime": before.get("startTime") or time_text(now),
        "observedGeneration": pod["metadata"].get("generation", 1),
        "containerStatuses": [
            _container_status(pod, container, views, None if initialized else _INITIALIZING)
            for container in spec["containers"]
        ],
        "conditions": pod_conditions(pod, views, phase, initialized, now),
    }
    if inits:
        status["initContainerStatuses"] = [
            _container_status(pod, container, views, None if at == 0 else _INITIALIZING)
            for at, container in enumerate(inits)
        ]
    if ending is not None and ending.reason:
        status |= {"reason": ending.reason, "message": ending.message}
    return status


def _initialized(pod: Json, views: Views) -> bool:
    for container in pod["spec"].get("initContainers", []):
        view = views[container["name"]]
        if is_sidecar(container):
            if not (view.latest is not None and view.started):
                return False
        elif not view.succeeded:
            return False
    return True


def _phase(pod: Json, views: Views, *, initialized: bool, ending: bool, over: bool) -> str:
    mains = [views[container["name"]] for container in pod["spec"]["containers"]]
    if over:
        return "Succeeded" if all(view.succeeded for view in mains) else "Failed"
    if ending and pod.get("status", {}).get("phase"):
        return str(pod["status"]["phase"])
    return "Running" if initialized and any(view.latest for view in mains) else "Pending"


def _container_status(
    pod: Json, container: Json, views: Views, before_start: tuple[str, str] | None
) -> Json:
    view = views[container["name"]]
    latest = view.latest
    ready = view.running and view.started and view.ready
    if not view.alive and container in pod["spec"].get("initContainers", []):
        ready = view.succeeded
    status: Json = {
        "name": container["name"],
        "image": container["image"],
        "imageID": "" if latest is None else f"process://{container['image']}",
        "ready": ready,
        "started": view.running and view.started,
        "restartCount": 0 if latest is None else latest.number,
        "state": _state(pod, container, view, before_start),
        "lastState": {},
    }
    if latest is not None:
        status["containerID"] = _container_id(pod, container, latest)
    ended = [attempt for attempt in view.attempts if attempt.exit is not None]
    if ended and "terminated" not in status["state"]:
        status["lastState"] = {"terminated": _terminated(pod, container, ended[-1])}
    elif len(ended) > 1:
        status["lastState"] = {"terminated": _terminated(pod, container, ended[-2])}
    return status


def _state(
    pod: Json, container: Json, view: ContainerView, before_start: tuple[str, str] | None
) -> Json:
    latest = view.latest
    if view.running and latest is not None:
        return {"running": {"startedAt": _seconds(latest.started_at)}}
    if view.waiting is not None:
        return _waiting(*view.waiting)
    if latest is None or latest.exit is None:
        return _waiting(*(before_start or _CREATING))
    delay = next_delay(latest)
    again = restarts(restart_policy(pod, container), latest.exit.code) and not (
        latest.exit.code == 0 and _runs_once(pod, container)
    )
    if delay and again and not pod["metadata"].get("deletionTimestamp"):
        return _waiting("CrashLoopBackOff", f"back-off {delay:.0f}s restarting failed container")
    return {"terminated": _terminated(pod, container, latest)}


def _runs_once(pod: Json, container: Json) -> bool:
    """Whether a container is done once it has succeeded, whatever the Pod's restart policy."""
    return container in pod["spec"].get("initContainers", []) and not is_sidecar(container)


def _waiting(reason: str, message: str) -> Json:
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def _terminated(pod: Json, container: Json, attempt: Attempt) -> Json:
    if attempt.exit is None:
        raise ValueError(f"attempt {attempt.number} of {container['name']} has not ended")
    return {
        "exitCode": attempt.exit.code,
        "reason": attempt.exit.reason,
        "startedAt": _seconds(attempt.started_at),
        "finishedAt": _seconds(attempt.exit.finished_at),
        "containerID": _container_id(pod, container, attempt),
        **({"signal": attempt.exit.signal} if attempt.exit.signal else {}),
        **({"message": attempt.exit.message} if attempt.exit.message else {}),
    }


def _container_id(pod: Json, container: Json, attempt: Attempt) -> str:
    return f"process://{pod['metadata']['uid']}/{container['name']}/{attempt.number}"


def _seconds(text: str) -> str:
    return f"{text[:19]}Z"


def same_status(before: Json, status: Json) -> bool:
    """Whether writing ``status`` over ``before`` would change nothing."""
    return _covered(status, before)


def _covered(wanted: object, have: object) -> bool:
    if isinstance(wanted, dict):
        return isinstance(have, dict) and all(
            _covered(value, have.get(key)) for key, value in wanted.items()
        )
    if isinstance(wanted, list) and wanted and isinstance(wanted[0], dict) and "type" in wanted[0]:
        known = {entry["type"]: entry for entry in have} if isinstance(have, list) else {}
        return all(_covered(entry, known.get(entry["type"])) for entry in wanted)
    if isinstance(wanted, list):
        return (
            isinstance(have, list)
            and len(have) == len(wanted)
            and all(_covered(*pair) for pair in zip(wanted, have, strict=True))
        )
    return wanted == have
