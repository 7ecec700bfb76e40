"""What S3's failures and kills leave: a whole result or none, and always the way to make one.

The evaluator's own command, a real S3 server, a proxy between them that fails as it is told.
"""

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

import full_disks
from flaky_s3 import Fate, FlakyS3
from jobs import evaluation_request
from palm.artifacts import evaluation_result
from palm.contract import PolicyResult, StorageLocation
from palm.exit_codes import ExitCode
from palm_store import S3Store
from stores import s3_environment, s3_location
from stub_jobs import Command, OnceEach, behind
from stub_jobs import proxy as proxy
from stub_jobs import store as store

pytestmark = pytest.mark.cluster

COMMAND = Command("stub_evaluator", Path(__file__).parent)
KEY = evaluation_result(None, "e" * 32)


@pytest.fixture
def storage(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> StorageLocation:
    return s3_location(cluster, "faults", monkeypatch)


def whole_result(store: S3Store) -> PolicyResult | None:
    """The result, which is valid if it is there at all."""
    content = store.read(KEY, max_bytes=1_000_000)
    return None if content is None else PolicyResult.model_validate_json(content)


@pytest.mark.parametrize("fate", ["503", "500", "truncate"])
def test_failures_that_pass_are_overcome(
    cluster: Any, storage: StorageLocation, store: S3Store, proxy: FlakyS3, fate: Fate
) -> None:
    rule = proxy.rule = OnceEach(fate)
    code, _, errors = COMMAND.ended(cluster, behind(proxy, evaluation_request(storage)))
    assert code == 0, errors
    assert whole_result(store) is not None
    assert len(rule.failed) >= 5


@pytest.mark.parametrize("fate", ["500", "truncate"])
def test_failures_that_stay_leave_no_result_and_a_sentence(
    cluster: Any, storage: StorageLocation, store: S3Store, proxy: FlakyS3, fate: Fate
) -> None:
    proxy.rule = lambda method, path: fate if method == "PUT" and path.endswith("json") else "pass"
    code, _, errors = COMMAND.ended(cluster, behind(proxy, evaluation_request(storage)))
    assert code == ExitCode.UNAVAILABLE
    assert "error: s3://faults/" in errors
    assert "Traceback" not in errors
    assert whole_result(store) is None
    proxy.rule = lambda method, path: "pass"
    assert COMMAND.ended(cluster, behind(proxy, evaluation_request(storage)))[0] == 0
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
        process = COMMAND.start(cluster, behind(proxy, evaluation_request(storage)))
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
    assert COMMAND.ended(cluster, behind(proxy, evaluation_request(storage)))[0] == 0
    content = store.read(KEY, max_bytes=1_000_000)
    assert content is not None
    store.write(KEY, content[: len(content) // 2])
    assert COMMAND.ended(cluster, behind(proxy, evaluation_request(storage)))[0] == 0
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
