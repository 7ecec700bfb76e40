"""The search on the embedded cluster: fewer Jobs for the same guarantee, none for pruning alone."""

import json

import pytest

from palm_operator import names
from palm_operator.jobs import observed_jobs as seen

pytestmark = pytest.mark.cluster

GRID = {"strategy": "PALM", "mu": "8/30", "alpha": "0.2"}  # 17 weight vectors
# Equal, stated units: the fake oracle's front stays a circle, and the oracle exact.
REWARDS = [
    {
        "name": name,
        "verifiable": {"type": "ArithmeticSteps"},
        "range": {"min": "0", "max": "9"},
    }
    for name in ("steps", "brevity")
]


def settled(tenant) -> bool:
    """Say whether the operator has published what the newest spec asks for."""
    portfolio = tenant.portfolio
    published = tenant.condition("Published")
    return (
        published.get("observedGeneration") == portfolio["metadata"]["generation"]
        and published.get("reason") == "WaitingForKServe"
        and "pending" not in portfolio["status"]
    )


def jobs(tenant) -> dict[str, str]:
    """Names of all Jobs, by UID."""
    return {j["metadata"]["uid"]: j["metadata"]["name"] for j in tenant.objects("jobs")}


def trained(tenant) -> list[str]:
    """Digests of the policies that training Jobs were made for."""
    labels = [job["metadata"]["labels"] for job in tenant.objects("jobs")]
    return [at[names.LABEL_DIGEST] for at in labels if at[names.LABEL_STEP] == "train"]


def grid_epsilon(tenant) -> float:
    return float(tenant.portfolio["status"]["portfolio"]["guarantee"]["grid"]["epsilon"])


def test_a_job_that_runs_is_told_from_one_that_waits_for_a_place(operator, tenant):
    def begun() -> dict[str, bool]:
        found = [seen.job(body, portfolio_uid="") for body in tenant.objects("jobs")]
        return {job.step: job.begun for job in found if job.state == "Active"}

    waits = {"resources": {"requests": {"cpu": "900"}}}  # more than any node has
    template = {
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
        "env": [{"name": "FAKE_SECONDS", "value": "5"}],
    }
    tenant.apply(
        rewards=REWARDS,
        training={"parallelism": 3, "template": waits},
        evaluation={"template": template},
    )
    tenant.eventually(lambda: begun() == {"evaluate": True, "train": False})


def test_adaptive_reaches_the_guarantee_of_the_whole_grid_with_fewer_jobs(operator, tenant):
    spec = {"rewards": REWARDS, "grid": GRID, "training": {"parallelism": 4}}
    adaptive = {"mode": "Adaptive"}
    tenant.apply(**spec, search=adaptive, pruning={"mu": "0.02"})
    tenant.eventually(lambda: settled(tenant), seconds=180)
    first, calls = trained(tenant), tenant.portfolio["status"]["oracleCalls"]
    assert len(first) == len(set(first)) == calls["succeeded"] < 17
    assert calls["saved"] == 17 - len(first)
    assert calls["summary"] == f"{len(first)}/{len(first)}"
    assert tenant.condition("Trained")["reason"] == "Certified"
    assert tenant.condition("GuaranteeHeld")["reason"] == "SimplexCertified"
    assert grid_epsilon(tenant) <= 0.0201
    guarantee = tenant.portfolio["status"]["portfolio"]["guarantee"]
    assert guarantee["scope"] == "Simplex"
    assert "." in guarantee["epsilon"]

    # Pruning alone: decided anew on the same evidence.
    before, size = jobs(tenant), tenant.portfolio["status"]["portfolio"]["size"]
    tenant.apply(**spec, search=adaptive, pruning={"mu": "0.1"})
    tenant.eventually(lambda: settled(tenant))
    assert jobs(tenant) == before
    assert tenant.portfolio["status"]["portfolio"]["size"] < size
    assert tenant.portfolio["status"]["revision"]

    # The whole grid: only what is missing is trained, and the promise is no better.
    tenant.apply(**spec, search={"mode": "Grid"}, pruning={"mu": "0.02"})
    tenant.eventually(lambda: settled(tenant), seconds=240)
    everything = trained(tenant)
    assert len(everything) == len(set(everything)) == 17
    assert set(first) < set(everything)
    assert grid_epsilon(tenant) <= 0.0201
    reference = tenant.portfolio["status"]["portfolio"]["manifest"]["uri"]
    key = reference.split(f"{tenant.location.prefix}/", 1)[1]
    document = json.loads(tenant.store.read(key, max_bytes=1 << 23) or b"")
    assert document["search"]["mode"] == "Grid"
    assert document["search"]["untrained"] == []
