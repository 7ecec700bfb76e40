"""The status tells how far a training is that runs on the embedded cluster."""

import pytest

from palm.artifacts import training_progress
from palm.training_progress import TrainingProgress
from palm_operator import names

pytestmark = pytest.mark.cluster


def test_the_status_tells_how_far_a_running_training_is(operator, tenant):
    def training() -> str:
        for job in tenant.objects("jobs"):
            labels, status = job["metadata"]["labels"], job.get("status", {})
            if labels[names.LABEL_STEP] == "train" and status.get("ready"):
                return labels[names.LABEL_DIGEST]
        return ""

    resources = {"requests": {"cpu": "10m", "memory": "64Mi"}}
    slow = {"resources": resources, "env": [{"name": "FAKE_SECONDS", "value": "300"}]}
    tenant.apply(training={"parallelism": 1, "template": slow})
    tenant.eventually(training, seconds=180)
    digest = training()
    told = TrainingProgress(
        policy="w",
        policy_digest=digest,
        step=12,
        steps=60,
        rewards={"steps": 0.5, "brevity": 0.25},
        seconds_left=90.0,
        checkpoint_step=10,
        updated="2026-01-02T03:04:05Z",
    )
    tenant.store.write(training_progress(digest), told.model_dump_json(by_alias=True).encode())
    tenant.eventually(lambda: tenant.portfolio["status"].get("progress"))
    (call,) = tenant.portfolio["status"]["progress"]
    assert call["policy"].endswith(digest[:6])
    assert (call["step"], call["steps"], call["checkpointStep"]) == (12, 60, 10)
    assert (call["rewards"], call["left"]) == (["0.5", "0.25"], "1m")
