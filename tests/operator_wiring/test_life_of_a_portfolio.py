"""The operator as a process with the chart's rights, on a real API server, S3 and controllers."""

import json
import time
from collections import Counter

import pytest

from builders import observed_in
from palm_operator import names
from palm_operator.api.portfolio import parse_portfolio
from palm_operator.calls.work import work_for
from palm_operator.deciding.decision import decide
from palm_store import InMemoryStore

pytestmark = pytest.mark.cluster


def published(tenant) -> bool:
    return tenant.condition("Published").get("reason") == "WaitingForKServe"


def digests(tenant) -> Counter:
    return Counter(
        (j["metadata"]["labels"][names.LABEL_STEP], j["metadata"]["labels"][names.LABEL_DIGEST])
        for j in tenant.objects("jobs")
    )


def test_a_portfolio_is_trained_pruned_and_published(operator, tenant):
    tenant.apply()
    tenant.eventually(lambda: published(tenant))
    status = tenant.portfolio["status"]
    assert status["observedGeneration"] == 1
    assert status["oracleCalls"]["summary"] == "5/5"
    assert tenant.condition("Ready")["status"] == "False"
    services = {s["metadata"]["name"]: s for s in tenant.objects("inferenceservices")}
    assert set(services) == {p["service"] for p in status["portfolio"]["policies"]}
    assert all(count == 1 for count in digests(tenant).values())

    # What is reported is what the pure core makes of the files in S3.
    store = InMemoryStore()
    for folder in ("base", "policies", "calibrations", "portfolios"):
        for name in tenant.store.list(folder):
            key = f"{folder}/{name}"
            store.objects[key] = tenant.store.read(key, max_bytes=10**7) or b""
    portfolio = parse_portfolio(tenant.portfolio)
    evidence = observed_in(portfolio, store).evidence
    work = work_for(portfolio, evidence)
    decision = decide(portfolio, work, evidence)
    reported = [p["name"] for p in status["portfolio"]["policies"]]
    assert reported == [p.name for p in decision.survivors]
    assert json.loads(evidence.manifest)["cover"]["policies"] == reported

    # KServe's controller is not there; a Ready that nothing stands behind is not believed.
    for name in services:
        host = f"{name}-predictor.{tenant.namespace}.svc.cluster.local"
        claim = {
            "conditions": [{"type": "Ready", "status": "True"}],
            "address": {"url": f"http://{host}"},
            "modelStatus": {
                "transitionStatus": "UpToDate",
                "states": {"activeModelState": "Loaded", "targetModelState": "Loaded"},
            },
        }
        tenant.kubectl("patch", "isvc", name, "--subresource=status", "--type=merge", "-p",
                       json.dumps({"status": claim}))  # fmt: skip
    tenant.eventually(lambda: "no Ready Pod" in tenant.condition("Published")["message"])
    policies = lambda: tenant.portfolio["status"]["portfolio"]["policies"]  # noqa: E731
    tenant.eventually(lambda: all(p.get("url") for p in policies()))
    assert not any(p["ready"] for p in policies())
    assert tenant.condition("Ready")["status"] == "False"


def test_with_mixing_the_survivors_are_fine_tuned_before_they_are_published(operator, tenant):
    grid = {"strategy": "PALM", "mu": "0.5", "alpha": "0.1"}
    tenant.apply(oracle={"type": "MOD"}, grid=grid)
    tenant.eventually(lambda: published(tenant), seconds=180)
    status, jobs = tenant.portfolio["status"], digests(tenant)
    assert status["oracleCalls"]["summary"] == "15/15"
    assert tenant.condition("Trained")["reason"] == "Retrained"
    trained = {digest for step, digest in jobs if step == "train"}
    assert 2 < len(trained) < 15
    assert all(count == 1 for count in jobs.values())
    services = {s["metadata"]["annotations"][names.ANNOTATION_POLICY_DIGEST]
                for s in tenant.objects("inferenceservices")}  # fmt: skip
    assert services <= trained
    assert len(services) == status["portfolio"]["size"]


def test_an_idle_operator_writes_nothing(operator, tenant):
    tenant.apply()
    tenant.eventually(lambda: published(tenant))
    kinds = ("pfo", "jobs", "inferenceservices", "events")

    def versions():
        return {
            (kind, o["metadata"]["name"]): o["metadata"]["resourceVersion"]
            for kind in kinds
            for o in tenant.objects(kind)
        }

    time.sleep(3)
    before = versions()
    time.sleep(8)  # several resyncs
    assert versions() == before


def test_a_killed_operator_continues_without_a_second_job(operator, tenant):
    tenant.apply(seconds=1)
    for summary in ("0/5", "1/5", "3/5"):
        least = int(summary[0])
        tenant.eventually(
            lambda least=least: (
                int(
                    tenant.portfolio.get("status", {})
                    .get("oracleCalls", {})
                    .get("summary", "-1/5")
                    .split("/")[0]
                )
                >= least
            )
        )
        operator.kill()
        time.sleep(1)
        operator.start()
    tenant.eventually(lambda: published(tenant))
    assert all(count == 1 for count in digests(tenant).values())
    assert len(digests(tenant)) == 11


def test_a_deleted_portfolio_takes_its_children_and_leaves_s3(operator, tenant):
    tenant.apply()
    tenant.eventually(lambda: published(tenant))
    tenant.kubectl("delete", "pfo", "assistant", "--timeout=60s")
    tenant.eventually(
        lambda: not tenant.objects("jobs") and not tenant.objects("inferenceservices")
    )
    assert len(tenant.store.list("policies")) == 5 * 3
    # The same Portfolio again costs nothing.
    tenant.apply()
    tenant.eventually(lambda: published(tenant))
    assert tenant.objects("jobs") == []
    assert tenant.portfolio["status"]["oracleCalls"]["reused"] == 5
