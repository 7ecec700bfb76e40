"""Every field of the spec: what a change of it leads to, said in a table and checked by behaviour.

Whoever adds a field adds a line here: without one the first test fails.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import pytest

from builders import World, portfolio_body
from palm.policies import policy_name
from palm.schema import sha256_of
from palm_operator.api.crd import custom_resource_definition
from palm_operator.plan import Plan
from palm_operator.settings import Settings
from palm_operator.storage_rules import StorageRules

POLICIES = "other policies: a new revision, in which only what is not in S3 is trained"
EVALUATIONS = "other results: a new revision, in which trained policies are evaluated again"
SEARCH = "another choice of what to train: nothing that is there is made again"
PRUNING = "another choice of policies from the same results: no Job"
SERVING = "the same policies, served otherwise: no Job, the same manifest"
PLACE = "the same policies and results, only recorded or reached otherwise: no Job"
JOBS = "only how Jobs run: those to come, none now"
LIFE = "when, not what: no Job, nothing published"
IMMUTABLE = "refused by the API server"

SPEC = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"][
    "properties"
]["spec"]
RANGE = {"min": "0", "max": "9"}
STEPS = {"name": "steps", "verifiable": {"type": "ArithmeticSteps"}, "range": RANGE}
BREVITY = {
    "name": "brevity", "verifiable": {"type": "BrevityIfCorrect", "maxTokens": 64}, "range": RANGE,
}  # fmt: skip
JUDGE = {"name": "judge", "model": {"uri": "s3://models/judge"}, "range": RANGE}
OWN = {"name": "own", "entrypoint": {"function": "mine:score", "version": "1"}, "range": RANGE}


def leaves(node: dict[str, Any], path: str = "") -> Iterator[str]:
    if "properties" in node:
        for name, child in node["properties"].items():
            yield from leaves(child, f"{path}.{name}".lstrip("."))
    elif "items" in node:
        yield from leaves(node["items"], f"{path}[]")
    elif "additionalProperties" in node:
        yield f"{path}{{}}"
    else:
        yield path


@dataclass(frozen=True)
class Change:
    """A change of one field: its class, other values, and the spec that it starts from."""

    kind: str
    spec: dict[str, Any]
    """Paths and their new values."""
    base: dict[str, Any] = field(default_factory=dict)
    shows: bool = True
    """Whether something follows at once where all is at rest."""


def reward(**change: Any) -> dict[str, Any]:
    """Another second reward."""
    return {"rewards": [STEPS, {**BREVITY, **change}]}


def own(**change: Any) -> Change:
    """Another function of the user's own."""
    rewards = [STEPS, {**OWN, "entrypoint": {**OWN["entrypoint"], **change}}]
    return Change(POLICIES, {"rewards": rewards}, {"rewards": [STEPS, OWN]})


def judge(**change: Any) -> Change:
    """Another reward model."""
    rewards = [STEPS, {**JUDGE, "model": {**JUDGE["model"], **change}}]
    return Change(POLICIES, {"rewards": rewards}, {"rewards": [STEPS, JUDGE]})


def grid(base: dict[str, Any], **change: Any) -> Change:
    return Change(POLICIES, {"grid": {**base, **change}}, {"grid": base})


UNIFORM = {"strategy": "Uniform", "size": 4}
RANDOM = {"strategy": "Random", "size": 3, "seed": 1}
LISTED = {"strategy": "Explicit", "weights": [["0.5", "0.5"]]}
PALM_GRID = {"strategy": "PALM", "mu": "1", "alpha": "0.5"}

TEMPLATE: dict[str, tuple[str, Any]] = {
    "image": ("image", "mine:1"),
    "resources.requests{}": ("resources", {"requests": {"cpu": "2"}}),
    "resources.limits{}": ("resources", {"limits": {"nvidia.com/gpu": "2"}}),
    "nodeSelector{}": ("nodeSelector", {"gpu": "a100"}),
    "tolerations[].key": ("tolerations", [{"key": "gpu", "operator": "Exists"}]),
    "tolerations[].operator": ("tolerations", [{"operator": "Exists"}]),
    "tolerations[].value": ("tolerations", [{"key": "gpu", "value": "a100"}]),
    "tolerations[].effect": ("tolerations", [{"key": "gpu", "effect": "NoSchedule"}]),
    "tolerations[].tolerationSeconds": (
        "tolerations",
        [{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}],
    ),
    "serviceAccountName": ("serviceAccountName", "trainer"),
    "priorityClassName": ("priorityClassName", "batch"),
    "runtimeClassName": ("runtimeClassName", "nvidia"),
    "imagePullSecrets[]": ("imagePullSecrets", ["registry"]),
    "env[].name": ("env", [{"name": "LEVEL"}]),
    "env[].value": ("env", [{"name": "LEVEL", "value": "debug"}]),
    "envFromSecrets[]": ("envFromSecrets", ["hub-token"]),
    "labels{}": ("labels", {"team": "ml"}),
    "annotations{}": ("annotations", {"team": "ml"}),
}


def template(section: str, kind: str) -> dict[str, Change]:
    return {
        f"{section}.template.{leaf}": Change(kind, {f"{section}.template.{name}": value})
        for leaf, (name, value) in TEMPLATE.items()
    }


TABLE: dict[str, Change] = {
    "operatorClass": Change(IMMUTABLE, {"operatorClass": "other"}),
    "baseModel.uri": Change(POLICIES, {"baseModel.uri": "s3://models/other"}),
    "prompts.train.uri": Change(POLICIES, {"prompts.train.uri": "s3://data/other.jsonl"}),
    "prompts.train.limit": Change(POLICIES, {"prompts.train.limit": 7}),
    "prompts.train.promptColumn": Change(POLICIES, {"prompts.train.promptColumn": "question"}),
    "prompts.train.answerColumn": Change(POLICIES, {"prompts.train.answerColumn": "solution"}),
    "prompts.evaluation.promptColumn": Change(
        EVALUATIONS, {"prompts.evaluation.promptColumn": "question"}
    ),
    "prompts.evaluation.answerColumn": Change(
        EVALUATIONS, {"prompts.evaluation.answerColumn": "solution"}
    ),
    "prompts.evaluation.uri": Change(
        EVALUATIONS, {"prompts.evaluation.uri": "s3://data/other.jsonl"}
    ),
    "prompts.evaluation.limit": Change(EVALUATIONS, {"prompts.evaluation.limit": 7}),
    "rewards[].name": Change(POLICIES, reward(name="short")),
    "rewards[].verifiable.type": Change(
        POLICIES, reward(verifiable={"type": "ArithmeticSteps", "maxTokens": 64})
    ),
    "rewards[].verifiable.maxTokens": Change(
        POLICIES, reward(verifiable={"type": "BrevityIfCorrect", "maxTokens": 32})
    ),
    "rewards[].verifiable.pattern": Change(
        POLICIES, reward(verifiable={"type": "Regex", "pattern": "a+"})
    ),
    "rewards[].entrypoint.function": own(function="mine:other"),
    "rewards[].entrypoint.version": own(version="2"),
    "rewards[].timeoutSeconds": Change(PLACE, reward(timeoutSeconds=60)),
    "rewards[].model.preset": judge(preset="SkyworkLlama"),
    "rewards[].model.architecture": judge(architecture="ScoreHead"),
    "rewards[].model.format": judge(template="Format", format="{prompt} {response}"),
    "rewards[].model.truncationSide": judge(truncationSide="Right"),
    "rewards[].model.stopStrings[]": judge(stopStrings=["###"]),
    "rewards[].model.trustRemoteCode": judge(trustRemoteCode=True),
    "rewards[].model.uri": judge(uri="s3://models/other"),
    "rewards[].model.labelIndex": judge(labelIndex=1),
    "rewards[].model.sign": judge(sign="Negative"),
    "rewards[].model.template": judge(template="Pair"),
    "rewards[].model.activation": judge(activation="Sigmoid"),
    "rewards[].model.maxLength": judge(maxLength=64),
    "rewards[].range.min": Change(POLICIES, reward(range={"min": "-1", "max": "9"})),
    "rewards[].range.max": Change(POLICIES, reward(range={"min": "0", "max": "8"})),
    "grid.strategy": Change(POLICIES, {"grid": {**UNIFORM, "size": 6}}),
    "grid.mu": grid(PALM_GRID, mu="0.5"),
    "grid.alpha": grid(PALM_GRID, alpha="0.2"),
    "grid.spacing": grid({**PALM_GRID, "alpha": "0.3"}, spacing="Even"),
    "grid.size": grid(UNIFORM, size=5),
    "grid.seed": grid(RANDOM, seed=2),
    "grid.weights[][]": grid(LISTED, weights=[["0.25", "0.75"]]),
    "oracle.type": Change(EVALUATIONS, {"oracle.type": "MOD"}),
    "search.mode": Change(SEARCH, {"search.mode": "Adaptive"}),
    "search.maxOracleCalls": Change(SEARCH, {"search.maxOracleCalls": 50}),
    "pruning.mu": Change(PRUNING, {"pruning.mu": "0.3"}),
    "pruning.alpha": Change(PRUNING, {"pruning.alpha": "0.3"}),
    "pruning.solver": Change(PRUNING, {"pruning.solver": "Greedy"}),
    "training.algorithm": Change(POLICIES, {"training.algorithm": "RLOO"}),
    "training.aggregation": Change(POLICIES, {"training.aggregation": "NormalizeThenSum"}),
    "training.rewardNormalization": Change(
        POLICIES, {"training.rewardNormalization": "BatchMinMax"}
    ),
    "training.advantageScale": Change(POLICIES, {"training.advantageScale": "Batch"}),
    "training.learningRateSchedule": Change(POLICIES, {"training.learningRateSchedule": "Linear"}),
    "training.klCoefficient": Change(POLICIES, {"training.klCoefficient": "0.02"}),
    "training.adapter.type": Change(POLICIES, {"training.adapter.type": "Full"}),
    "training.adapter.rank": Change(POLICIES, {"training.adapter.rank": 8}),
    "training.episodes": Change(POLICIES, {"training.episodes": 80_000}),
    "training.batchSize": Change(POLICIES, {"training.batchSize": 96}),
    "training.completionsPerPrompt": Change(POLICIES, {"training.completionsPerPrompt": 8}),
    "training.maxCompletionTokens": Change(POLICIES, {"training.maxCompletionTokens": 128}),
    "training.learningRate": Change(POLICIES, {"training.learningRate": "0.000001"}),
    "training.seed": Change(POLICIES, {"training.seed": 7}),
    "training.parallelism": Change(JOBS, {"training.parallelism": 2}),
    "training.backoffLimit": Change(JOBS, {"training.backoffLimit": 5}),
    "training.activeDeadlineSeconds": Change(JOBS, {"training.activeDeadlineSeconds": 7200}),
    "training.pendingDeadlineSeconds": Change(LIFE, {"training.pendingDeadlineSeconds": 7200}),
    "training.queueName": Change(JOBS, {"training.queueName": "gpus"}),
    "training.checkpointInterval": Change(JOBS, {"training.checkpointInterval": "5m"}),
    "training.nodes": Change(JOBS, {"training.nodes": 2}),
    "training.sharding": Change(JOBS, {"training.sharding": "ZeRO2"}),
    "training.rollouts.engine": Change(JOBS, {"training.rollouts.engine": "Transformers"}),
    "training.rollouts.gpus": Change(
        JOBS, {"training.rollouts": {"engine": "vLLMServer", "gpus": 2}}
    ),
    **template("training", JOBS),
    "evaluation.engine": Change(EVALUATIONS, {"evaluation.engine": "Transformers"}),
    "evaluation.decoding": Change(
        EVALUATIONS, {"evaluation.decoding": "Greedy", "evaluation.samplesPerPrompt": 1}
    ),
    "evaluation.precision.standardError": Change(
        EVALUATIONS, {"evaluation.precision": {"standardError": "0.01"}}
    ),
    "evaluation.precision.maxSamplesPerPrompt": Change(
        EVALUATIONS,
        {"evaluation.precision": {"standardError": "0.01", "maxSamplesPerPrompt": 32}},
        {"evaluation": {"precision": {"standardError": "0.01"}}},
    ),
    "evaluation.activeDeadlineSeconds": Change(JOBS, {"evaluation.activeDeadlineSeconds": 7200}),
    "evaluation.confidence": Change(PRUNING, {"evaluation.confidence": "0.9"}),
    "evaluation.samplesPerPrompt": Change(EVALUATIONS, {"evaluation.samplesPerPrompt": 8}),
    "evaluation.seed": Change(EVALUATIONS, {"evaluation.seed": 7}),
    **template("evaluation", JOBS),
    "storage.s3.bucket": Change(IMMUTABLE, {"storage.s3.bucket": "other"}),
    "storage.s3.prefix": Change(IMMUTABLE, {"storage.s3.prefix": "other"}),
    "storage.s3.endpoint": Change(PLACE, {"storage.s3.endpoint": "http://s3:9000"}),
    "storage.s3.region": Change(PLACE, {"storage.s3.region": "eu-central-1"}),
    "storage.s3.credentialsSecret.name": Change(
        SERVING, {"storage.s3.credentialsSecret": {"name": "keys"}}
    ),
    "serving.mode": Change(SERVING, {"serving.mode": "SharedAdapters"}),
    "serving.maxPolicies": Change(SERVING, {"serving.maxPolicies": 1}, shows=False),
    "serving.onExceeded": Change(SERVING, {"serving.onExceeded": "BestEffort"}, shows=False),
    "serving.minReplicas": Change(SERVING, {"serving.minReplicas": 2}),
    "serving.rollout": Change(SERVING, {"serving.rollout": "Recreate"}, shows=False),
    "serving.retireAfter": Change(SERVING, {"serving.retireAfter": "1h"}, shows=False),
    "serving.strategy": Change(SERVING, {"serving.strategy": "Recreate"}),
    "serving.deploymentMode": Change(IMMUTABLE, {"serving.deploymentMode": "Knative"}),
    "serving.runtime": Change(SERVING, {"serving.runtime": "vllm"}),
    **template("serving", SERVING),
    "failurePolicy.onOracleFailure": Change(
        LIFE, {"failurePolicy.onOracleFailure": "AllowPartial"}
    ),
    "suspend": Change(LIFE, {"suspend": True}),
    "retentionPolicy": Change(LIFE, {"retentionPolicy": "Delete"}),
}
ELSEWHERE = {
    "serving.pin.revision": "tests/planning/test_pin.py",
    "serving.pin.sha256": "tests/planning/test_pin.py",
}


@lru_cache(maxsize=32)
def _rested(base: str) -> World:
    made = World(
        body=portfolio_body(**json.loads(base)),
        settings=Settings(storage=StorageRules(endpoints=("*",)), allow_remote_code=True),
    )
    made.run()
    for _ in range(2):
        made.serve()
        made.step()
    assert made.condition("Ready")["status"] == "True"
    assert not made.planned().acts
    return made


def rested(base: dict[str, Any]) -> World:
    """A World in which all is trained and served, to be changed."""
    ordinary = {"rewards": [STEPS, BREVITY], "training": {"parallelism": 9}}
    return copy.deepcopy(_rested(json.dumps({**ordinary, **base})))


def change(body: dict[str, Any], spec: dict[str, Any]) -> None:
    for path, value in spec.items():
        *way, last = path.split(".")
        node = body["spec"]
        for step in way:
            node = node.setdefault(step, {})
        node[last] = copy.deepcopy(value)
    body["metadata"]["generation"] += 1


def jobs_of(plan: Plan, step: str) -> set[str]:
    """The digests that Jobs of a plan make."""
    labels = [job["metadata"]["labels"] for job in plan.creates]
    return {
        label["palm-operator.dev/digest"]
        for label in labels
        if label["palm-operator.dev/step"] == step
    }


def trained(world: World) -> set[str]:
    return {key.split("/")[1] for key in world.store.objects if key.endswith("/trained.json")}


def manifest(world: World) -> str:
    return world.body["status"]["portfolio"]["manifest"]["sha256"]


def test_every_field_has_its_class() -> None:
    fields, known = set(leaves(SPEC)), {*TABLE, *ELSEWHERE}
    missing = sorted(fields - known)
    assert not missing, f"say in TABLE what a change of these fields leads to: {missing}"
    assert known == fields


def of(*kinds: str, shows: bool | None = None) -> list[str]:
    return [
        name
        for name, entry in TABLE.items()
        if entry.kind in kinds and shows in (None, entry.shows)
    ]


@pytest.mark.parametrize("name", of(POLICIES))
def test_other_policies_are_trained_and_what_is_there_is_not(name: str) -> None:
    entry = TABLE[name]
    world = rested(entry.base)
    before, revision, sha = trained(world), world.work.revision, manifest(world)
    change(world.body, entry.spec)
    plan = world.step()
    assert plan.status.revision != revision
    training = jobs_of(plan, "train")
    assert training
    assert not training & before
    if name.startswith("grid."):  # the extremes are in every grid
        assert len(training) < len(world.work.grid)
        assert not jobs_of(plan, "evaluate")
    # The portfolio before goes on meanwhile.
    assert manifest(world) == sha
    assert world.condition("Ready")["status"] == "True"
    assert not plan.deletes


@pytest.mark.parametrize("name", of(EVALUATIONS))
def test_trained_policies_are_evaluated_again_and_not_trained(name: str) -> None:
    entry = TABLE[name]
    world = rested(entry.base)
    revision = world.work.revision
    change(world.body, entry.spec)
    plan = world.step()
    assert plan.status.revision != revision
    assert jobs_of(plan, "evaluate")
    assert not jobs_of(plan, "train")
    assert world.condition("Ready")["status"] == "True"


@pytest.mark.parametrize("name", of(SEARCH, PRUNING, SERVING, PLACE, JOBS, LIFE))
def test_no_other_field_starts_a_job_or_a_revision(name: str) -> None:
    entry = TABLE[name]
    world = rested(entry.base)
    revision, created = world.work.revision, len(world.created)
    change(world.body, entry.spec)
    for _ in range(2):
        world.step()
        world.serve()
    assert len(world.created) == created
    assert world.body["status"]["revision"] == revision
    assert world.body["status"]["observedGeneration"] == 2


@pytest.mark.parametrize("name", of(SEARCH, PRUNING, PLACE))
def test_what_is_decided_or_recorded_otherwise_has_another_manifest(name: str) -> None:
    entry = TABLE[name]
    world = rested(entry.base)
    before = manifest(world)
    change(world.body, entry.spec)
    plan = world.step()
    written = [sha256_of(w.content) for w in plan.writes if w.key.endswith("portfolio.json")]
    assert written
    assert written != [before]


@pytest.mark.parametrize("name", of(SERVING))
def test_the_same_policies_are_served_otherwise(name: str) -> None:
    entry = TABLE[name]
    world = rested(entry.base)
    before = manifest(world)
    change(world.body, entry.spec)
    plan = world.step()
    assert not plan.writes
    servers = [o for o in plan.applies if o["kind"] != "ConfigMap"]
    assert bool(servers) == entry.shows
    for _ in range(3):
        world.serve()
        world.step()
    assert manifest(world) == before


@pytest.mark.parametrize("name", of(JOBS))
def test_the_next_jobs_run_otherwise(name: str) -> None:
    entry = TABLE[name]
    world = rested(entry.base)
    change(world.body, entry.spec)
    assert not world.planned().acts

    fresh = World(body=portfolio_body(rewards=[STEPS, BREVITY], training={"parallelism": 9}))
    before = fresh.planned().creates
    change(fresh.body, entry.spec)
    after = fresh.planned().creates
    assert [o for o in before if o not in after]
    digests = {o["metadata"]["labels"]["palm-operator.dev/digest"] for o in before}
    assert {o["metadata"]["labels"]["palm-operator.dev/digest"] for o in after} <= digests


@pytest.mark.parametrize("name", of(LIFE))
def test_nothing_is_published_or_made_for_it(name: str) -> None:
    world = rested({})
    before = manifest(world)
    change(world.body, TABLE[name].spec)
    assert not world.step().acts
    assert manifest(world) == before


@pytest.mark.parametrize("name", of(IMMUTABLE))
def test_what_is_immutable_is_so_by_a_rule_of_the_resource(name: str) -> None:
    node, said = SPEC, []
    *_, last = name.split(".")
    for step in ["", *name.split(".")]:
        node = node["properties"][step] if step else node
        said += [
            rule
            for rule in node.get("x-kubernetes-validations", [])
            if "oldSelf" in rule["rule"] and rule.get("fieldPath", f".{last}").endswith(f".{last}")
        ]
    assert any("immutable" in json.dumps(rule) for rule in said)


def test_reverting_before_completion_returns_to_the_old_set_and_trains_nothing() -> None:
    world = rested({})
    spec, created, sha = copy.deepcopy(world.body["spec"]), len(world.created), manifest(world)
    change(world.body, {"training.seed": 7})
    world.step()
    running = world.unfinished
    assert running
    world.finish(running[0])
    world.step()
    world.body["spec"] = spec
    world.body["metadata"]["generation"] += 1
    plan = world.step()
    assert not plan.creates
    # Obsolete ones are stopped, the evaluation that followed the first among them.
    assert len(plan.deletes) == len(running)
    assert not world.unfinished
    for _ in range(3):
        world.serve()
        assert not world.step().creates
    assert manifest(world) == sha
    assert len(world.created) - created == len(running) + 1
    assert world.condition("Ready")["status"] == "True"


def test_what_was_trained_meanwhile_is_there_when_the_edit_comes_back() -> None:
    world = rested({})
    change(world.body, {"training.seed": 7})
    world.step()
    finished = world.unfinished
    for name in finished:
        world.finish(name)
    world.step()
    change(world.body, {"training.seed": 0})
    world.step()
    created = len(world.created)
    change(world.body, {"training.seed": 7})
    world.run()
    assert not set(finished) & set(world.created[created:])
    assert world.condition("Ready")["status"] == "True"


def test_what_is_in_s3_is_reused_without_jobs_and_by_other_portfolios() -> None:
    first = rested({})
    body = copy.deepcopy(first.body)
    body["metadata"] |= {"name": "other", "namespace": "elsewhere", "uid": "another", "status": {}}
    del body["status"]
    again = World(body=body, store=first.store, settings=first.settings)
    again.run()
    assert again.created == []
    assert again.body["status"]["oracleCalls"]["reused"] == len(again.work.grid)
    assert policy_name(0, again.work.policies[0].digest) == first.work.policies[0].name

    first.jobs.clear()  # as after their time to live
    first.step()
    assert not first.planned().creates
    assert first.body["status"]["oracleCalls"]["reused"] == len(first.work.grid)
