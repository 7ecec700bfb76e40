"""What Kueue has of a Job: its Workload, the only handle on a queued Job. Pure.

Kueue owns ``spec.suspend`` of the Jobs that it queues. ``spec.active`` of their Workloads is what
it offers to others: false evicts a Workload, and it is not admitted before it is true again (Kueue
v0.19, ``pkg/controller/core/workload_controller.go``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from palm_operator.jobs.queue_standing import job_uid
from palm_operator.names import ANNOTATION_SUSPENDED


@dataclass(frozen=True)
class Workload:
    """A Workload of Kueue, as far as suspending depends on it."""

    name: str
    uid: str
    job_uid: str
    active: bool = True
    """Whether Kueue may admit it."""
    held: bool = False
    """Whether the operator deactivated it."""


def workload(body: Mapping[str, Any]) -> Workload:
    """Return what matters of a kueue.x-k8s.io Workload."""
    metadata = body["metadata"]
    owners = metadata.get("ownerReferences") or []
    owner = next((o.get("uid", "") for o in owners if o.get("kind") in ("Job", "JobSet")), "")
    return Workload(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        job_uid=job_uid(body) or str(owner),
        active=(body.get("spec") or {}).get("active") is not False,
        held=ANNOTATION_SUSPENDED in (metadata.get("annotations") or {}),
    )
