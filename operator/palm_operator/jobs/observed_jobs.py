"""A Job of a Portfolio, reduced to what decisions need. Pure: API objects in, values out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from palm_operator import names
from palm_operator.jobs.job_kinds import JobKind
from palm_operator.jobs.job_pods import Ending, Hindrance
from palm_operator.objects import is_owned
from palm_operator.times import parsed

JobState = Literal["Active", "Complete", "Failed"]


@dataclass(frozen=True)
class Job:
    """A training or evaluation Job of a Portfolio, or the JobSet of a training on several nodes."""

    name: str
    uid: str
    step: str
    digest: str
    policy: str
    attempt: int = 1
    revision: str = ""
    state: JobState = "Active"
    begun: bool = False
    """Whether a Pod of it has run; others only wait for a place."""
    reason: str = ""
    message: str = ""
    owned: bool = True
    """Whether the Portfolio is its controller."""
    deleting: bool = False
    suspended: bool = False
    queue: str = ""
    """LocalQueue of Kueue."""
    run: str = ""
    """Digest of how it is run, as opposed to what it makes; empty where it does not say."""
    waiting_since: datetime | None = None
    """Since when it waits to run, where it does; None: not known yet."""
    hindrance: Hindrance | None = None
    """What keeps it from running."""
    ending: Ending | None = None
    """How its last Pod that failed ended; None where there is no such Pod (any more)."""
    overdue_after: int | None = None
    """The seconds it was allowed to wait, once it has waited longer: it counts as failed."""
    held: bool = False
    """Whether the operator suspended it."""
    queued: bool = False
    """Whether it is meant for a queue of Kueue."""
    kind: JobKind = "Job"
    resuming: bool = False
    """Whether it was resumed and nobody has taken that up yet: since when it waits is not known."""

    @property
    def is_held_up(self) -> bool:
        """Say whether only a person can bring it to run."""
        is_final = self.hindrance is not None and self.hindrance.is_final
        return self.state == "Active" and (is_final or self.overdue_after is not None)


def job(body: Mapping[str, Any], *, portfolio_uid: str) -> Job:
    """Return what matters of a batch/v1 Job."""
    metadata = body["metadata"]
    labels = metadata.get("labels") or {}
    state, reason, message = _job_state(body)
    pods = body.get("status") or {}
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
        begun=any(pods.get(count) for count in ("ready", "succeeded", "failed")),
        reason=reason,
        message=message,
        owned=is_owned(body, portfolio_uid),
        deleting="deletionTimestamp" in metadata,
        suspended=bool((body.get("spec") or {}).get("suspend")),
        queue=str(labels.get(names.LABEL_KUEUE_QUEUE, "")),
        run=str(labels.get(names.LABEL_RUN, "")),
        waiting_since=_waiting_since(body),
        held=names.ANNOTATION_SUSPENDED in (metadata.get("annotations") or {}),
        queued=names.LABEL_KUEUE_QUEUE in labels,
        resuming=_is_resuming(body),
    )


def _waiting_since(body: Mapping[str, Any]) -> datetime | None:
    """Return since when a Job could run: when it was made, or last suspended or resumed."""
    metadata = body["metadata"]
    times = [metadata.get("creationTimestamp"), _resumed(metadata)]
    for condition in (body.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "Suspended":
            times.append(condition.get("lastTransitionTime"))
    return max((parsed(text) for text in times if text), default=None)


def _resumed(metadata: Mapping[str, Any]) -> str | None:
    """Return when the operator resumed a Job, as its annotation says; others may have edited it."""
    text = (metadata.get("annotations") or {}).get(names.ANNOTATION_RESUMED)
    try:
        return text if text and parsed(text) else None
    except ValueError:
        return None


def _is_resuming(body: Mapping[str, Any]) -> bool:
    """Say whether the Job controller still calls a Job suspended that is not any more."""
    conditions = (body.get("status") or {}).get("conditions") or []
    was = any(c.get("type") == "Suspended" and c.get("status") == "True" for c in conditions)
    return was and not (body.get("spec") or {}).get("suspend")


def _job_state(body: Mapping[str, Any]) -> tuple[JobState, str, str]:
    for condition in (body.get("status") or {}).get("conditions") or []:
        if condition.get("status") != "True":
            continue
        if condition.get("type") == "Complete":
            return "Complete", "", ""
        if condition.get("type") == "Failed":
            return "Failed", condition.get("reason", ""), condition.get("message", "")
    return "Active", "", ""
