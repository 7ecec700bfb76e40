"""The Pods that KServe makes to serve policies, reduced to what their standing needs. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from palm_operator import names

_BACKING_OFF = ("CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "InvalidImageName",
                "CreateContainerConfigError", "CreateContainerError")  # fmt: skip


@dataclass(frozen=True)
class ServerPod:
    """A Pod that serves, or shall serve, a policy."""

    uid: str
    service: str
    """Name of its InferenceService or LLMInferenceService."""
    content: str
    """Digest of what the InferenceService asked for when the Pod was made."""
    ready: bool = False
    restarts: int = 0
    trouble: str = ""
    """Why a container of it does not start or stay up, for people."""


def server_pod(body: Mapping[str, Any]) -> ServerPod:
    """Return what matters of a Pod that KServe made."""
    metadata, status = body["metadata"], body.get("status") or {}
    labels = metadata.get("labels") or {}
    conditions = status.get("conditions") or []
    is_ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    containers = status.get("containerStatuses") or []
    return ServerPod(
        uid=metadata.get("uid", ""),
        service=labels.get(names.LABEL_INFERENCE_SERVICE) or labels.get(names.LABEL_LLM_NAME, ""),
        content=labels.get(names.LABEL_CONTENT, ""),
        ready=is_ready and "deletionTimestamp" not in metadata,
        restarts=sum(int(c.get("restartCount", 0)) for c in containers),
        trouble=next(_troubles(status), ""),
    )


def _troubles(status: Mapping[str, Any]) -> Iterator[str]:
    """Yield why a Pod does not start or stay up."""
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            yield f"no node takes its Pod: {last_line(condition.get('message'))}"
    groups = ("initContainerStatuses", "containerStatuses")
    for container in (entry for group in groups for entry in status.get(group) or []):
        name, state = container.get("name"), container.get("state") or {}
        waiting, ended = state.get("waiting") or {}, _last_end(container)
        # Between two attempts it waits, then runs: both are the same trouble.
        if ended.get("exitCode") and not container.get("ready"):
            why = last_line(ended.get("message"))
            yield f"container {name} ended with exit code {ended['exitCode']}: {why}"
        elif waiting.get("reason") in _BACKING_OFF:
            yield f"container {name}: {waiting['reason']}: {last_line(waiting.get('message'))}"


def _last_end(container: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how a container ended the last time it did."""
    for state in (container.get("state") or {}, container.get("lastState") or {}):
        if "terminated" in state:
            return dict(state["terminated"])
    return {}


def last_line(text: Any) -> str:
    """Return the last line that says something: messages may be the end of a log."""
    lines = [line.strip() for line in str(text or "").splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
