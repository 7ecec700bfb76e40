"""Kueue's own controller decides when Jobs run: it is not fought, and what it says is told."""

import json
import os
import signal
import time

import pytest

from serving_world import pid_of

pytestmark = pytest.mark.cluster
QUEUED = {"parallelism": 3, "queueName": "gpus"}
_MEMORY = {"name": "memory", "nominalQuota": "8Gi"}


def cluster_queue(tenant, cpu: str) -> None:
    """A ClusterQueue of the tenant's own, of so much; its preemption lets the more urgent in."""
    flavor = {"name": "any", "resources": [{"name": "cpu", "nominalQuota": cpu}, _MEMORY]}
    objects = [
        {"kind": "ResourceFlavor", "metadata": {"name": "any"}},
        {
            "kind": "ClusterQueue",
            "metadata": {"name": tenant.namespace},
            "spec": {
                "namespaceSelector": {},
                "preemption": {"withinClusterQueue": "LowerPriority"},
                "resourceGroups": [{"coveredResources": ["cpu", "memory"], "flavors": [flavor]}],
            },
        },
    ]
    apply(tenant, *objects)


def local_queue(tenant, name: str = "gpus") -> None:
    metadata = {"name": name, "namespace": tenant.namespace}
    spec = {"clusterQueue": tenant.namespace}
    apply(tenant, {"kind": "LocalQueue", "metadata": metadata, "spec": spec})


def apply(tenant, *objects) -> None:
    for body in objects:
        whole = {"apiVersion": "kueue.x-k8s.io/v1beta2", **body}
        tenant.kubectl("apply", "-f", "-", stdin=json.dumps(whole))


def test_jobs_wait_for_quota_in_turn_and_all_run(operator, tenant, seen):
    cluster_queue(tenant, "15m")  # one Job of 10m at a time
    local_queue(tenant)
    tenant.apply(seconds=2, training=QUEUED)
    waits = "2 of them wait to run (Kueue: "
    seen.until(lambda: waits in tenant.condition("Progressing").get("message", ""))
    assert len(tenant.running()) <= 1
    seen.trained()
    assert tenant.portfolio["status"]["oracleCalls"]["summary"] == "5/5"


def test_what_can_never_be_admitted_stalls_until_the_quota_is_raised(operator, tenant, seen):
    cluster_queue(tenant, "5m")
    local_queue(tenant)
    tenant.apply(training=QUEUED)
    said = seen.says("Stalled", "ExceedsMaxQuota")
    assert said["status"] == "True"
    assert "it can never be admitted by Kueue" in said["message"]
    assert "the evaluation of the base policy does not run yet" in said["message"]
    assert "raise the quota of the ClusterQueue" in said["message"]
    held = seen.jobs()
    cluster_queue(tenant, "100m")
    seen.trained()
    assert held.items() <= seen.jobs().items()
    assert not tenant.condition("Stalled")


def test_a_queue_that_is_not_there_is_named_and_its_arrival_is_noticed(operator, tenant, seen):
    cluster_queue(tenant, "100m")
    tenant.apply(training=QUEUED)
    said = seen.says("Stalled", "Misconfigured")
    assert "gpus" in said["message"]
    assert "Make the LocalQueue and ClusterQueue" in said["message"]
    local_queue(tenant)
    seen.trained()


def test_a_preempted_job_goes_on_as_the_same_job(operator, tenant, seen):
    cluster_queue(tenant, "15m")
    local_queue(tenant)
    tenant.apply(seconds=4, training={**QUEUED, "backoffLimit": 0})
    seen.until(tenant.running)
    urgent = {"kind": "WorkloadPriorityClass", "metadata": {"name": "urgent"}, "value": 1000}
    apply(tenant, urgent)
    tenant.kubectl("create", "-f", "-", stdin=json.dumps(urgent_job()))
    evicted = seen.until(
        lambda: [
            w["metadata"]["ownerReferences"][0]["name"]
            for w in tenant.objects("workloads")
            if any(c["type"] == "Evicted" and c["reason"] == "Preempted"
                   for c in w.get("status", {}).get("conditions", []))
        ]
    )  # fmt: skip
    before = seen.jobs()
    seen.trained()
    assert seen.jobs()[evicted[0]] == before[evicted[0]]
    assert tenant.portfolio["status"]["oracleCalls"]["failed"] == 0


def urgent_job() -> dict:
    """Somebody else's Job, which needs all of the queue for a moment."""
    container = {
        "name": "main", "image": "fake-image", "command": ["sleep", "6"],
        "resources": {"requests": {"cpu": "15m", "memory": "64Mi"}},
    }  # fmt: skip
    labels = {"kueue.x-k8s.io/queue-name": "gpus", "kueue.x-k8s.io/priority-class": "urgent"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "urgent", "labels": labels},
        "spec": {
            "suspend": True,
            "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
        },
    }


def test_a_suspended_portfolio_leaves_its_queue_and_takes_its_place_again(operator, tenant, seen):
    """The time of the suspension is no waiting: pendingDeadlineSeconds does not count it."""
    cluster_queue(tenant, "15m")
    local_queue(tenant)
    tenant.kubectl("create", "-f", "-", stdin=json.dumps(holder()))
    tenant.apply(seconds=1, training={**QUEUED, "pendingDeadlineSeconds": 20})
    seen.until(lambda: len(tenant.unfinished().keys() - {"holder"}) == 1)
    tenant.suspend(True)
    seen.says("Progressing", "Suspended")
    seen.until(lambda: all(not w["spec"].get("active", True) for w in ours(tenant)))
    nobody_is_overdue_for(tenant, seconds=25)
    tenant.suspend(False)
    seen.until(lambda: all(w["spec"].get("active", True) for w in ours(tenant)))
    nobody_is_overdue_for(tenant, seconds=5)
    assert tenant.portfolio["status"]["oracleCalls"]["failed"] == 0
    tenant.kubectl("delete", "job", "holder")
    seen.trained()


def holder() -> dict:
    """Who has the whole queue, until it is deleted."""
    job = urgent_job()
    job["metadata"]["name"] = "holder"
    container = job["spec"]["template"]["spec"]["containers"][0]
    container["command"] = ["sleep", "300"]
    del job["metadata"]["labels"]["kueue.x-k8s.io/priority-class"]
    return job


def ours(tenant) -> list[dict]:
    return [w for w in tenant.objects("workloads")
            if w["metadata"]["ownerReferences"][0]["name"] != "holder"]  # fmt: skip


def nobody_is_overdue_for(tenant, *, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        told = {event["reason"] for event in tenant.objects("events")}
        assert not {"OracleCallNeverStarted", "EvaluationNeverStarted"} & told
        time.sleep(1)


def test_while_kueues_webhook_is_down_jobs_stay_wanted(operator, tenant, seen, cluster):
    cluster_queue(tenant, "100m")
    local_queue(tenant)
    os.kill(pid_of(cluster, "kueue"), signal.SIGKILL)
    try:
        tenant.apply(training=QUEUED)
        said = seen.says("Progressing", "WebhookUnavailable")
        assert "the base policy" in said["message"]
        assert seen.jobs() == {}
        assert len(seen.until(lambda: seen.events("WebhookUnavailable"))) == 1
    finally:
        cluster.up(progress=lambda _: None)
    seen.trained()
