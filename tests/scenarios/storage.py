"""S3 goes away, and has what must not be believed."""

import json
import os
import signal

import pytest

from palm_operator.names import LABEL_STEP
from serving_world import pid_of

pytestmark = pytest.mark.cluster


def decided(tenant) -> list[dict]:
    """What is said of each policy, apart from whether its server is up yet."""
    policies = tenant.portfolio["status"]["portfolio"]["policies"]
    return [
        {k: v for k, v in policy.items() if k not in ("message", "ready")} for policy in policies
    ]


def test_without_s3_nothing_is_trained_again_and_all_goes_on_afterwards(
    operator, tenant, seen, cluster
):
    tenant.apply(seconds=1)
    seen.until(tenant.running)
    server = pid_of(cluster, "s3")
    os.kill(server, signal.SIGSTOP)
    try:
        said = seen.until(
            lambda: (
                tenant.condition("Progressing").get("reason", "").startswith("Storage")
                and tenant.condition("Progressing")
            )
        )
    finally:
        os.kill(server, signal.SIGCONT)
    assert "nothing is trained twice" in said["message"]
    assert tenant.condition("Reconciling")["status"] == "True"
    seen.trained()
    trainings = [j for j in tenant.objects("jobs")
                 if j["metadata"]["labels"][LABEL_STEP] == "train"]  # fmt: skip
    assert len(trainings) == 5


def test_results_that_must_not_be_believed_are_made_again_and_never_pruned_on(
    operator, tenant, seen
):
    """Truncated, not finite, of another length, of another policy: one evaluation each again."""
    tenant.apply()
    seen.trained()
    good = decided(tenant)
    tenant.kubectl("delete", "pfo", "assistant", "--timeout=60s")
    seen.until(lambda: seen.jobs() == {})
    keys = sorted(key for key in tenant.store.list("policies") if "/evaluations/" in key)
    texts = [tenant.store.read(f"policies/{key}", max_bytes=1 << 20) or b"" for key in keys]
    whole = json.loads(texts[1])
    not_finite = json.dumps(whole).replace(str(whole["rewards"][0]["mean"]), "NaN", 1)
    shorter = {**json.loads(texts[2]), "rewards": json.loads(texts[2])["rewards"][:1]}
    spoilt = [texts[0][: len(texts[0]) // 2], not_finite.encode(), json.dumps(shorter).encode(),
              texts[4]]  # fmt: skip
    operator.kill()  # it remembers what it read: results are never changed
    for key, content in zip(keys, spoilt, strict=False):
        tenant.store.write(f"policies/{key}", content)
    operator.start()
    tenant.apply()
    seen.until(lambda: len(seen.jobs()) == len(spoilt))
    seen.trained()
    steps = [j["metadata"]["labels"][LABEL_STEP] for j in tenant.objects("jobs")]
    assert steps == ["evaluate"] * len(spoilt)
    assert decided(tenant) == good
