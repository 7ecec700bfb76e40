"""How a Job's work ends: its exit code and one sentence."""

import errno
import json
import os
import signal
from pathlib import Path

import pytest

from palm.errors import InvalidResult, StoreUnavailable
from palm.exit_codes import NOT_RETRIED, ExitCode
from palm_store.job import InvalidData, InvalidRequest, code_of, exit_code, quiet_libraries


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (InvalidRequest("x"), 64),
        (InvalidData("x"), 65),
        (InvalidResult("x"), 70),
        (ValueError("x"), 70),
        (MemoryError(), 71),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), 71),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"), 71),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"), 71),
        (OSError(errno.ENOSPC, "No space left on device"), 71),
        (StoreUnavailable("x"), 75),
        (ConnectionResetError("x"), 75),
        (TimeoutError("x"), 75),
    ],
)
def test_every_error_has_its_exit_code(problem: Exception, code: int) -> None:
    assert code_of(problem) == code


def test_what_safetensors_says_of_a_full_disk_is_that() -> None:
    from safetensors import SafetensorError

    said = "Error while serializing: I/O error: No space left on device (os error 28)"
    assert code_of(SafetensorError(said)) is ExitCode.NO_RESOURCES


def test_a_base_model_that_comes_with_code_is_refused_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoConfig

    (tmp_path / "of_its_own.py").write_text("raise SystemExit('it was run')")
    config = {"model_type": "of_its_own", "auto_map": {"AutoConfig": "of_its_own.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(config))

    def work() -> None:
        AutoConfig.from_pretrained(tmp_path, trust_remote_code=False)

    assert exit_code(work) == ExitCode.INVALID_REQUEST
    said = capsys.readouterr().err
    assert "the base model comes with Python code of its own, which is not run" in said
    assert "Traceback" not in said


def test_models_from_s3_ask_nothing_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for uris, offline in ((["s3://b/m", "s3://b/r"], "1"), (["s3://b/m", "hf://o/n@c"], None)):
        with monkeypatch.context() as environment:
            environment.setattr(os, "environ", {})
            quiet_libraries(uris)
            assert os.environ.get("HF_HUB_OFFLINE") == offline


def test_only_what_repetition_cannot_cure_is_not_retried() -> None:
    assert set(NOT_RETRIED) == {42, ExitCode.INVALID_REQUEST, ExitCode.INVALID_DATA}


def test_work_that_ends_well_exits_0() -> None:
    assert exit_code(lambda: None) == 0


def test_sigterm_ends_the_work_with_143(capsys: pytest.CaptureFixture[str]) -> None:
    reached = []

    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            reached.append("the end")
        finally:
            reached.append("the cleaning up")

    before = signal.getsignal(signal.SIGTERM)
    try:
        assert exit_code(work) == 143
    finally:
        signal.signal(signal.SIGTERM, before)
    assert reached == ["the cleaning up"]
    assert "SIGTERM" in capsys.readouterr().err


def test_what_was_foreseen_has_a_sentence_and_no_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def work() -> None:
        raise StoreUnavailable("s3://bucket/key: SlowDown")

    assert exit_code(work) == 75
    assert capsys.readouterr().err == "error: s3://bucket/key: SlowDown\n"
