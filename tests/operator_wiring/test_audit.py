"""Hold, BestEffort, the record, `palm audit` and `palm rollback` on a real API server and S3."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cli.invoke import palm
from operator_wiring.answering import SERVING, answered, deployed, until
from operators import Operator
from palm import artifacts
from palm_operator import names

pytestmark = pytest.mark.cluster


@pytest.fixture
def serving(environment, tmp_path) -> Iterator[Operator]:
    with answered(environment, tmp_path) as made:
        yield made


def entries(tenant) -> list[dict[str, Any]]:
    folder = artifacts.record_folder(tenant.namespace, "assistant")
    names_ = sorted(tenant.store.list(folder))
    return [json.loads(tenant.store.read(f"{folder}/{name}", max_bytes=10**7)) for name in names_]


def audit(tenant, *arguments: str) -> Any:
    return palm("audit", "assistant", "-n", tenant.namespace, "-o", "json", *arguments)


def until_agrees(tenant) -> dict[str, Any]:
    """The audit, as soon as the operator has recorded what it told last."""
    deadline = time.monotonic() + 60
    while (ran := audit(tenant)).code:
        assert time.monotonic() < deadline, (ran.out, ran.err)
        time.sleep(0.5)
    (found,) = ran.answer["portfolios"]
    return found


def kinds(ran) -> set[str]:
    assert ran.code == 3, (ran.out, ran.err)
    return {f["kind"] for f in ran.answer["portfolios"][0]["disagreements"]}


def test_what_is_deployed_is_bounded_recorded_audited_and_gone_back_to(
    serving, tenant, monkeypatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tenant.cluster.kubeconfig))

    # Hold: nothing is published, and the condition says what two could reach.
    tenant.apply(serving={**SERVING, "maxPolicies": 2})
    held = lambda _: tenant.condition("Published").get("reason") == "TooManyPolicies"  # noqa: E731
    until(tenant, held)
    message = tenant.condition("Published")["message"]
    assert "the smallest cover has 4 policies" in message
    assert "the best 2 policies are within epsilon=" in message
    assert tenant.objects("inferenceservices") == []

    # More are allowed: published, and recorded.
    tenant.apply(serving={**SERVING, "maxPolicies": 4})
    until(tenant, deployed(1, 4))
    first = until_agrees(tenant)
    assert (first["deployed"]["number"], first["deployed"]["size"]) == (1, 4)
    assert first["oracleCalls"] == {"recorded": 5, "failed": 0}
    jobs = {j["metadata"]["name"]: j["metadata"]["uid"] for j in tenant.objects("jobs")}
    calls = [e for entry in entries(tenant) for e in entry["events"] if e["type"] == "OracleCall"]
    assert all(jobs[call["training"]["job"]] == call["training"]["uid"] for call in calls)

    # BestEffort: two, without a guarantee within spec.pruning, and no further Job.
    tenant.apply(serving={**SERVING, "maxPolicies": 2, "onExceeded": "BestEffort"})
    until(tenant, deployed(2, 2))
    assert tenant.condition("GuaranteeHeld")["reason"] == "BestEffort"
    second = until_agrees(tenant)
    assert second["deployed"]["guarantee"]["coverSize"] == 4
    assert len(tenant.objects("inferenceservices")) == 2

    # What was, is answered by the record alone.
    then = first["deployed"]["since"]
    past = audit(tenant, "--at", then).answer
    assert past["source"] == "record"
    assert past["portfolios"][0]["deployed"]["number"] == 1
    alone = [
        "--storage", f"s3://{tenant.location.bucket}/{tenant.location.prefix}",
        "--endpoint", tenant.location.endpoint, "--at", then,
    ]  # fmt: skip
    monkeypatch.delenv("KUBECONFIG")
    assert audit(tenant, *alone).answer["portfolios"] == past["portfolios"]
    monkeypatch.setenv("KUBECONFIG", str(tenant.cluster.kubeconfig))

    # Back, first of all only shown, then as the person; the limit holds for it too.
    tenant.apply(serving={**SERVING, "maxPolicies": 4, "onExceeded": "BestEffort"})
    until(tenant, deployed(3, 4))
    where = ["-n", tenant.namespace]
    shown = palm("rollback", "assistant", *where, "--dry-run")
    assert shown.code == 0
    assert second["deployed"]["manifest"]["sha256"] in shown.out
    assert "pin" not in tenant.portfolio["spec"]["serving"]
    ran = palm("rollback", "assistant", *where, "--revision", "2")
    assert (ran.code, ran.err) == (0, "")
    until(tenant, deployed(4, 2))
    assert tenant.condition("Published")["reason"] == "Pinned"
    assert {j["metadata"]["name"] for j in tenant.objects("jobs")} == set(jobs)
    back = until_agrees(tenant)
    assert (back["deployed"]["reason"], back["pin"]["sha256"]) == (
        "Pinned",
        second["deployed"]["manifest"]["sha256"],
    )
    undone = palm("rollback", "assistant", *where, "--undo", "-o", "json").answer
    assert undone["applied"]
    until(tenant, deployed(5, 4))
    until_agrees(tenant)

    # An idle operator, started anew, adds nothing to the record.
    count = len(entries(tenant))
    serving.kill()
    serving.start()
    time.sleep(8)
    assert len(entries(tenant)) == count
    assert until_agrees(tenant)["record"]["entries"] == count

    # What somebody does while nobody looks after it shows.
    serving.kill()
    one, two = (s["metadata"]["name"] for s in tenant.objects("inferenceservices")[:2])
    forged = f"{names.ANNOTATION_POLICY_DIGEST}={'0' * 32}"
    tenant.kubectl("annotate", "isvc", one, "--overwrite", forged)
    assert kinds(audit(tenant)) == {"DigestDiffers"}
    tenant.kubectl("delete", "isvc", two, "--wait=false")
    assert kinds(audit(tenant)) == {"DigestDiffers", "NotServed"}
    folder = artifacts.record_folder(tenant.namespace, "assistant")
    tenant.store.delete(f"{folder}/{artifacts.record_name(2)}")
    assert kinds(audit(tenant)) == {"DigestDiffers", "NotServed", "ChainBroken"}
    everything = palm("audit", "-n", tenant.namespace)
    assert everything.code == 3
    assert "entry 2 is missing" in everything.out

    # An operator mends the servers; what was taken from the record stays missing.
    serving.start()
    until(tenant, deployed(5, 4))
    tenant.eventually(lambda: kinds(audit(tenant)) == {"ChainBroken"})
    tenant.kubectl("delete", "pfo", "assistant", "--timeout=60s")
    deadline = time.monotonic() + 60
    while entries(tenant)[-1]["events"][-1]["type"] != "Deleted":
        assert time.monotonic() < deadline
        time.sleep(0.5)
    gone = audit(tenant, *alone[:-2])
    assert gone.answer["portfolios"][0]["deployed"] is None
    assert gone.answer["portfolios"][0]["deleted"]
    assert "AKIA" not in json.dumps(entries(tenant))
    assert tenant.cluster.s3.secret_key not in json.dumps(entries(tenant))
