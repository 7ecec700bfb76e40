"""Containers under their shim, without a cluster: exit codes, logs, trees, claims."""

import os
import signal
import time
from pathlib import Path

import pytest

from node.lab import eventually
from palm_devcluster.node import shim
from palm_devcluster.node.environment import Launch
from palm_devcluster.node.logs import LogOptions, log_end, selected, stored_lines
from palm_devcluster.node.records import LOST, ContainerRecord, Exit, sole_owner
from palm_devcluster.node.stopping import stop_containers


def launch(script: str, folder: Path) -> Launch:
    return Launch(argv=("sh", "-c", script), env={"PATH": os.environ["PATH"]}, cwd=str(folder))


@pytest.fixture
def record(tmp_path: Path) -> ContainerRecord:
    return ContainerRecord(tmp_path / "containers" / "main")


def start(record: ContainerRecord, script: str, number: int = 0) -> None:
    with record.start(number, 0.0, launch(script, record.folder.parents[1])):
        pass  # waits for the shim


def ended(record: ContainerRecord, number: int = 0) -> Exit:
    attempt = eventually(lambda: record.attempt(number), lambda found: not found.alive)
    assert attempt.exit is not None
    return attempt.exit


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -15 $$", 143)])
def test_exit_codes(record: ContainerRecord, script: str, code: int) -> None:
    start(record, script)
    assert ended(record).code == code


def test_an_attempt_is_claimed_once(record: ContainerRecord) -> None:
    start(record, "true")
    with pytest.raises(FileExistsError):
        start(record, "true")


def test_output_is_kept_line_by_line_with_times(record: ContainerRecord) -> None:
    start(record, "echo out; echo err >&2; printf unfinished")
    lines = stored_lines(record.folder / "0")
    parts = sorted(tuple(line.split(b" ")[1:]) for line in lines)
    assert parts == [
        (b"stderr", b"F", b"err"),
        (b"stdout", b"F", b"out"),
        (b"stdout", b"P", b"unfinished"),
    ]
    assert log_end(record.folder / "0").endswith("unfinished")


def test_a_log_rotates_and_keeps_its_newest_lines(tmp_path: Path) -> None:
    log = shim.Log(str(tmp_path / "log"))
    size = shim.LINE_BYTES - 100
    for number in range(2 * shim.LOG_BYTES // size):
        log.feed("stdout", b"%d %s\n" % (number, b"x" * size))
    assert (tmp_path / "log").stat().st_size <= shim.LOG_BYTES
    assert (tmp_path / "log.1").stat().st_size <= shim.LOG_BYTES
    last = list(selected(stored_lines(tmp_path), LogOptions(tail=1)))
    assert last[0].startswith(b"%d x" % number)


def test_a_line_without_end_is_stored_in_parts(tmp_path: Path) -> None:
    log = shim.Log(str(tmp_path / "log"))
    text = b"y" * (3 * shim.LINE_BYTES) + b"\n"
    log.feed("stdout", text[:50_000])
    log.feed("stdout", text[50_000:])
    assert b"".join(selected(stored_lines(tmp_path), LogOptions())) == text


def test_background_processes_end_with_the_container(record: ContainerRecord) -> None:
    start(record, "setsid sleep 1000 & echo $!; exit 0")
    assert ended(record).code == 0
    pid = int(b"".join(selected(stored_lines(record.folder / "0"), LogOptions())))
    assert not Path(f"/proc/{pid}").exists()


def test_a_lost_shim_takes_the_container_along(record: ContainerRecord) -> None:
    process = record.start(0, 0.0, launch("exec sleep 1000", record.folder.parents[1]))
    attempt = eventually(lambda: record.attempt(0), lambda found: found.pid is not None)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    lost = ended(record)
    assert (lost.code, lost.reason) == (LOST, "ContainerStatusUnknown")
    eventually(lambda: Path(f"/proc/{attempt.pid}").exists(), lambda exists: not exists)


def test_stopping_everything_asks_first_and_kills_after(tmp_path: Path) -> None:
    records = {name: ContainerRecord(tmp_path / "containers" / name) for name in ("kind", "deaf")}
    scripts = {"kind": "exec sleep 1000", "deaf": "trap '' TERM; while :; do sleep 0.05; done"}
    shims = [records[n].start(0, 0.0, launch(scripts[n], tmp_path)) for n in records]
    for name in records:
        eventually(lambda name=name: records[name].attempt(0), lambda found: found.pid)
    eventually(lambda: _ignores_sigterm(records["deaf"]), bool)
    begin = time.monotonic()
    assert stop_containers(tmp_path, grace=0.5) == 2
    assert time.monotonic() - begin < 5
    assert [ended(records[name]).code for name in ("kind", "deaf")] == [143, 137]
    for process in shims:
        process.wait()


def _ignores_sigterm(record: ContainerRecord) -> bool:
    status = Path(f"/proc/{record.attempt(0).pid}/status").read_text()
    ignored = int(status.split("SigIgn:")[1].split()[0], 16)
    return bool(ignored >> (signal.SIGTERM - 1) & 1)


def test_two_agents_cannot_share_a_folder(tmp_path: Path) -> None:
    with (
        sole_owner(tmp_path),
        pytest.raises(RuntimeError, match="another agent"),
        sole_owner(tmp_path),
    ):
        pass
