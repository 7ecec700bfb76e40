"""``make nodes``: what JobSet's own controller makes of our JobSets, Pods as real processes.

Most Pods run a program that trains nothing; the last test trains for real, on two nodes.
"""

import json
from typing import Any

import pytest

from jobs import random_model
from jobset.conftest import REAL_TRAINER
from palm.artifacts import training_record
from palm.contract import TrainingRecord

pytestmark = pytest.mark.cluster

RANGE = {"min": "0", "max": "9"}
REWARDS = [
    {"name": "steps", "verifiable": {"type": "ArithmeticSteps"}, "range": RANGE},
    {"name": "brevity", "verifiable": {"type": "BrevityIfCorrect"}, "range": RANGE},
]
JOB_SET = "jobset.sigs.k8s.io/jobset-name"


def condition(body: dict[str, Any], kind: str) -> dict[str, Any]:
    conditions = body.get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == kind and c["status"] == "True"), {})


def pods_of(tenant: Any, name: str) -> list[dict[str, Any]]:
    return [p for p in tenant.objects("pods") if p["metadata"]["labels"].get(JOB_SET) == name]


def running(tenant: Any) -> list[dict[str, Any]]:
    """The Pods of JobSets that run."""
    return [p for p in tenant.running() if JOB_SET in p["metadata"]["labels"]]


def test_every_policy_is_trained_by_the_pods_of_a_set(operator: Any, tenant: Any) -> None:
    tenant.apply(rewards=REWARDS, training={"parallelism": 4, "nodes": 2})
    tenant.eventually(lambda: tenant.condition("Trained").get("status") == "True")
    sets = tenant.objects("jobsets")
    assert len(sets) == 5
    for body in sets:
        assert condition(body, "Completed")
        assert body["status"]["restarts"] == 0
        assert [c["kind"] for c in body["metadata"]["ownerReferences"]] == ["Portfolio"]
        name = body["metadata"]["name"]
        nodes = pods_of(tenant, name)
        index = "batch.kubernetes.io/job-completion-index"
        assert sorted(p["metadata"]["annotations"][index] for p in nodes) == ["0", "1"]
        assert {p["spec"]["subdomain"] for p in nodes} == {name}
        assert {p["spec"]["hostname"] for p in nodes} == {f"{name}-n-0-0", f"{name}-n-0-1"}
        assert tenant.kubectl("get", "service", name, "-o", "jsonpath={.spec.clusterIP}") == "None"


@pytest.mark.parametrize(
    ("code", "reason", "restarts", "said"),
    [
        (64, "OracleCallInvalidRequest", 0, "exit code 64"),
        (70, "OracleCallFailed", 1, "exit code 70 after 1 retries"),
    ],
)
def test_exit_codes_fail_or_restart_the_whole_set(
    operator: Any, tenant: Any, code: int, reason: str, restarts: int, said: str
) -> None:
    training = {"parallelism": 4, "nodes": 2, "backoffLimit": 1}
    tenant.apply(failures="w", code=code, rewards=REWARDS, training=training)
    tenant.eventually(
        lambda: tenant.condition("Trained").get("reason") == reason, through_stalls=True
    )
    told = tenant.condition("Trained")["message"]
    assert said in told
    assert "kubectl logs --prefix -l jobset.sigs.k8s.io/jobset-name=" in told
    ended = [body for body in tenant.objects("jobsets") if condition(body, "Failed")]
    assert ended
    assert {body["status"]["restarts"] for body in ended} == {restarts}


def test_an_evicted_node_restarts_its_set_and_costs_no_retry(operator: Any, tenant: Any) -> None:
    training = {"parallelism": 1, "nodes": 2, "backoffLimit": 0}
    tenant.apply(seconds=12, rewards=REWARDS, training=training)
    tenant.eventually(lambda: len(running(tenant)) == 2)
    victim = running(tenant)[0]["metadata"]
    eviction = {
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": victim["name"], "namespace": tenant.namespace},
    }  # fmt: skip
    path = f"/api/v1/namespaces/{tenant.namespace}/pods/{victim['name']}/eviction"
    tenant.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    name = victim["labels"][JOB_SET]

    def restarted() -> Any:
        (body,) = [b for b in tenant.objects("jobsets") if b["metadata"]["name"] == name]
        assert not condition(body, "Failed"), body["status"]
        return body["status"].get("restarts") and condition(body, "Completed") and body

    body = tenant.eventually(restarted)
    assert body["status"]["restarts"] == 1
    assert body["status"].get("restartsCountTowardsMax", 0) == 0


def test_a_suspended_set_has_no_pods_and_goes_on_as_the_same_set(
    operator: Any, tenant: Any
) -> None:
    tenant.apply(seconds=8, rewards=REWARDS, training={"parallelism": 1, "nodes": 2})
    tenant.eventually(lambda: len(running(tenant)) == 2)
    (before,) = [b for b in tenant.objects("jobsets") if not condition(b, "Completed")]
    tenant.suspend(True)
    tenant.eventually(lambda: not running(tenant) and tenant.condition("Suspended"))
    (held,) = tenant.objects("jobsets")
    assert held["spec"]["suspend"]
    assert condition(held, "Suspended")
    tenant.suspend(False)
    uid = before["metadata"]["uid"]
    tenant.eventually(
        lambda: [
            b for b in tenant.objects("jobsets")
            if b["metadata"]["uid"] == uid and condition(b, "Completed")
        ]
    )  # fmt: skip


def queue(tenant: Any, cpu: str) -> None:
    """A LocalQueue ``gpus`` of the tenant's own ClusterQueue, which has so much."""
    quotas = [{"name": "cpu", "nominalQuota": cpu}, {"name": "memory", "nominalQuota": "8Gi"}]
    groups = [
        {
            "coveredResources": ["cpu", "memory"],
            "flavors": [{"name": "any", "resources": quotas}],
        }
    ]
    cluster_queue = {"namespaceSelector": {}, "resourceGroups": groups}
    for kind, name, spec in (
        ("ResourceFlavor", "any", {}),
        ("ClusterQueue", tenant.namespace, cluster_queue),
        ("LocalQueue", "gpus", {"clusterQueue": tenant.namespace}),
    ):
        body = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": kind, "spec": spec}
        tenant.kubectl("apply", "-f", "-", stdin=json.dumps(body | {"metadata": {"name": name}}))


def test_kueue_admits_all_nodes_of_a_set_or_none(operator: Any, tenant: Any) -> None:
    queue(tenant, "25m")  # two Pods of 10m, and not four
    training = {"parallelism": 2, "nodes": 2, "queueName": "gpus"}
    tenant.apply(seconds=3, rewards=REWARDS, training=training)
    most: list[int] = []

    def trained() -> bool:
        most.append(len(tenant.running()))
        return bool(tenant.condition("Trained").get("status") == "True")

    tenant.eventually(trained, through_stalls=True)
    assert max(most) == 2
    sets = {b["metadata"]["uid"] for b in tenant.objects("jobsets")}
    workloads = tenant.objects("workloads")
    queued = {w["metadata"]["labels"]["kueue.x-k8s.io/job-uid"] for w in workloads}
    assert sets <= queued
    assert {w["spec"]["podSets"][0]["count"] for w in workloads} == {1, 2}


def test_a_queued_set_is_suspended_by_its_workload_and_goes_on(operator: Any, tenant: Any) -> None:
    queue(tenant, "100m")
    training = {"parallelism": 1, "nodes": 2, "queueName": "gpus"}
    tenant.apply(seconds=8, rewards=REWARDS, training=training)
    tenant.eventually(lambda: len(running(tenant)) == 2)
    (body,) = [b for b in tenant.objects("jobsets") if not condition(b, "Completed")]
    uid = body["metadata"]["uid"]
    tenant.suspend(True)
    tenant.eventually(lambda: not running(tenant) and tenant.condition("Suspended"))
    assert [w for w in tenant.objects("workloads") if w["spec"].get("active") is False]
    tenant.suspend(False)
    tenant.eventually(
        lambda: [
            b
            for b in tenant.objects("jobsets")
            if b["metadata"]["uid"] == uid and condition(b, "Completed")
        ]
    )


def test_what_can_never_be_admitted_is_said_of_the_set(operator: Any, tenant: Any) -> None:
    queue(tenant, "15m")  # a Job of one Pod, and no set of two
    training = {"parallelism": 1, "nodes": 2, "queueName": "gpus"}
    tenant.apply(rewards=REWARDS, training=training)
    tenant.eventually(
        lambda: tenant.condition("Stalled").get("reason") == "ExceedsMaxQuota", through_stalls=True
    )
    message = tenant.condition("Stalled")["message"]
    assert message.startswith("JobSet assistant-train-")
    assert "it can never be admitted by Kueue" in message


@pytest.mark.model
def test_two_nodes_train_a_policy(operator: Any, tenant: Any) -> None:
    tenant.store.upload_folder(random_model(), "toy")
    where = f"s3://{tenant.location.bucket}/{tenant.location.prefix}/toy"
    prompts = {"uri": f"{where}/prompts.jsonl"}
    training = {
        "parallelism": 1, "nodes": 2, "episodes": 16, "batchSize": 8, "completionsPerPrompt": 4,
        "maxCompletionTokens": 8, "learningRate": "0.001", "adapter": {"type": "LoRA", "rank": 2},
        "template": {
            "image": REAL_TRAINER,
            "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
        },
    }  # fmt: skip
    tenant.apply(
        rewards=REWARDS,
        baseModel={"uri": f"{where}/model"},
        prompts={"train": prompts, "evaluation": prompts},
        training=training,
    )

    def done() -> Any:
        return [body for body in tenant.objects("jobsets") if condition(body, "Completed")]

    body = tenant.eventually(done, seconds=400, through_stalls=True)[0]
    digest = body["metadata"]["labels"]["palm-operator.dev/digest"]
    content = tenant.store.read(training_record(digest), max_bytes=100_000)
    record = TrainingRecord.model_validate_json(content)
    assert record.steps == 2
    assert "adapter_model.safetensors" in record.files
    said = {
        p["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]: tenant.kubectl(
            "logs", p["metadata"]["name"]
        )
        for p in pods_of(tenant, body["metadata"]["name"])
    }
    assert "step 2/2" in said["0"]
    assert "is trained: s3://" in said["0"]
    assert "node 1 is done; the first node writes" in said["1"]
    print("\n".join(f"node {index}: {text}" for index, text in sorted(said.items())))
