"""What the cluster says, reduced to what decisions need. Pure: API objects in, values out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from palm.training_progress import TrainingProgress
from palm_operator.calls.evidence import Evidence
from palm_operator.jobs.observed_jobs import Job
from palm_operator.jobs.workloads import Workload
from palm_operator.names import Step
from palm_operator.record.chain import Recorded
from palm_operator.refusals import Refusal
from palm_operator.serving.observed_services import Service
from palm_operator.serving.standing import Standing

JobState = Literal["Active", "Complete", "Failed"]
ServiceKind = Literal["InferenceService", "LLMInferenceService"]
_UNKNOWN = Standing("Starting", "NotSeen", "nothing is known of it")


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
        elsewhere: How many policies other Portfolios publish or are about to; 0 where nobody counts
            them.
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
    elsewhere: int = 0

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
