"""What the cluster says, reduced to what decisions need. Pure: API objects in, values out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from palm_operator import names
from palm_operator.evidence import Evidence
from palm_operator.names import Step

JobState = Literal["Active", "Complete", "Failed"]


@dataclass(frozen=True)
class Job:
    """A training or evaluation Job of a Portfolio."""

    name: str
    uid: str
    step: str
    digest: str
    policy: str
    attempt: int = 1
    revision: str = ""
    state: JobState = "Active"
    reason: str = ""
    message: str = ""
    owned: bool = True
    """Whether the Portfolio is its controller."""
    deleting: bool = False


@dataclass(frozen=True)
class Service:
    """An InferenceService of a Portfolio."""

    name: str
    uid: str
    policy: str
    body: Mapping[str, Any] = field(default_factory=dict)
    ready: bool = False
    url: str | None = None
    owned: bool = True
    deleting: bool = False


@dataclass(frozen=True)
class Observed:
    """Everything a plan depends on besides the Portfolio itself.

    Attributes:
        jobs: Training and evaluation Jobs that carry the Portfolio's labels.
        services: InferenceServices that carry them.
        evidence: What S3 says.
        serves: Whether the cluster has KServe's InferenceService at all.
        conflicts: Objects that are not ours but have a name we need.
    """

    jobs: tuple[Job, ...] = ()
    services: tuple[Service, ...] = ()
    evidence: Evidence = field(default_factory=Evidence)
    serves: bool = True
    conflicts: tuple[str, ...] = ()

    def jobs_of(self, step: Step, digest: str) -> list[Job]:
        """Return our Jobs that make one thing, by attempt."""
        found = [j for j in self.jobs if j.owned and j.step == step and j.digest == digest]
        return sorted(found, key=lambda job: job.attempt)

    @property
    def unfinished(self) -> list[Job]:
        """Return our Jobs that hold or will hold resources."""
        return [job for job in self.jobs if job.owned and job.state == "Active"]


def job(body: Mapping[str, Any], *, portfolio_uid: str) -> Job:
    """Return what matters of a batch/v1 Job."""
    metadata = body["metadata"]
    labels = metadata.get("labels") or {}
    state, reason, message = _job_state(body)
    attempt = str(labels.get(names.LABEL_ATTEMPT, "1"))
    return Job(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        step=labels.get(names.LABEL_STEP, ""),
        digest=labels.get(names.LABEL_DIGEST, ""),
        policy=labels.get(names.LABEL_POLICY, ""),
        attempt=int(attempt) if attempt.isdigit() else 1,
        revision=labels.get(names.LABEL_REVISION, ""),
        state=state,
        reason=reason,
        message=message,
        owned=is_owned(body, portfolio_uid),
        deleting="deletionTimestamp" in metadata,
    )


def service(body: Mapping[str, Any], *, portfolio_uid: str) -> Service:
    """Return what matters of an InferenceService.

    Its ``observedGeneration`` is not looked at: KServe puts the child Deployment's there.
    """
    metadata, status = body["metadata"], body.get("status") or {}
    conditions = status.get("conditions") or []
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    return Service(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        policy=(metadata.get("labels") or {}).get(names.LABEL_POLICY, ""),
        body=body,
        ready=ready,
        url=status.get("url"),
        owned=is_owned(body, portfolio_uid),
        deleting="deletionTimestamp" in metadata,
    )


def is_owned(body: Mapping[str, Any], portfolio_uid: str) -> bool:
    """Say whether the Portfolio is the object's controller."""
    owners = body["metadata"].get("ownerReferences") or []
    return any(o.get("controller") and o.get("uid") == portfolio_uid for o in owners)


def contains(live: Any, wanted: Any) -> bool:
    """Say whether a live object already has everything that is wanted of it.

    Fields that others added do not matter; lists must agree entry by entry.
    """
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(
            key in live and contains(live[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(live, list)
            and len(live) == len(wanted)
            and all(contains(a, b) for a, b in zip(live, wanted, strict=True))
        )
    return bool(live == wanted)


def _job_state(body: Mapping[str, Any]) -> tuple[JobState, str, str]:
    for condition in (body.get("status") or {}).get("conditions") or []:
        if condition.get("status") != "True":
            continue
        if condition.get("type") == "Complete":
            return "Complete", "", ""
        if condition.get("type") == "Failed":
            return "Failed", condition.get("reason", ""), condition.get("message", "")
    return "Active", "", ""
