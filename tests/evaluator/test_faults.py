"""What S3's failures and kills leave: a whole result or none, and always the way to make one.

The evaluator's own command, a real S3 server, a proxy between them that fails as it is told.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import full_disks
from flaky_s3 import Fate, FlakyS3
from jobs import evaluation_request
from palm.artifacts import evaluation_result
from palm.contract import EvaluationRequest, PolicyResult, StorageLocation
from palm.exit_codes import ExitCode
from palm_store import S3Store
from stores import s3_environment, s3_location

pytestmark = pytest.mark.cluster

KEY = evaluation_result(None, "e" * 32)
PROMPTS = b"\n".join(b'{"prompt": "What is 3 + 4?", "answer": "7"}' for _ in range(8))


@pytest.fixture
def storage(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> StorageLocation:
    return s3_location(cluster, "faults", monkeypatch)


@pytest.fixture
def store(storage: StorageLocation) -> S3Store:
    made = S3Store(storage)
    made.write("toy/prompts.jsonl", PROMPTS)
    made.write("toy/model/config.json", b"{}")
    return made


@pytest.fixture
def proxy(storage: StorageLocation) -> Iterator[FlakyS3]:
    with FlakyS3(storage.endpoint) as made:
        yield made


def start(cluster: Any, request: EvaluationRequest) -> subprocess.Popen[str]:
    environment = s3_environment(cluster) | {"PYTHONPATH": str(Path(__file__).parent)}
    text = request.model_dump_json(by_alias=True)
    return subprocess.Popen(
        [sys.executable, "-m", "stub_evaluator"],
        env=os.environ | environment | {"PALM_REQUEST": text},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(cluster: Any, request: EvaluationRequest) -> tuple[int, str]:
    process = start(cluster, request)
    _, errors = process.communicate(timeout=300)
    return process.returncode, errors


def behind(proxy: FlakyS3, storage: StorageLocation) -> EvaluationRequest:
    through = storage.model_copy(update={"endpoint": proxy.endpoint})
    return evaluation_request(storage).model_copy(update={"storage": through})


def whole_result(store: S3Store) -> PolicyResult | None:
    """The result, which is valid if it is there at all."""
    content = store.read(KEY, max_bytes=1_000_000)
    return None if content is None else PolicyResult.model_validate_json(content)


@pytest.mark.parametrize("fate", ["503", "500", "truncate"])
def test_failures_that_pass_are_overcome(
    cluster: Any, storage: StorageLocation, store: S3Store, proxy: FlakyS3, fate: Fate
) -> None:
    failed: set[tuple[str, str]] = set()

    def once_each(method: str, path: str) -> Fate:
        if method == "HEAD" or (method, path) in failed:
            return "pass"
        failed.add((method, path))
        return fate

    proxy.rule = once_each
    code, errors = ended(cluster, behind(proxy, storage))
    assert code == 0, errors
    assert whole_result(store) is not None
    assert len(failed) >= 5


@pytest.mark.parametrize("fate", ["500", "truncate"])
def test_failures_that_stay_leave_no_result_and_a_sentence(
    cluster: Any, storage: StorageLocation, store: S3Store, proxy: FlakyS3, fate: Fate
) -> None:
    proxy.rule = lambda method, path: fate if method == "PUT" and path.endswith("json") else "pass"
    code, errors = ended(cluster, behind(proxy, storage))
    assert code == ExitCode.UNAVAILABLE
    assert "error: s3://faults/" in errors
    assert "Traceback" not in errors
    assert whole_result(store) is None
    proxy.rule = lambda method, path: "pass"
    assert ended(cluster, behind(proxy, storage))[0] == 0
    assert whole_result(store) is not None


def test_a_store_that_never_answers_is_given_up(
    storage: StorageLocation, store: S3Store, proxy: FlakyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    from palm.errors import StoreUnavailable

    monkeypatch.setattr("palm_store.s3._READ_SECONDS", 0.2)
    monkeypatch.setattr("palm_store.s3._ATTEMPTS", 2)
    proxy.rule = lambda method, path: "hang"
    through = S3Store(storage.model_copy(update={"endpoint": proxy.endpoint}))
    with pytest.raises(StoreUnavailable, match="ReadTimeoutError"):
        through.write(KEY, b"{}")
    assert whole_result(store) is None


def test_a_kill_at_any_request_leaves_a_whole_result_or_none(
    cluster: Any, storage: StorageLocation, store: S3Store, proxy: FlakyS3
) -> None:
    """The process is killed as its n-th request arrives, for every n that there is."""
    process: subprocess.Popen[str] | None = None
    kills, last = 0, 0

    def kill_at_last(method: str, path: str) -> Fate:
        if len(proxy.requests) > last and process is not None:
            process.send_signal(signal.SIGKILL)
        return "pass"

    proxy.rule = kill_at_last
    while last < 40:
        proxy.requests.clear()
        process = start(cluster, behind(proxy, storage))
        process.communicate(timeout=300)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        kills += 1
        whole_result(store)  # whole, or not there: anything else raises
        last += 1
    assert kills >= 5
    assert whole_result(store) is not None


def test_a_result_that_was_cut_is_made_again(
    cluster: Any, storage: StorageLocation, store: S3Store, proxy: FlakyS3
) -> None:
    assert ended(cluster, behind(proxy, storage))[0] == 0
    content = store.read(KEY, max_bytes=1_000_000)
    assert content is not None
    store.write(KEY, content[: len(content) // 2])
    assert ended(cluster, behind(proxy, storage))[0] == 0
    assert whole_result(store) is not None


@pytest.mark.skipif(not full_disks.can_be_had(), reason="no mounts of one's own on this machine")
def test_a_full_disk_exits_71_and_leaves_no_result(
    cluster: Any, storage: StorageLocation, store: S3Store, tmp_path: Path
) -> None:
    store.write("toy/model/model.safetensors", bytes(400_000))
    request = evaluation_request(storage)
    done = full_disks.run_on("256k", tmp_path, "palm_evaluator", request, s3_environment(cluster))
    assert done.returncode == ExitCode.NO_RESOURCES, done.stderr
    assert "No space left on device" in done.stderr
    assert whole_result(store) is None
