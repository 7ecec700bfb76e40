"""Portfolios, results and a fake world as plain functions: what a test omits is ordinary."""

import json
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from palm import artifacts
from palm.contract import (
    REQUEST_VARIABLE,
    DivergenceEstimate,
    EvaluationRequest,
    PolicyResult,
    RewardEstimate,
    TrainingRecord,
    TrainingRequest,
)
from palm_operator import names
from palm_operator.api.portfolio import Portfolio, parse_portfolio
from palm_operator.calls.evidence import Evidence
from palm_operator.calls.reading import Found, Want, gathered, wants
from palm_operator.calls.work import Work, work_for
from palm_operator.jobs.job_standing import Surroundings, stand
from palm_operator.jobs.observed_job_sets import of_kind
from palm_operator.jobs.observed_jobs import Job
from palm_operator.jobs.workloads import Workload, workload
from palm_operator.observed import Observed
from palm_operator.plan import Plan
from palm_operator.planner import plan
from palm_operator.refusals import Refusal
from palm_operator.refusing import Refused, check
from palm_operator.running.observer import _found
from palm_operator.running.records import whole_record
from palm_operator.serving import observed_services as seen
from palm_operator.serving.observed_services import Service, service_url
from palm_operator.serving.recall import deployed_manifest
from palm_operator.serving.server_pods import ServerPod
from palm_operator.serving.standing import Answer, question, standing
from palm_operator.settings import Settings
from palm_operator.times import stamp
from palm_store import InMemoryStore

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UID = "11111111-2222-3333-4444-555555555555"
RUNNING: dict[str, dict[str, Any]] = {
    "Job": {"active": 1, "ready": 1},
    "JobSet": {"restarts": 0, "replicatedJobsStatus": [{"name": "n", "ready": 1, "active": 1}]},
}
"""Statuses of what runs."""
SETTINGS = Settings(trainer_image="trainer:test", evaluator_image="evaluator:test")


def portfolio_body(**spec: Any) -> dict[str, Any]:
    """A Portfolio with a grid of 5 weight vectors; keywords replace parts of its spec."""
    body: dict[str, Any] = {
        "apiVersion": "palm-operator.dev/v1alpha1",
        "kind": "Portfolio",
        "metadata": {
            "name": "assistant",
            "namespace": "ml",
            "uid": UID,
            "generation": 1,
            "resourceVersion": "1",
        },
        "spec": {
            "baseModel": {"uri": "s3://models/tiny"},
            "prompts": {
                "train": {"uri": "s3://data/train.jsonl"},
                "evaluation": {"uri": "s3://data/test.jsonl"},
            },
            "rewards": [
                {"name": "steps", "verifiable": {"type": "ArithmeticSteps"}},
                {"name": "brevity", "verifiable": {"type": "BrevityIfCorrect"}},
            ],
            "grid": {"strategy": "PALM", "mu": "1", "alpha": "0.5"},
            "search": {"mode": "Grid"},
            "training": {"parallelism": 3},
            "storage": {"s3": {"bucket": "palm", "prefix": "runs"}},
        },
    }
    for key, value in spec.items():
        part = body["spec"].get(key)
        body["spec"][key] = {**part, **value} if isinstance(part, dict) else value
    return body


def make_portfolio(**spec: Any) -> Portfolio:
    return parse_portfolio(portfolio_body(**spec))


def make_record(request: TrainingRequest) -> bytes:
    record = TrainingRecord(
        policy_digest=request.policy_digest,
        files={"adapter.safetensors": "0" * 64},
        steps=1,
        seconds=1.0,
        final_rewards={},
    )
    return record.model_dump_json(by_alias=True).encode()


def make_result(
    request: EvaluationRequest,
    weights: tuple[float, ...] | None,
    *,
    prompts: int = 2,
    noise: float = 0.0,
    loss: float = 0.0,
) -> PolicyResult:
    """The result of an exact oracle whose best utilities lie on a circle's arc.

    Prompts scatter around the exact mean, each policy's in its own way; ``loss`` is the share of
    the arc's radius that is lost.
    """
    d = len(request.rewards)
    direction = np.ones(d) * 0.3 if weights is None else np.array(weights)
    arc = 2.0 + (1 - loss) * 5.0 * direction / np.linalg.norm(direction)
    means = arc if weights else np.full(d, 2.0)
    seed = int(request.evaluation_digest[:8], 16)
    scatter = noise * np.random.default_rng(seed).standard_normal((prompts, d))
    rows = means + scatter - scatter.mean(axis=0)
    return PolicyResult(
        policy=request.policy,
        policy_digest=request.policy_digest,
        evaluation_digest=request.evaluation_digest,
        engine="Transformers",
        prompts=prompts,
        samples=2,
        rewards=tuple(
            RewardEstimate(
                name=r.name, mean=float(m), standard_error=0.01, standard_deviation=0.5 + 0.1 * i
            )
            for i, (r, m) in enumerate(zip(request.rewards, means, strict=True))
        ),
        divergence=DivergenceEstimate(estimator="exact", mean=0.2, standard_error=0.01 * noise),
        prompt_rewards=tuple(map(tuple, rows.tolist())),
        mean_response_tokens=12.0,
        seconds=1.0,
    )


def request_of(job: dict[str, Any]) -> TrainingRequest | EvaluationRequest:
    """What the container of a Job, or of a JobSet's Job, is asked to do."""
    spec = job["spec"]
    if job["kind"] == "JobSet":
        spec = spec["replicatedJobs"][0]["template"]["spec"]
    container = spec["template"]["spec"]["containers"][0]
    text = next(v["value"] for v in container["env"] if v["name"] == REQUEST_VARIABLE)
    kind = TrainingRequest if container["name"] == "trainer" else EvaluationRequest
    return kind.model_validate_json(text.replace("$$(", "$("))


def observed_in(portfolio: Portfolio, store: InMemoryStore, **rest: Any) -> Observed:
    """What an observer without caches would see."""
    found: dict[str, tuple[Want, Found]] = {}
    while True:
        known = gathered(found)
        work = work_for(portfolio, known)
        unread = [want for want in wants(portfolio, work, known) if want.key not in found]
        if not unread:
            break
        found |= {want.key: (want, _found(store, want)) for want in unread}
    metadata = portfolio.metadata
    key = artifacts.manifest(metadata.namespace, metadata.name, work.revision)
    evidence: Evidence = replace(gathered(found), manifest=store.objects.get(key))
    if pin := portfolio.spec.serving.pin:
        copy = artifacts.manifest_copy(metadata.namespace, metadata.name, pin.sha256)
        evidence = replace(evidence, pinned=store.objects.get(copy))
    record = whole_record(store, portfolio)
    if sha256 := deployed_manifest(portfolio, rest.get("services", ()), record):
        copy = artifacts.manifest_copy(metadata.namespace, metadata.name, sha256)
        evidence = replace(evidence, deployed=store.objects.get(copy))
    return Observed(evidence=evidence, record=record, **rest)


def merge(target: dict[str, Any], change: Any) -> None:
    """A JSON merge patch."""
    for key, value in change.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


@dataclass
class World:
    """A cluster and a bucket that do what Kubernetes, the images and KServe would do."""

    body: dict[str, Any] = field(default_factory=portfolio_body)
    store: InMemoryStore = field(default_factory=InMemoryStore)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    settings: Settings = SETTINGS
    serves: bool = True
    serves_llms: bool = False
    conflicts: tuple[str, ...] = ()
    routes: dict[str, Any] | None = None
    created: list[str] = field(default_factory=list)
    requests: dict[str, TrainingRequest | EvaluationRequest] = field(default_factory=dict)
    prompts: int = 2
    noise: float = 0.0
    mixing_loss: float = 0.02
    """What policies that are mixed at decoding lose against fine-tuned ones."""
    retraining_loss: float = 0.0
    """What policies lose that are fine-tuned for other weight vectors than single rewards."""
    pods: dict[str, list[ServerPod]] = field(default_factory=dict)
    workloads: dict[str, dict[str, Any]] | None = None
    """What Kueue has; None: the cluster has no Kueue."""
    silent: set[str] = field(default_factory=set)
    """InferenceServices that do not answer although all else is well."""
    refusals: dict[str, str] = field(default_factory=dict)
    job_refusals: dict[str, Refusal] = field(default_factory=dict)
    """Jobs that the API server does not take, by name."""
    elsewhere: int = 0
    """Policies of other Portfolios."""
    around: Surroundings = field(default_factory=Surroundings)
    """Pods, Workloads and Events that tell of Jobs."""
    now: datetime = NOW
    """The clock; every step takes a minute."""

    @property
    def portfolio(self) -> Portfolio:
        return parse_portfolio(self.body)

    @property
    def observed(self) -> Observed:
        return observed_in(
            self.portfolio,
            self.store,
            jobs=self.seen_jobs,
            services=tuple(self.seen_service(body) for body in self.services.values()),
            serves=self.serves,
            serves_llms=self.serves_llms,
            conflicts=self.conflicts,
            refusals=self.refusals,
            job_refusals=self.job_refusals,
            routes=self.routes,
            workloads=self.seen_workloads,
            elsewhere=self.elsewhere,
        )

    @property
    def refused(self) -> Observed:
        """What is looked at where the spec is refused: Jobs only where they are to be suspended."""
        if not self.portfolio.spec.suspend:
            return Observed()
        return Observed(jobs=self.seen_jobs, workloads=self.seen_workloads)

    @property
    def seen_jobs(self) -> tuple[Job, ...]:
        uid = self.body["metadata"]["uid"]
        return stand([of_kind(j, portfolio_uid=uid) for j in self.jobs.values()], self.around)

    @property
    def seen_workloads(self) -> tuple[Workload, ...] | None:
        return None if self.workloads is None else tuple(map(workload, self.workloads.values()))

    def seen_service(self, body: dict[str, Any]) -> Service:
        """An InferenceService as an observer sees it, its Pods and its answer included."""
        name = body["metadata"]["name"]
        url = service_url(body, self.settings.serving_url)
        pods = self.pods.get(name, [])
        asked = question(body, pods, url=url)
        answer = Answer(asked, name not in self.silent, "it is silent") if asked else None
        stands = standing(body, pods, answer, url=url)
        uid = self.body["metadata"]["uid"]
        return seen.service(body, portfolio_uid=uid, url=url, standing=stands)

    @property
    def work(self) -> Work:
        return work_for(self.portfolio, self.observed.evidence)

    @property
    def unfinished(self) -> list[str]:
        return [n for n, job in self.jobs.items() if not job.get("status", {}).get("conditions")]

    def planned(self) -> Plan:
        try:
            check(self.portfolio, self.settings)
        except Refused:  # nothing of S3 is looked at, as in the reconciler
            return plan(self.portfolio, self.refused, self.settings, now=self.now)
        return plan(self.portfolio, self.observed, self.settings, now=self.now)

    def step(self, *, creates: int | None = None) -> Plan:
        """One pass: plan, carry out, report; or be killed after creating so many Jobs."""
        decided = self.planned()
        self.now += timedelta(minutes=1)
        for key in decided.discards:
            self.store.delete(key)
        for write in decided.writes:
            if write.if_absent or write.exclusive:
                written = self.store.write_if_absent(write.key, write.content)
                assert written or not write.exclusive, f"{write.key} exists"
            else:
                self.store.write(write.key, write.content)
        for child in decided.deletes:
            self.jobs.pop(child.name, None)
            self.services.pop(child.name, None)
        for patch in decided.patches:
            changed = self.workloads or {} if patch.kind == "Workload" else self.jobs
            merge(changed[patch.name], patch.content)
            if changed[patch.name]["spec"].get("suspend"):
                changed[patch.name]["status"] = {}  # its Pods go
        for job in decided.creates[:creates]:
            name = job["metadata"]["name"]
            if name in self.job_refusals:
                continue
            assert name not in self.jobs, f"Job {name} exists"
            self.created.append(name)
            self.jobs[name] = json.loads(json.dumps(job))
            self.jobs[name]["metadata"]["uid"] = f"uid-{len(self.created)}"
            self.jobs[name]["metadata"]["creationTimestamp"] = stamp(self.now)
            self.jobs[name]["status"] = deepcopy(RUNNING[job["kind"]])
            self.requests[name] = request_of(job)
        if creates is not None:
            return decided
        for service in decided.applies:
            if service["kind"] == "ConfigMap":
                self.routes = deepcopy(service)
                continue
            name = service["metadata"]["name"]
            kept = {k: v for k, v in self.services.get(name, {}).items() if k == "status"}
            self.services[name] = {**deepcopy(service), **kept}
        status = decided.status.model_dump(mode="json", by_alias=True, exclude_none=True)
        self.body["status"] = status
        return decided

    def finish(self, name: str, *, outcome: str = "Complete") -> None:
        """Let a Job end: with its object in S3, without it, or failed."""
        job = self.jobs[name]
        request = request_of(job)
        if outcome == "Failed":
            condition = {
                "type": "Failed",
                "status": "True",
                "reason": "BackoffLimitExceeded",
                "message": "Job has reached the specified backoff limit",
            }
            job["status"] = {"conditions": [condition]}
            return
        if outcome == "Complete":
            self.answer(request)
        complete = "Completed" if job["kind"] == "JobSet" else "Complete"
        job["status"] = {"conditions": [{"type": complete, "status": "True"}]}

    def answer(self, request: TrainingRequest | EvaluationRequest) -> None:
        """Put into S3 what an image would."""
        if isinstance(request, TrainingRequest):
            key = artifacts.training_record(request.policy_digest)
            self.store.write_if_absent(key, make_record(request))
            return
        weights = {p.digest: p.training_weights for p in self.work.every}
        trained_at = weights.get(request.policy_digest or "")
        is_inner = trained_at is not None and min(trained_at) > 0
        loss = self.mixing_loss if request.mixture else self.retraining_loss * is_inner
        result = make_result(request, trained_at, prompts=self.prompts, noise=self.noise, loss=loss)
        key = artifacts.evaluation_result(request.policy_digest, request.evaluation_digest)
        self.store.write_if_absent(key, result.model_dump_json(by_alias=True).encode())

    def serve(self) -> None:
        """Let KServe make every InferenceService Ready."""
        for name, service in self.services.items():
            labels, namespace = service["metadata"]["labels"], service["metadata"]["namespace"]
            host = f"{name}-predictor.{namespace}.svc.cluster.local"
            service["status"] = {
                "address": {"url": f"http://{host}"},
                "conditions": [{"type": "Ready", "status": "True"}],
                "modelStatus": {"transitionStatus": "UpToDate"},
            }
            content = labels[names.LABEL_CONTENT]
            self.pods[name] = [ServerPod(f"uid-{content}", name, content, ready=True)]

    def run(self, *, passes: int = 60) -> None:
        """Let everything succeed until nothing changes."""
        for _ in range(passes):
            before = (len(self.store.objects), len(self.created), len(self.services))
            self.step()
            for name in self.unfinished:
                self.finish(name)
            self.serve()
            if before == (len(self.store.objects), len(self.created), len(self.services)):
                break
        self.step()

    def condition(self, kind: str) -> dict[str, Any]:
        return next(c for c in self.body["status"]["conditions"] if c["type"] == kind)
