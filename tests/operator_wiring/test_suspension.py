"""Suspend, resume and pause on a real cluster, with Jobs that run."""

import json
import time

import pytest

from palm_operator.names import ANNOTATION_PAUSED, ANNOTATION_SUSPENDED

pytestmark = pytest.mark.cluster


def reasons(tenant) -> list[str]:
    return [event["reason"] for event in tenant.objects("events")]


def published(tenant) -> bool:
    return tenant.condition("Published").get("reason") == "WaitingForKServe"


def test_jobs_that_run_are_suspended_and_continue_as_the_same_jobs(operator, tenant):
    tenant.apply(seconds=5)
    tenant.eventually(lambda: tenant.running())
    tenant.suspend(True)
    tenant.eventually(
        lambda: (
            tenant.condition("Suspended").get("status") == "True"
            and not tenant.running()
            and all(job["spec"]["suspend"] for job in tenant.unfinished().values())
        )
    )
    held = {name: job["metadata"]["uid"] for name, job in tenant.unfinished().items()}
    assert held
    assert tenant.condition("Progressing")["reason"] == "Suspended"
    before = {j["metadata"]["name"] for j in tenant.objects("jobs")}
    time.sleep(5)  # several resyncs
    assert {j["metadata"]["name"] for j in tenant.objects("jobs")} == before
    assert not tenant.running()

    tenant.suspend(False)
    tenant.eventually(lambda: len(tenant.objects("jobs")) > len(before))  # what follows begins
    jobs = {j["metadata"]["name"]: j for j in tenant.objects("jobs")}
    assert held.items() <= {name: job["metadata"]["uid"] for name, job in jobs.items()}.items()
    assert not held.keys() & tenant.unfinished().keys()
    assert not [j for j in jobs.values() if ANNOTATION_SUSPENDED in j["metadata"]["annotations"]]
    assert {"Suspended", "Resumed"} <= set(reasons(tenant))


def test_jobs_of_a_spec_that_is_refused_are_suspended_too(operator, tenant):
    tenant.apply(seconds=60)
    tenant.eventually(lambda: tenant.running())
    refused = {"suspend": True, "search": {"mode": "Grid", "maxOracleCalls": 2}}
    patch = json.dumps({"spec": refused})
    tenant.kubectl("patch", "pfo", "assistant", "--type=merge", "-p", patch)
    tenant.eventually(
        lambda: (
            tenant.condition("Accepted").get("reason") == "GridTooLarge"
            and not tenant.running()
            and all(job["spec"]["suspend"] for job in tenant.unfinished().values())
        ),
        through_stalls=True,
    )
    assert tenant.unfinished()
    assert tenant.condition("Suspended")["status"] == "True"


def test_kueues_jobs_are_suspended_through_their_workloads(operator, tenant):
    """Kueue's part is played: the Workload that it would make of the Job."""
    tenant.apply(seconds=60, training={"parallelism": 1, "queueName": "gpus"})
    tenant.eventually(lambda: tenant.running())
    (job,) = tenant.unfinished().values()
    workload = {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "Workload",
        "metadata": {
            "name": "job-of-kueue",
            "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "Job", "controller": True,
                 "name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}
            ],
        },
        "spec": {
            "queueName": "gpus",
            "podSets": [{"name": "main", "count": 1, "template": job["spec"]["template"]}],
        },
    }  # fmt: skip

    def live() -> dict:
        return json.loads(tenant.kubectl("get", "workload", "job-of-kueue", "-o", "json"))

    tenant.suspend(True)
    told = "Kueue has no Workload of"
    tenant.eventually(lambda: told in tenant.condition("Suspended").get("message", ""))
    tenant.kubectl("create", "-f", "-", stdin=json.dumps(workload))
    tenant.eventually(lambda: live()["spec"]["active"] is False)
    tenant.eventually(lambda: told not in tenant.condition("Suspended")["message"])
    (job,) = tenant.unfinished().values()
    assert not job["spec"]["suspend"]  # Kueue's to set
    tenant.suspend(False)
    tenant.eventually(lambda: live()["spec"]["active"] is True)
    tenant.eventually(
        lambda: (
            not [
                j
                for j in tenant.unfinished().values()
                if ANNOTATION_SUSPENDED in j["metadata"]["annotations"]
            ]
        )
    )


def test_a_paused_portfolio_is_left_alone_and_says_so(operator, tenant):
    tenant.seed()
    tenant.apply(seconds=60)
    tenant.eventually(lambda: published(tenant))
    tenant.kubectl("annotate", "pfo", "assistant", f"{ANNOTATION_PAUSED}=true")
    tenant.eventually(lambda: tenant.condition("Paused").get("status") == "True")
    seed = json.dumps({"spec": {"training": {"seed": 7}}})
    tenant.kubectl("patch", "pfo", "assistant", "--type=merge", "-p", seed)
    table = tenant.kubectl("delete", "configmap", "assistant-routes")
    time.sleep(5)  # several resyncs
    assert table
    assert "assistant-routes" not in tenant.kubectl("get", "configmaps", "-o", "name")
    assert tenant.objects("jobs") == []
    assert tenant.portfolio["status"]["observedGeneration"] == 1
    tenant.kubectl("annotate", "pfo", "assistant", f"{ANNOTATION_PAUSED}-")
    tenant.eventually(lambda: tenant.objects("jobs"))
    assert {"Paused", "Unpaused"} <= set(reasons(tenant))
    assert "Paused" not in json.dumps(tenant.portfolio["status"]["conditions"])


def test_the_operator_may_change_nothing_else_of_a_job(operator, tenant):
    tenant.apply(seconds=60)
    tenant.eventually(lambda: tenant.unfinished())
    name = sorted(tenant.unfinished())[0]
    names = tenant.kubectl("get", "serviceaccounts", "-n", "palm-system", "-o", "name")
    service_account = next(n.split("/")[1] for n in names.split() if "palm" in n)
    as_operator = f"--as=system:serviceaccount:palm-system:{service_account}"

    def patch(content: dict) -> str:
        return tenant.kubectl("patch", "job", name, "--type=merge", "-p", json.dumps(content),
                              as_operator, "--dry-run=server")  # fmt: skip

    assert "patched" in patch({"spec": {"suspend": True}})
    assert "patched" in patch({"metadata": {"annotations": {ANNOTATION_SUSPENDED: "true"}}})
    for content in (
        {"spec": {"parallelism": 0}},
        {"spec": {"backoffLimit": 9}},
        {"metadata": {"labels": {"palm-operator.dev/digest": "0" * 32}}},
        {"metadata": {"annotations": {"palm-operator.dev/weights": "1, 0"}}},
        {"metadata": {"ownerReferences": []}},
    ):
        with pytest.raises(Exception, match=r"palm-operator changes nothing of a Job but whether"):
            patch(content)
    foreign = {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "foreign"},
        "spec": {"suspend": True, "template": {"spec": {"restartPolicy": "Never", "containers": [
            {"name": "main", "image": "fake-image"}]}}},
    }  # fmt: skip
    tenant.kubectl("create", "-f", "-", stdin=json.dumps(foreign))
    with pytest.raises(Exception, match="no Job but those that a Portfolio controls"):
        tenant.kubectl("patch", "job", "foreign", "--type=merge", as_operator, "-p",
                       json.dumps({"spec": {"suspend": False}}))  # fmt: skip
