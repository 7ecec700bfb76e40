"""One policy trained by two processes: on one node, and on two that share nothing but S3."""

import os
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest

from jobs import run_job, training_request, training_settings, upload_random_model
from palm.artifacts import model_folder, training_record
from palm.contract import (
    Execution,
    RewardFunction,
    StorageLocation,
    TrainingRecord,
    TrainingRequest,
    VerifiableReward,
)
from palm_store import S3Store
from stores import s3_environment, s3_location

pytestmark = [pytest.mark.model, pytest.mark.cluster]

STEPS = 4
# What an untrained model says varies in these: with a constant reward nothing would be learnt.
REWARDS = tuple(
    RewardFunction(name=name, verifiable=VerifiableReward(type="Regex", pattern=pattern))
    for name, pattern in (("low", "[0-4]"), ("high", "[5-9]"))
)


@pytest.fixture(scope="module")
def storage(cluster: Any) -> StorageLocation:
    with pytest.MonkeyPatch.context() as patch:
        location = s3_location(cluster, "nodes", patch)
        upload_random_model(location)
        yield location


def request_of(storage: StorageLocation, digest: str, **execution: Any) -> TrainingRequest:
    return training_request(
        storage,
        policy_digest=digest * 32,
        rewards=REWARDS,
        settings=training_settings(episodes=STEPS * 8),
        execution=Execution(**execution),
    )


def record_of(request: TrainingRequest) -> TrainingRecord:
    content = S3Store(request.storage).read(
        training_record(request.policy_digest), max_bytes=100_000
    )
    assert content is not None, "the policy is not committed"
    return TrainingRecord.model_validate_json(content)


def weights_of(request: TrainingRequest) -> dict[str, str]:
    files = record_of(request).files.items()
    return {name: sha for name, sha in files if name.endswith(".safetensors")}


@pytest.fixture(scope="module")
def on_one_node(cluster: Any, storage: StorageLocation) -> TrainingRequest:
    """A training by two processes of one node, to its end."""
    request = request_of(storage, "1", processes=2)
    done = run_job("palm_trainer", request, s3_environment(cluster))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"step {STEPS}/{STEPS}" in done.stdout
    return request


class Nodes:
    """Two nodes of one training as processes, each with what Kubernetes tells its Pod."""

    def __init__(self, cluster: Any, request: TrainingRequest) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        common = os.environ | s3_environment(cluster) | {
            "PALM_REQUEST": request.model_dump_json(by_alias=True),
            "PALM_MAIN_ADDRESS": f"127.0.0.1:{port}",
        }  # fmt: skip
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "palm_trainer"],
                env=common | {"JOB_COMPLETION_INDEX": str(index)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for index in range(2)
        ]
        self.said = ""

    def read_until(self, words: str) -> None:
        """Read what the first node says up to some words."""
        for line in self.processes[0].stdout or ():
            self.said += line
            if words in line:
                return
        raise AssertionError(f"the first node never said {words!r}: {self.said}")

    def ended(self) -> tuple[list[int], list[str]]:
        """Wait for both; their exit codes and what they said."""
        try:
            rest = [process.communicate(timeout=300)[0] for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
        return [process.returncode for process in self.processes], [self.said + rest[0], rest[1]]


def test_two_processes_train_a_policy_to_its_end(on_one_node: TrainingRequest) -> None:
    record = record_of(on_one_node)
    assert record.steps == STEPS
    assert set(record.final_rewards) == {"low", "high"}
    store = S3Store(on_one_node.storage)
    files = store.list(model_folder(on_one_node.policy_digest))
    assert set(files) == set(record.files)
    learnt = store.read(
        f"{model_folder(on_one_node.policy_digest)}/model.safetensors", max_bytes=10_000_000
    )
    assert learnt != store.read("toy/model/model.safetensors", max_bytes=10_000_000)


def test_two_nodes_stop_with_one_of_them_and_train_the_same_policy_as_one_with_two_processes(
    cluster: Any, storage: StorageLocation, on_one_node: TrainingRequest
) -> None:
    request = request_of(storage, "2", nodes=2, checkpoint_seconds=None)
    nodes = Nodes(cluster, request)
    nodes.read_until('"step": 1,')
    nodes.processes[1].send_signal(signal.SIGTERM)  # as when the second node is drained
    codes, said = nodes.ended()
    assert codes == [143, 143], said
    assert "is in S3" in said[0]

    nodes = Nodes(cluster, request)
    codes, said = nodes.ended()
    assert codes == [0, 0], said
    assert all("going on from the checkpoint of step" in text for text in said)
    assert "policy w1 is trained: s3://nodes/" in said[0]
    assert "node 1 is done; the first node writes s3://nodes/" in said[1]
    assert weights_of(request) == weights_of(on_one_node)
    store = S3Store(storage)
    assert set(store.list(model_folder(request.policy_digest))) == set(record_of(request).files)
    assert not store.list("checkpoints")
