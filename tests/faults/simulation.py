"""A simulated world in which anything may happen between two passes, or in the middle of one."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from builders import World, make_result
from palm import artifacts
from palm.contract import EvaluationRequest, TrainingRequest
from palm_operator import names
from palm_operator.plan import Plan
from palm_operator.refusing import troubled

Object = dict[str, Any]


@dataclass(frozen=True)
class Before:
    """The world as a plan found it."""

    jobs: dict[str, Object]
    services: dict[str, Object]
    objects: dict[str, bytes]
    status: Object
    foreign: dict[str, Object]


@dataclass
class Simulation(World):
    """A world whose operator may be killed after any action, beside other people's objects."""

    foreign: dict[str, Object] = field(default_factory=dict)
    """Objects of others, by name, some of which carry our labels."""
    weights: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """What each policy was trained for, by its digest."""

    def before(self) -> Before:
        return Before(
            jobs=deepcopy(self.jobs),
            services=deepcopy(self.services),
            objects=dict(self.store.objects),
            status=deepcopy(self.body.get("status", {})),
            foreign=deepcopy(self.foreign),
        )

    def edit(self, **spec: Any) -> None:
        """A user applies another spec."""
        for key, value in spec.items():
            part = self.body["spec"].get(key)
            merged = {**part, **value} if isinstance(part, dict) and value else value
            self.body["spec"][key] = merged
        self.body["metadata"]["generation"] += 1

    def passed(self) -> Plan:
        """One whole pass; a collision with what others have is found out, as the executor does."""
        decided = self.planned()
        taken = [j["metadata"]["name"] for j in (*decided.creates, *decided.applies)]
        collided = tuple(name for name in taken if name in self.foreign)
        if collided:
            self.conflicts = tuple(sorted({*self.conflicts, *collided}))
            self.killed(len(self.actions(decided)), decided)
            return decided
        self.remember(decided)
        return self.step()

    def killed(self, after: int, decided: Plan | None = None) -> Plan:
        """A pass that ends after so many actions, before the status is written."""
        decided = decided or self.planned()
        self.remember(decided)
        for act in self.actions(decided)[:after]:
            act()
        return decided

    def failed(self, reason: str) -> Plan:
        """A pass that could not read: S3 or the API server did not answer."""
        decided = troubled(self.portfolio, reason, "it does not answer", now=self.now)
        self.body["status"] = decided.status.model_dump(
            mode="json", by_alias=True, exclude_none=True
        )
        return decided

    def actions(self, decided: Plan) -> list[Callable[[], object]]:
        """Return what a plan does, in the executor's order."""
        acts: list[Callable[[], object]] = []
        for key in decided.discards:
            acts.append(lambda key=key: self.store.delete(key))
        for write in decided.writes:
            keeps = write.if_absent or write.exclusive
            put = self.store.write_if_absent if keeps else self.store.write
            acts.append(lambda put=put, w=write: put(w.key, w.content))
        for child in decided.deletes:
            acts.append(lambda name=child.name: self._gone(name))
        for job in decided.creates:
            acts.append(lambda job=job: self._created(job))
        for body in decided.applies:
            acts.append(lambda body=body: self._applied(body))
        return acts

    def remember(self, decided: Plan) -> None:
        """Note what policies are trained for: their results say so whenever they are made."""
        for job in decided.creates:
            request = self.request(job)
            if isinstance(request, TrainingRequest):
                self.weights[request.policy_digest] = request.weights

    def answer(self, request: TrainingRequest | EvaluationRequest) -> None:
        """As in any world, but of policies of earlier specs too, and whatever the spec says now."""
        if isinstance(request, TrainingRequest):
            super().answer(request)
            return
        digest = request.policy_digest
        weights = None if digest is None else self.weights[digest]
        result = make_result(request, weights, prompts=self.prompts)
        key = artifacts.evaluation_result(request.policy_digest, request.evaluation_digest)
        self.store.write_if_absent(key, result.model_dump_json(by_alias=True).encode())

    def take(self, manifest: Object, *, labelled: bool) -> None:
        """Somebody else makes an object of a name that we are about to need."""
        body = deepcopy(manifest)
        body["metadata"]["ownerReferences"] = []
        body["metadata"]["uid"] = f"foreign-{len(self.foreign)}"
        if not labelled:
            body["metadata"]["labels"] = {}
        name = body["metadata"]["name"]
        self.foreign[name] = body
        if labelled and body["kind"] == "Job":
            self.jobs[name] = body
        if labelled and body["kind"] == "InferenceService":
            self.services[name] = body

    def heal(self) -> None:
        """Everything that stands in the way goes; what failed is given another chance."""
        for name in self.foreign:
            self.jobs.pop(name, None)
            self.services.pop(name, None)
        self.foreign.clear()
        self.conflicts, self.refusals = (), {}
        self.silent.clear()
        self.serves = True
        for name, job in list(self.jobs.items()):
            conditions = job.get("status", {}).get("conditions", [])
            if any(c["type"] == "Failed" for c in conditions) or self._is_last(job):
                del self.jobs[name]
        self.edit(serving={"maxPolicies": 8}, search={"maxOracleCalls": 40})

    def settle(self, passes: int = 200) -> None:
        """Let everything go well until two passes in a row find nothing to do."""
        quiet = 0
        for _ in range(passes):
            before = deepcopy(self.body["status"]) if "status" in self.body else {}
            decided = self.passed()
            busy = decided.acts or self.body["status"] != before or bool(self.unfinished)
            quiet = 0 if busy else quiet + 1
            if quiet == 2:
                return
            for name in self.unfinished:
                self.finish(name)
            self.serve()
            self.now += timedelta(minutes=10)
        raise AssertionError(f"never quiet; the last plan acts: {decided.acts}")

    def request(self, job: Object) -> TrainingRequest | EvaluationRequest:
        from builders import request_of

        return request_of(job)

    def _is_last(self, job: Object) -> bool:
        labels = job["metadata"].get("labels") or {}
        return labels.get(names.LABEL_ATTEMPT) == str(names.LAST_ATTEMPT)

    def _gone(self, name: str) -> None:
        if name not in self.foreign:
            self.jobs.pop(name, None)
            self.services.pop(name, None)

    def _created(self, job: Object) -> None:
        name = job["metadata"]["name"]
        if name in self.foreign or name in self.jobs:
            return  # the API server says 409
        self.created.append(name)
        uid = f"uid-{len(self.created)}"
        self.jobs[name] = deepcopy(job)
        self.jobs[name]["metadata"]["uid"] = uid
        self.jobs[name]["status"] = {"active": 1, "ready": 1}
        self.requests[name] = self.request(job)

    def _applied(self, body: Object) -> None:
        name = body["metadata"]["name"]
        if name in self.foreign:
            return
        if body["kind"] == "ConfigMap":
            self.routes = deepcopy(body)
            return
        kept = {k: v for k, v in self.services.get(name, {}).items() if k == "status"}
        self.services[name] = {**deepcopy(body), **kept}
