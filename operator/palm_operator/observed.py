"""What the cluster says, reduced to what decisions need. Pure: API objects in, values out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal
from urllib.parse import urlsplit

from palm.training_progress import TrainingProgress
from palm_operator import names
from palm_operator.evidence import Evidence
from palm_operator.job_kinds import JobKind
from palm_operator.job_pods import Ending, Hindrance
from palm_operator.names import Step
from palm_operator.record import Recorded
from palm_operator.refusals import Refusal
from palm_operator.standing import Standing
from palm_operator.times import parsed
from palm_operator.workloads import Workload

JobState = Literal["Active", "Complete", "Failed"]
ServiceKind = Literal["InferenceService", "LLMInferenceService"]
_UNKNOWN = Standing("Starting", "NotSeen", "nothing is known of it")


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


@dataclass(frozen=True)
class Service:
    """What serves one policy of a Portfolio, or several as adapters."""

    name: str
    uid: str
    policies: tuple[str, ...]
    body: Mapping[str, Any] = field(default_factory=dict)
    standing: Standing = field(default=_UNKNOWN)
    url: str | None = None
    owned: bool = True
    deleting: bool = False
    kind: ServiceKind = "InferenceService"


@dataclass(frozen=True)
class Observed:
    """Everything a plan depends on besides the Portfolio itself.

    Attributes:
        jobs: Training and evaluation Jobs that carry the Portfolio's labels.
        services: InferenceServices and LLMInferenceServices that carry them.
        evidence: What S3 says.
        progress: How far trainings are, by policy digest, as they last told.
        serves: Whether the cluster has KServe's InferenceService at all.
        serves_llms: Whether it has KServe's LLMInferenceService.
        conflicts: Objects that are not ours but have a name we need.
        refusals: Why the API server or KServe refused an InferenceService just now, by name.
        job_refusals: Why the API server refused a Job just now, by name.
        routes: The ConfigMap that has the name of the route table.
        workloads: What Kueue has of the Jobs; None where it is not there, or was not asked.
        record: What the record in S3 says; None where it was not read.
    """

    jobs: tuple[Job, ...] = ()
    services: tuple[Service, ...] = ()
    evidence: Evidence = field(default_factory=Evidence)
    progress: Mapping[str, TrainingProgress] = field(default_factory=dict)
    serves: bool = True
    serves_llms: bool = False
    conflicts: tuple[str, ...] = ()
    refusals: Mapping[str, str] = field(default_factory=dict)
    job_refusals: Mapping[str, Refusal] = field(default_factory=dict)
    routes: Mapping[str, Any] | None = None
    workloads: tuple[Workload, ...] | None = None
    record: Recorded | None = None

    def jobs_of(self, step: Step, digest: str) -> list[Job]:
        """Return our Jobs that make one thing, by attempt."""
        return self._jobs_by_purpose.get((step.value, digest), [])

    @property
    def digests_with_jobs(self) -> frozenset[str]:
        """Return the digests of everything that our Jobs make or made."""
        return frozenset(digest for _, digest in self._jobs_by_purpose)

    @property
    def foreign_names(self) -> frozenset[str]:
        """Return the names that objects of others are known to have."""
        return frozenset(self.conflicts) | {job.name for job in self.jobs if not job.owned}

    @cached_property
    def _jobs_by_purpose(self) -> dict[tuple[str, str], list[Job]]:
        found: dict[tuple[str, str], list[Job]] = {}
        for job in sorted(self.jobs, key=lambda job: job.attempt):
            if job.owned:
                found.setdefault((job.step, job.digest), []).append(job)
        return found

    @property
    def unfinished(self) -> list[Job]:
        """Return our Jobs that hold or will hold resources."""
        return [job for job in self.jobs if job.owned and job.state == "Active"]


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


def service(
    body: Mapping[str, Any], *, portfolio_uid: str, url: str | None, standing: Standing
) -> Service:
    """Return what matters of an InferenceService or LLMInferenceService.

    Args:
        body: The object.
        portfolio_uid: Of whom it should be.
        url: Where it is reached.
        standing: How it stands.
    """
    metadata = body["metadata"]
    return Service(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        policies=names.served_policies(metadata),
        body=body,
        standing=standing,
        url=url,
        owned=is_owned(body, portfolio_uid),
        deleting="deletionTimestamp" in metadata,
        kind="LLMInferenceService" if is_llm(body) else "InferenceService",
    )


def is_llm(body: Mapping[str, Any]) -> bool:
    """Say whether an object is an LLMInferenceService."""
    return body.get("kind") == "LLMInferenceService"


def service_url(body: Mapping[str, Any], template: str) -> str | None:
    """Return where a server is reached: by the template, else by KServe's address.

    An LLMInferenceService without a router is reached at the Service that KServe v0.20 makes for
    its workload (``pkg/controller/v1alpha2/llmisvc/workload.go``, ``reconcileWorkloadService``).

    Args:
        body: The object.
        template: ``http://…/{namespace}/{name}``; empty for the address inside the cluster.
    """
    name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
    if template:
        return template.format(name=name, namespace=namespace).rstrip("/")
    if is_llm(body):
        return f"http://{name}-kserve-workload-svc.{namespace}.svc.cluster.local:8000"
    address = ((body.get("status") or {}).get("address") or {}).get("url")
    host = urlsplit(str(address or "")).hostname or ""
    # Whoever may write the object's status could name any address, and the operator calls it.
    services = (f"{name}-predictor.{namespace}.svc", f"{name}.{namespace}.svc")
    is_its_own = any(host == s or host.startswith(f"{s}.") for s in services)
    return str(address).rstrip("/") if is_its_own else None


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
