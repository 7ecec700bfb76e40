"""The conditions of a Pod. Pure."""

from datetime import datetime

from palm_devcluster.node.decision import ContainerView, Views, is_sidecar
from palm_devcluster.node.fields import Json


def time_text(moment: datetime) -> str:
    """A time as the API has it, in whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def pod_conditions(
    pod: Json, views: Views, phase: str, initialized: bool, now: datetime
) -> list[Json]:
    """The conditions that a node owns; each keeps its time while its status stays."""
    spec = pod["spec"]
    watched = spec["containers"] + [c for c in spec.get("initContainers", []) if is_sidecar(c)]
    unready = [c["name"] for c in watched if not _is_ready(views[c["name"]])]
    over = phase in ("Succeeded", "Failed")
    reason = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase, "ContainersNotReady")
    message = f"containers with unready status: [{' '.join(unready)}]" if unready else ""
    gates = _gates(pod)
    uninitialized = [] if initialized else _pending_inits(pod, views)
    return [
        _condition(pod, "PodReadyToStartContainers", now, why="" if not over else reason),
        _condition(
            pod,
            "Initialized",
            now,
            why="ContainersNotInitialized" if uninitialized else "",
            message=f"containers with incomplete status: [{' '.join(uninitialized)}]",
        ),
        _condition(pod, "ContainersReady", now, why=reason if unready else "", message=message),
        _condition(
            pod,
            "Ready",
            now,
            why=reason if unready else ("ReadinessGatesNotReady" if gates else ""),
            message=message or f"readiness gates not true: {gates}",
        ),
    ]


def _is_ready(view: ContainerView) -> bool:
    return view.running and view.started and view.ready


def _pending_inits(pod: Json, views: Views) -> list[str]:
    return [
        container["name"]
        for container in pod["spec"].get("initContainers", [])
        if not is_sidecar(container) and not views[container["name"]].succeeded
    ]


def _gates(pod: Json) -> list[str]:
    true = {c["type"] for c in pod.get("status", {}).get("conditions", []) if c["status"] == "True"}
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates", [])]
    return [gate for gate in gates if gate not in true]


def _condition(pod: Json, kind: str, now: datetime, *, why: str, message: str = "") -> Json:
    """True unless ``why`` says why not."""
    status = "False" if why else "True"
    before = next(
        (c for c in pod.get("status", {}).get("conditions", []) if c["type"] == kind), None
    )
    since = time_text(now)
    if before is not None and before["status"] == status:
        since = before["lastTransitionTime"]
    return {
        "type": kind,
        "status": status,
        "lastTransitionTime": since,
        "reason": why or None,
        "message": (message or None) if why else None,
        "observedGeneration": pod["metadata"].get("generation", 1),
    }
