"""Real trainings of three steps through the Job's own command, against a real S3 server."""

import hashlib
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from jobs import run_job, training_request, training_settings, upload_random_model
from palm.artifacts import model_folder, training_record
from palm.contract import (
    AdapterSettings,
    Execution,
    StorageLocation,
    TrainingRecord,
    TrainingRequest,
)
from palm_store import InMemoryStore, S3Store
from palm_trainer.__main__ import _commit
from stores import s3_environment, s3_location

pytestmark = [pytest.mark.model, pytest.mark.cluster]


@pytest.fixture
def storage(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> StorageLocation:
    return s3_location(cluster, "trainer", monkeypatch)


def record_of(store: S3Store, digest: str) -> TrainingRecord:
    content = store.read(training_record(digest), max_bytes=100_000)
    assert content is not None
    return TrainingRecord.model_validate_json(content)


def trained(cluster: Any, request: TrainingRequest) -> str:
    done = run_job("palm_trainer", request, s3_environment(cluster))
    assert done.returncode == 0, done.stderr
    return done.stdout


def killed(cluster: Any, request: TrainingRequest, *, after_step: int, by: int) -> int:
    """Start a training, send a signal once a step is told, and return how it ended."""
    environment = os.environ | s3_environment(cluster) | {
        "PALM_REQUEST": request.model_dump_json(by_alias=True)
    }  # fmt: skip
    command = [sys.executable, "-m", "palm_trainer"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if f'"step": {after_step},' in line:
                process.send_signal(by)
                break
        rest = process.stdout.read()
        code = process.wait(timeout=300)
    if by == signal.SIGKILL:
        assert code == -signal.SIGKILL
    else:
        assert code in (0, 143), rest
    return code


def test_a_training_leaves_safetensors_and_a_record_and_survives_kills_bit_by_bit(
    cluster: Any, storage: StorageLocation
) -> None:
    store = upload_random_model(storage)
    first = training_request(storage, policy_digest="1" * 32)
    output = trained(cluster, first)
    assert "step 3/3  brevity" in output
    assert "policy w1 is trained: s3://trainer/" in output

    record = record_of(store, first.policy_digest)
    files = store.list(model_folder(first.policy_digest))
    assert set(files) == set(record.files)
    assert not [name for name in files if name.endswith((".bin", ".pt"))]
    content = store.read(
        f"{model_folder(first.policy_digest)}/model.safetensors", max_bytes=10_000_000
    )
    assert content is not None
    assert hashlib.sha256(content).hexdigest() == record.files["model.safetensors"]
    assert record.steps == 3
    assert set(record.final_rewards) == {"brevity", "helpfulness"}

    second = training_request(
        storage, policy_digest="2" * 32, execution=Execution(checkpoint_seconds=0)
    )
    killed(cluster, second, after_step=1, by=signal.SIGKILL)
    code = killed(cluster, second, after_step=2, by=signal.SIGTERM)
    output = trained(cluster, second)
    if code == 143:  # else the last step was already taken when the signal came
        assert "going on from the checkpoint of step 2" in output
    weights = {n: sha for n, sha in record.files.items() if n.endswith(".safetensors")}
    assert weights.items() <= record_of(store, second.policy_digest).files.items()
    assert not store.list("checkpoints")


def test_a_trained_policy_is_not_trained_again(cluster: Any, storage: StorageLocation) -> None:
    S3Store(storage).write(training_record("a" * 32), b"{}")
    output = trained(cluster, training_request(storage))
    assert "is trained already" in output
    assert "step" not in output


def test_an_adapter_is_trained_and_names_its_base(cluster: Any, storage: StorageLocation) -> None:
    store = upload_random_model(storage)
    settings = training_settings(adapter=AdapterSettings(type="LoRA", rank=2), episodes=8)
    request = training_request(storage, settings=settings)
    trained(cluster, request)
    assert "adapter_model.safetensors" in record_of(store, request.policy_digest).files
    config = store.read(
        f"{model_folder(request.policy_digest)}/adapter_config.json", max_bytes=100_000
    )
    assert config is not None
    assert request.base_model.encode() in config


def test_the_record_is_written_last(tmp_path: Any) -> None:
    class Journal(InMemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.order: list[str] = []

        def upload_folder(self, source: Any, folder: str) -> dict[str, int]:
            self.order.append(folder)
            return super().upload_folder(source, folder)

        def write_if_absent(self, key: str, content: bytes) -> bool:
            self.order.append(key)
            return super().write_if_absent(key, content)

    digest = "a" * 32
    record = TrainingRecord(policy_digest=digest, files={}, steps=1, seconds=1.0, final_rewards={})
    store = Journal()
    _commit(store, record, tmp_path)
    assert store.order == [model_folder(digest), training_record(digest)]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"base_model": "s3://trainer/no-such-model"},
            "there is nothing below s3://trainer/no-such",
        ),
        ({"settings": training_settings(batch_size=10)}, "batchSize 10 must be a multiple"),
        ({"execution": Execution(sharding="ZeRO3")}, "this image has no DeepSpeed"),
    ],
)
def test_a_request_that_cannot_succeed_exits_64_with_a_sentence(
    cluster: Any, storage: StorageLocation, changes: dict[str, Any], sentence: str
) -> None:
    upload_random_model(storage)
    done = run_job("palm_trainer", training_request(storage, **changes), s3_environment(cluster))
    assert done.returncode == 64, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("request_text", "sentence"), [("{", "JSON"), ('{"policy": "w"}', "Field required")]
)
def test_a_request_that_is_none_exits_64_with_a_sentence(request_text: str, sentence: str) -> None:
    done = run_job("palm_trainer", request_text, {})
    assert done.returncode == 64, done.stderr
    assert "error: TrainingRequest is not valid" in done.stderr
    assert sentence in done.stderr


def test_a_store_that_does_not_answer_exits_75_with_a_sentence() -> None:
    secrets = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "hidden-secret"}
    done = run_job("palm_trainer", training_request(), secrets)
    assert done.returncode == 75
    assert "error: s3://results/test/policies" in done.stderr
    assert "hidden-secret" not in done.stderr + done.stdout
