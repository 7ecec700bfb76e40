"""Detached processes that outlive the command that started them."""

import contextlib
import hashlib
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from palm_devcluster.build import last_lines
from palm_devcluster.paths import ClusterPaths, write_private

_POLL_S = 0.05
_KILL_WAIT_S = 5.0
_LOG_BYTES = 20 * 1024 * 1024

# Says what is wrong; None when the component answers as it should.
Probe = Callable[[], str | None]


class ComponentError(Exception):
    """A component does not run; the message names it and ends with its log's last lines."""


@dataclass(frozen=True)
class Daemon:
    """One component as it should run."""

    name: str
    argv: tuple[str, ...]
    probe: Probe
    files: tuple[Path, ...] = ()  # read at its start only: a change asks for a restart
    environment: tuple[tuple[str, str], ...] = ()
    deadline_s: float = 180.0  # also on a machine that does much else
    stop_s: float = 10.0

    @property
    def fingerprint(self) -> str:
        """Digest of everything that a running process got at its start."""
        total = hashlib.sha256(repr((self.argv, self.environment)).encode())
        for file in self.files:
            total.update(file.read_bytes())
        return total.hexdigest()


@dataclass(frozen=True)
class Record:
    """One started process. The start time tells it from a later owner of the same pid."""

    pid: int
    started: int
    boot: str
    fingerprint: str


def read_record(paths: ClusterPaths, name: str) -> Record | None:
    """Return what was started under a name; None where nothing was."""
    try:
        return Record(**json.loads((paths.run / f"{name}.json").read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def is_alive(record: Record | None) -> bool:
    """Whether this very process still runs."""
    if record is None:
        return False
    _reap(record.pid)
    return (record.started, record.boot) == (_start_ticks(record.pid), _boot_id())


def start(paths: ClusterPaths, daemon: Daemon) -> Record:
    """Start a component in a session of its own, its output in its log file."""
    log = paths.log_of(daemon.name)
    if log.is_file() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    pid = os.posix_spawn(
        daemon.argv[0],
        daemon.argv,
        {**os.environ, **dict(daemon.environment)},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    record = Record(pid, _start_ticks(pid) or 0, _boot_id(), daemon.fingerprint)
    write_private(paths.run / f"{daemon.name}.json", json.dumps(asdict(record)).encode())
    return record


def wait_healthy(paths: ClusterPaths, daemon: Daemon) -> None:
    """Wait until a component answers.

    Raises:
        ComponentError: It ended, or did not answer in time.
    """
    began = time.monotonic()
    while (trouble := daemon.probe()) is not None:
        elapsed = time.monotonic() - began
        record = read_record(paths, daemon.name)
        code = _reap(record.pid) if record else None
        if not is_alive(record):
            ended = f"with code {code}" if code is not None else "for an unknown reason"
            raise _error(paths, daemon, f"ended {ended} after {elapsed:.1f} s")
        if elapsed > daemon.deadline_s:
            raise _error(paths, daemon, f"is not healthy after {elapsed:.0f} s: {trouble}")
        time.sleep(_POLL_S)


def stop(paths: ClusterPaths, name: str, wait_s: float) -> bool:
    """Stop what was started under a name: SIGTERM, then SIGKILL; False where nothing ran."""
    record = read_record(paths, name)
    stopped = record is not None and is_alive(record)
    if record is not None and stopped:
        for number, patience in ((signal.SIGTERM, wait_s), (signal.SIGKILL, _KILL_WAIT_S)):
            _signal(record, number)
            if _wait_gone(record, patience):
                break
        else:
            raise ComponentError(f"{name} (pid {record.pid}) does not end, not even by SIGKILL")
    (paths.run / f"{name}.json").unlink(missing_ok=True)
    return stopped


def _signal(record: Record, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        if is_alive(record):
            os.kill(record.pid, number)


def _wait_gone(record: Record, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while is_alive(record):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _error(paths: ClusterPaths, daemon: Daemon, what: str) -> ComponentError:
    log = paths.log_of(daemon.name)
    return ComponentError(f"{daemon.name} {what}; last lines of {log}:\n{last_lines(log)}")


# Exit codes of children that ended; a process gives its code only once.
_codes: dict[int, int] = {}


def _reap(pid: int) -> int | None:
    with contextlib.suppress(ChildProcessError):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found == pid:
            _codes[pid] = os.waitstatus_to_exitcode(status)
    return _codes.get(pid)


def _start_ticks(pid: int) -> int | None:
    # Not psutil's create_time(): that one moves when the machine's clock is set.
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""
