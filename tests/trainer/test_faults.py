"""What kills, S3's failures and a full disk leave of a training: a whole policy, or none.

The trainer's own command, a real S3 server, and a proxy between them that fails as it is told. Only
the training itself is a stand-in where the failures are S3's.
"""

import random
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

import full_disks
from flaky_s3 import Fate, FlakyS3
from jobs import training_request, upload_random_model
from palm.artifacts import PROVENANCE_FILE, model_folder, training_record
from palm.contract import StorageLocation, TrainingRecord
from palm.evaluations import MadeFrom
from palm.exit_codes import ExitCode
from palm.schema import sha256_of
from palm_store import S3Store
from stores import s3_environment, s3_location
from stub_jobs import Command, OnceEach, behind
from stub_jobs import proxy as proxy
from stub_jobs import store as store

pytestmark = pytest.mark.cluster

COMMAND = Command("stub_trainer", Path(__file__).parent)
DIGEST = "a" * 32
MODEL = "step 1\nstep 2\n"


@pytest.fixture
def storage(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> StorageLocation:
    return s3_location(cluster, "trainer-faults", monkeypatch)


def is_trained(store: S3Store) -> bool:
    """Say whether there is a policy; whole, if it is there at all."""
    content = store.read(training_record(DIGEST), max_bytes=100_000)
    if content is None:
        return False
    record = TrainingRecord.model_validate_json(content)
    files = {
        name: store.read(f"{model_folder(DIGEST)}/{name}", max_bytes=10**7) for name in record.files
    }
    assert {n: sha256_of(c) for n, c in files.items() if c is not None} == record.files
    assert files["model.safetensors"] == MODEL.encode()
    return True


def test_a_kill_at_any_request_leaves_a_whole_policy_or_none(
    cluster: Any, storage: StorageLocation, store: S3Store, proxy: FlakyS3
) -> None:
    """Killed at every third request, from any of the first three on: loading, checkpoints, upload.

    What a kill left is what the next one goes on from, so that all of them are met in time.
    """
    process: subprocess.Popen[str] | None = None
    kills, last, steps = 0, random.randrange(3), []

    def kill_at_last(method: str, path: str) -> Fate:
        if len(proxy.requests) > last and process is not None:
            process.send_signal(signal.SIGKILL)
        return "pass"

    proxy.rule = kill_at_last
    while last < 150:
        proxy.requests.clear()
        process = COMMAND.start(cluster, behind(proxy, training_request(storage)))
        output, errors = process.communicate(timeout=300)
        steps += [line for line in output.splitlines() if line.startswith("step ")]
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
        kills += 1
        is_trained(store)
        last += 3
    assert kills >= 5
    assert is_trained(store)
    # A step is repeated only where the kill came before its checkpoint was whole.
    assert steps == sorted(steps)
    assert not store.list("checkpoints")


@pytest.mark.parametrize("fate", ["503", "500", "truncate"])
def test_failures_that_pass_are_overcome(
    cluster: Any, storage: StorageLocation, store: S3Store, proxy: FlakyS3, fate: Fate
) -> None:
    rule = proxy.rule = OnceEach(fate)
    code, _, errors = COMMAND.ended(cluster, behind(proxy, training_request(storage)))
    assert code == 0, errors
    assert is_trained(store)
    assert len(rule.failed) >= 10


@pytest.mark.parametrize(
    ("broken", "fate"),
    [("model.safetensors", "500"), ("model.safetensors", "truncate"), ("trained.json", "truncate")],
)
def test_an_upload_that_stays_broken_leaves_no_policy_and_loses_no_step(
    cluster: Any, storage: StorageLocation, store: S3Store, proxy: FlakyS3, broken: str, fate: Fate
) -> None:
    proxy.rule = lambda method, path: (
        fate if method in ("PUT", "POST") and path.endswith(broken) else "pass"
    )
    code, _, errors = COMMAND.ended(cluster, behind(proxy, training_request(storage)))
    assert code == ExitCode.UNAVAILABLE
    assert "error: s3://trainer-faults/" in errors
    assert "Traceback" not in errors
    assert not is_trained(store)
    proxy.rule = lambda method, path: "pass"
    code, output, errors = COMMAND.ended(cluster, behind(proxy, training_request(storage)))
    assert code == 0, errors
    assert "step " not in output
    assert is_trained(store)


def test_a_policy_is_never_made_of_two_contents_of_one_input(
    cluster: Any, storage: StorageLocation, store: S3Store, proxy: FlakyS3
) -> None:
    proxy.rule = lambda method, path: "500" if path.endswith("model.safetensors") else "pass"
    request = training_request(storage)
    code, output, _ = COMMAND.ended(cluster, behind(proxy, request))
    assert (code, "step 2" in output) == (ExitCode.UNAVAILABLE, True)
    former = store.read("toy/prompts.jsonl", max_bytes=10**7)
    assert former is not None
    store.write("toy/prompts.jsonl", former[: former.rindex(b"{")])
    code, output, errors = COMMAND.ended(cluster, request)
    assert code == ExitCode.INVALID_REQUEST
    assert f"the prompts {request.prompts.uri} changed during the training" in errors
    assert not is_trained(store)
    store.write("toy/prompts.jsonl", former)
    code, output, errors = COMMAND.ended(cluster, request)
    assert (code, "step " in output) == (0, False), errors
    assert is_trained(store)


def test_a_policy_says_from_what_it_was_trained(
    cluster: Any, storage: StorageLocation, store: S3Store
) -> None:
    code, _, errors = COMMAND.ended(cluster, training_request(storage))
    assert code == 0, errors
    content = store.read(f"{model_folder(DIGEST)}/{PROVENANCE_FILE}", max_bytes=100_000)
    made = MadeFrom.model_validate_json(content or b"")
    lines = f"{sha256_of(b'{}')}  config.json\n"
    assert made.base_model.sha256 == sha256_of(lines.encode())
    assert {r.name: r.kind for r in made.rewards} == {
        "brevity": "Verifiable", "helpfulness": "Verifiable",
    }  # fmt: skip


@pytest.mark.model
@pytest.mark.skipif(not full_disks.can_be_had(), reason="no mounts of one's own on this machine")
@pytest.mark.parametrize("room", ["256k", "1m"])
def test_a_full_disk_exits_71_and_leaves_no_policy(
    cluster: Any, storage: StorageLocation, tmp_path: Path, room: str
) -> None:
    """There is room for nothing, or for the base model and not for what becomes of it."""
    made = upload_random_model(storage)
    request = training_request(storage)
    done = full_disks.run_on(room, tmp_path, "palm_trainer", request, s3_environment(cluster))
    assert done.returncode == ExitCode.NO_RESOURCES, done.stderr
    assert ("step 3/3" in done.stdout) == (room == "1m"), done.stdout
    assert "No space left on device" in done.stderr
    assert made.read(training_record(DIGEST), max_bytes=100_000) is None
