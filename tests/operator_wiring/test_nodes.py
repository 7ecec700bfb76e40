"""Trainings on several nodes: JobSets on the real API server, their controller played by the test.

What it writes is what JobSet v0.12 writes: pkg/controllers/jobset_controller.go, failure_policy.go
and pkg/constants.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders import make_record, request_of
from palm.artifacts import model_folder, training_record
from palm.contract import TrainingRequest
from palm_devcluster.addons import AddonError, ensure_files, wait_established
from palm_devcluster.components import CRD_MODULES
from palm_operator.names import ANNOTATION_SUSPENDED

pytestmark = pytest.mark.cluster

GOLDEN = Path(__file__).parents[1] / "manifests" / "golden" / "training_job_set.yaml"
CRD = "jobsets.jobset.x-k8s.io"
RANGE = {"min": "0", "max": "9"}
SPEC: dict[str, Any] = {
    "rewards": [
        {"name": "steps", "verifiable": {"type": "ArithmeticSteps"}, "range": RANGE},
        {"name": "brevity", "verifiable": {"type": "BrevityIfCorrect"}, "range": RANGE},
    ],
    "serving": {"mode": "None"},
}
NOW = "2026-01-02T03:04:05Z"
COMPLETED = {
    "type": "Completed", "status": "True", "reason": "AllJobsCompleted",
    "message": "jobset completed successfully", "lastTransitionTime": NOW,
}  # fmt: skip
HOPELESS = {
    "type": "Failed", "status": "True", "reason": "FailJobSetFailurePolicyAction",
    "message": "applying FailJobSet failure policy action", "lastTransitionTime": NOW,
}  # fmt: skip
RUNNING = {
    "restarts": 0,
    "replicatedJobsStatus": [
        {"name": "n", "ready": 1, "active": 1, "succeeded": 0, "failed": 0, "suspended": 0}
    ],
}


def report(tenant: Any, body: dict[str, Any], status: dict[str, Any]) -> None:
    """Write the status that the controller would."""
    patch = json.dumps({"status": {"restarts": 0, **status}})
    name = body["metadata"]["name"]
    tenant.kubectl("patch", "jobset", name, "--subresource=status", "--type=merge", "-p", patch)


def complete(tenant: Any, body: dict[str, Any]) -> None:
    """Let a JobSet's first node write the policy and all of its nodes end well."""
    request = request_of(body)
    assert isinstance(request, TrainingRequest)
    weights = f"{model_folder(request.policy_digest)}/weights.json"  # for the fake evaluator
    tenant.store.write(weights, json.dumps(request.weights).encode())
    tenant.store.write(training_record(request.policy_digest), make_record(request))
    report(tenant, body, {"conditions": [COMPLETED], "terminalState": "Completed"})


def unfinished(tenant: Any) -> list[dict[str, Any]]:
    return [b for b in tenant.objects("jobsets") if not b.get("status", {}).get("conditions")]


def failed_job(tenant: Any, body: dict[str, Any]) -> dict[str, Any]:
    """The Job that the controller makes of a JobSet, without a Pod of its own."""
    metadata = body["metadata"]
    (replicated,) = body["spec"]["replicatedJobs"]
    spec = {**replicated["template"]["spec"], "suspend": True}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{metadata['name']}-n-0",
            "namespace": tenant.namespace,
            "labels": {"jobset.sigs.k8s.io/jobset-uid": metadata["uid"]},
            "ownerReferences": [
                {"apiVersion": body["apiVersion"], "kind": "JobSet", "name": metadata["name"],
                 "uid": metadata["uid"], "controller": True, "blockOwnerDeletion": True}
            ],
        },
        "spec": spec,
    }  # fmt: skip


def test_the_api_server_takes_the_golden_job_set(kubectl: Callable[..., str]) -> None:
    body = yaml.safe_load(GOLDEN.read_text())
    body["metadata"]["namespace"] = "default"
    answer = kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", "-o", "json",
        stdin=json.dumps(body),
    )  # fmt: skip
    live = json.loads(answer)["spec"]
    assert live["failurePolicy"] == body["spec"]["failurePolicy"]
    assert live["replicatedJobs"][0]["template"]["spec"]["completions"] == 2


def test_a_portfolio_is_trained_by_job_sets_to_its_end(operator: Any, tenant: Any) -> None:
    tenant.apply(**SPEC, training={"parallelism": 4, "nodes": 2})
    made = tenant.eventually(lambda: len(unfinished(tenant)) >= 2 and unfinished(tenant))
    for body in made:
        (owner,) = body["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["controller"]) == ("Portfolio", True)
        assert request_of(body).execution.nodes == 2
        report(tenant, body, RUNNING)
    assert not [j for j in tenant.objects("jobs") if "-train-" in j["metadata"]["name"]]

    def trained() -> bool:
        for body in unfinished(tenant):
            complete(tenant, body)
        return bool(tenant.condition("Trained").get("status") == "True")

    tenant.eventually(trained)
    assert len(tenant.objects("jobsets")) == 5
    tenant.kubectl("delete", "pfo", "assistant")
    tenant.eventually(lambda: not tenant.objects("jobsets"))


def test_a_job_set_that_failed_is_told_in_its_jobs_words(operator: Any, tenant: Any) -> None:
    tenant.apply(**SPEC, training={"parallelism": 4, "nodes": 2})
    made = tenant.eventually(lambda: len(unfinished(tenant)) >= 2 and unfinished(tenant))
    body = made[0]
    job = failed_job(tenant, body)
    tenant.kubectl("create", "-f", "-", stdin=json.dumps(job))
    message = (
        f"Container trainer for pod {tenant.namespace}/x failed with exit code 64 matching FailJob "
        "rule at index 2"
    )
    ends = [
        {"type": kind, "status": "True", "reason": "PodFailurePolicy", "message": message,
         "lastProbeTime": NOW, "lastTransitionTime": NOW}
        for kind in ("FailureTarget", "Failed")
    ]  # fmt: skip
    tenant.kubectl(
        "patch", "job", job["metadata"]["name"], "--subresource=status", "--type=merge",
        "-p", json.dumps({"status": {"conditions": ends, "startTime": NOW}}),
    )  # fmt: skip
    report(tenant, body, {"conditions": [HOPELESS], "terminalState": "Failed"})
    told = tenant.eventually(
        lambda: (
            tenant.condition("Trained").get("reason") == "OracleCallInvalidRequest"
            and tenant.condition("Trained")
        ),
        through_stalls=True,
    )
    assert "exit code 64" in told["message"]
    assert f"jobset-name={body['metadata']['name']}" in told["message"]


def test_job_sets_are_suspended_resumed_and_deleted(operator: Any, tenant: Any) -> None:
    tenant.apply(**SPEC, training={"parallelism": 4, "nodes": 2})
    made = tenant.eventually(lambda: len(unfinished(tenant)) >= 2 and unfinished(tenant))
    tenant.suspend(True)
    tenant.eventually(lambda: all(b["spec"].get("suspend") for b in tenant.objects("jobsets")))
    tenant.suspend(False)
    tenant.eventually(lambda: not any(b["spec"].get("suspend") for b in tenant.objects("jobsets")))
    before = {b["metadata"]["uid"] for b in made}
    assert before <= {b["metadata"]["uid"] for b in tenant.objects("jobsets")}
    # Another seed is another policy: what the old one had is of no use.
    patch = json.dumps({"spec": {"training": {"seed": 7}}})
    tenant.kubectl("patch", "pfo", "assistant", "--type=merge", "-p", patch)
    tenant.eventually(
        lambda: not before & {b["metadata"]["uid"] for b in tenant.objects("jobsets")}
    )


def test_sets_end_before_what_they_write_is_purged(operator: Any, tenant: Any) -> None:
    tenant.apply(**SPEC, retentionPolicy="Delete", training={"parallelism": 4, "nodes": 2})
    tenant.eventually(lambda: len(unfinished(tenant)) >= 2)
    tenant.kubectl("delete", "pfo", "assistant", "--wait=false")
    tenant.eventually(lambda: not tenant.portfolio)
    assert tenant.objects("jobsets") == []
    assert not tenant.store.list("policies")


def test_the_operator_may_change_nothing_else_of_a_job_set(operator: Any, tenant: Any) -> None:
    tenant.apply(**SPEC, training={"parallelism": 4, "nodes": 2})
    body = tenant.eventually(lambda: unfinished(tenant))[0]
    name = body["metadata"]["name"]
    as_operator = "--as=system:serviceaccount:palm-system:palm-system-palm-operator"

    def patch(content: dict[str, Any]) -> str:
        changes = ("--type=merge", "-p", json.dumps(content))
        said: str = tenant.kubectl(
            "patch", "jobset", name, *changes, as_operator, "--dry-run=server"
        )
        return said

    assert "patched" in patch({"spec": {"suspend": True}})
    assert "patched" in patch({"metadata": {"annotations": {ANNOTATION_SUSPENDED: "true"}}})
    (replicated,) = body["spec"]["replicatedJobs"]
    for content in (
        {"spec": {"replicatedJobs": [{**replicated, "replicas": 2}]}},
        {"spec": {"ttlSecondsAfterFinished": 1}},
        {"metadata": {"labels": {"palm-operator.dev/digest": "0" * 32}}},
        {"metadata": {"annotations": {"palm-operator.dev/weights": "1, 0"}}},
        {"metadata": {"ownerReferences": []}},
    ):
        with pytest.raises(AddonError, match="changes nothing of a JobSet but whether it is"):
            patch(content)


@pytest.fixture
def without_job_sets(cluster: Any, kubectl: Callable[..., str]) -> Iterator[Callable[[], None]]:
    """A cluster without the CRD; what is yielded installs it again."""
    folder = next(f for f in ensure_files(CRD_MODULES, print) if f.name.startswith("jobset-"))
    (file,) = folder.glob("*.yaml")

    def install() -> None:
        kubectl("apply", "--server-side", "--force-conflicts", "-f", str(file))
        wait_established(cluster.kubectl, cluster.kubeconfig, "-f", str(file))

    kubectl("delete", "crd", CRD)
    try:
        yield install
    finally:
        install()


def test_without_job_sets_it_is_said_and_goes_on_once_they_are_installed(
    without_job_sets: Callable[[], None], operator: Any, tenant: Any
) -> None:
    tenant.apply(**SPEC, training={"parallelism": 4, "nodes": 2})
    stalled = tenant.eventually(
        lambda: (
            tenant.condition("Stalled").get("reason") == "JobSetNotInstalled"
            and tenant.condition("Stalled")
        ),
        through_stalls=True,
    )
    assert "this cluster has no JobSet" in stalled["message"]
    # Quiet: what cannot be done is not written again and again.
    before = tenant.portfolio["metadata"]["resourceVersion"]
    time.sleep(6)
    assert tenant.portfolio["metadata"]["resourceVersion"] == before
    without_job_sets()
    tenant.eventually(lambda: len(unfinished(tenant)) >= 2, through_stalls=True)
    tenant.eventually(lambda: not tenant.condition("Stalled"), through_stalls=True)
    # The watch has come too: what the controller says is noticed without a resync's help.
    body = unfinished(tenant)[0]
    complete(tenant, body)
    digest = body["metadata"]["labels"]["palm-operator.dev/digest"]

    def evaluated() -> bool:
        annotations = [j["metadata"].get("annotations", {}) for j in tenant.objects("jobs")]
        return any(a.get("palm-operator.dev/policy-digest") == digest for a in annotations)

    tenant.eventually(evaluated)
