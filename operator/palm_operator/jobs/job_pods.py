"""The Pods of training and evaluation Jobs, reduced to why they do not start, or how they ended.

Pure. Messages come from whoever runs in the Pod: one line of them is shown, shortened.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from palm_operator.serving.server_pods import last_line
from palm_operator.times import EPOCH, parsed

_IMAGE = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName",
          "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed")  # fmt: skip
_FOR_GOOD = ("InvalidImageName", "ErrImageNeverPull")
_CONTAINER = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_LINE_LIMIT = 240


@dataclass(frozen=True)
class Hindrance:
    """What keeps a Job from running.

    Attributes:
        reason: As conditions take it.
        message: What Kubernetes or Kueue says, in one line.
        is_final: Whether nothing but a person can change it.
    """

    reason: str
    message: str
    is_final: bool = False


@dataclass(frozen=True)
class Ending:
    """How a Pod ended that did not succeed.

    Attributes:
        exit_code: Of its container; None where no container ended, as after an eviction.
        reason: Kubernetes' word for it, such as OOMKilled, Error or Evicted.
        message: The last line of its log, or why it was evicted.
        is_disruption: Whether it was taken away from it (preemption, drain, lost node).
    """

    exit_code: int | None
    reason: str
    message: str
    is_disruption: bool = False


@dataclass(frozen=True)
class JobPod:
    """A Pod of a Job of ours."""

    job_uid: str
    created: datetime
    hindrance: Hindrance | None = None
    ending: Ending | None = None


def job_pod(body: Mapping[str, Any]) -> JobPod:
    """Return what matters of a Pod that a Job made."""
    metadata, status = body["metadata"], body.get("status") or {}
    owners = metadata.get("ownerReferences") or []
    phase = status.get("phase")
    return JobPod(
        job_uid=next((str(o.get("uid")) for o in owners if o.get("controller")), ""),
        created=parsed(metadata["creationTimestamp"]) if "creationTimestamp" in metadata else EPOCH,
        hindrance=next(_hindrances(status), None) if phase == "Pending" else None,
        ending=_ending(status) if phase == "Failed" else None,
    )


def _hindrances(status: Mapping[str, Any]) -> Iterator[Hindrance]:
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            reason = str(condition.get("reason") or "Unschedulable")
            yield Hindrance(_word(reason), one_line(condition.get("message")))
    groups = ("initContainerStatuses", "containerStatuses")
    for container in (entry for group in groups for entry in status.get(group) or []):
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason, why = str(waiting.get("reason") or ""), one_line(waiting.get("message"))
        if reason in _IMAGE:
            image = f"image {container.get('image')!r}: {reason}: {why}"
            yield Hindrance("ImageUnavailable", image, is_final=reason in _FOR_GOOD)
        elif reason in _CONTAINER:
            yield Hindrance("ContainerNotCreated", f"{reason}: {why}")


def _ending(status: Mapping[str, Any]) -> Ending:
    disruption = any(
        c.get("type") == "DisruptionTarget" and c.get("status") == "True"
        for c in status.get("conditions") or []
    )
    for container in status.get("containerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            return Ending(
                exit_code=int(ended["exitCode"]),
                reason=str(ended.get("reason") or "Error"),
                message=one_line(ended.get("message")),
                is_disruption=disruption,
            )
    reason = str(status.get("reason") or "Unknown")
    return Ending(None, reason, one_line(status.get("message")), is_disruption=disruption)


def one_line(text: Any) -> str:
    """Return the last line that says something, shortened."""
    line = last_line(text).rstrip(".")
    return line if len(line) <= _LINE_LIMIT else f"{line[: _LINE_LIMIT - 1]}…"


def _word(reason: str) -> str:
    return reason if reason.isascii() and reason.isalnum() and reason[0].isalpha() else "Pending"
