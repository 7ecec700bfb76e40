"""What is on disk about the containers of one Pod: the memory that survives the agent.

``<pod>/containers/<name>/<attempt>/`` is made before a container starts and never reused, so the
same attempt cannot run twice. Its ``lock`` is held by the shim for as long as the shim lives.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from palm_devcluster.node import shim
from palm_devcluster.node.environment import Launch

LOST = 137
_KEPT_ATTEMPTS = 2


@dataclass(frozen=True)
class Exit:
    """How one attempt ended."""

    code: int
    reason: str
    finished_at: str
    message: str = ""
    signal: int = 0


@dataclass(frozen=True)
class Attempt:
    """One run of a container: starting (no pid), running, or ended (``exit`` is set)."""

    number: int
    delay: float  # back-off in seconds that came before it
    started_at: str
    pid: int | None = None
    shim: int | None = None
    exit: Exit | None = None

    @property
    def alive(self) -> bool:
        """Whether a process of it may still exist."""
        return self.exit is None


def moment(text: str) -> datetime:
    """A time of a record or of the API."""
    return datetime.fromisoformat(f"{text[:19]}+00:00")


class ContainerRecord:
    """The attempts of one container, newest last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ended: dict[int, Attempt] = {}

    def numbers(self) -> list[int]:
        """Attempts of which anything is kept, in order."""
        if not self.folder.is_dir():
            return []
        return sorted(int(name) for name in os.listdir(self.folder) if name.isdigit())

    def attempts(self) -> tuple[Attempt, ...]:
        """The last two attempts."""
        return tuple(self.attempt(number) for number in self.numbers()[-_KEPT_ATTEMPTS:])

    def attempt(self, number: int) -> Attempt:
        """One attempt as it is now."""
        if number not in self._ended:
            found = read_attempt(self.folder / str(number))
            if found.alive:
                return found
            self._ended[number] = found
        return self._ended[number]

    def start(self, number: int, delay: float, launch: Launch) -> subprocess.Popen[bytes]:
        """Claim attempt ``number`` and start it.

        Raises:
            FileExistsError: That attempt has been claimed before.
        """
        for old in self.numbers()[: 1 - _KEPT_ATTEMPTS or None]:
            shutil.rmtree(self.folder / str(old), ignore_errors=True)
        folder = self.folder / str(number)
        self.folder.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)  # the claim
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            claim = {"delay": delay, "claimedAt": shim.timestamp()}
            shim.write_json(str(folder / "claim.json"), claim)
            return _spawn(folder, lock, launch)
        finally:
            os.close(lock)

    def note(self, number: int, reason: str, message: str) -> None:
        """Say why the node is about to kill an attempt; the exit will carry it."""
        note = {"reason": reason, "message": message}
        shim.write_json(str(self.folder / str(number) / "note.json"), note)

    def lose(self, number: int) -> None:
        """Record an attempt whose files are gone: it ran, and its end is unknown."""
        folder = self.folder / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        _record_loss(folder)

    def release_unbegun(self) -> bool:
        """Give back the newest claim if an agent died before its container began.

        Returns:
            Whether there was such a claim. No shim can begin it later, for none holds its lock.
        """
        for number in self.numbers()[-1:]:
            folder = self.folder / str(number)
            ran = (folder / "begun").exists() or (folder / "exit.json").exists()
            if lock_is_free(folder / "lock") and not ran:
                shutil.rmtree(folder)
                return True
        return False

    def signal(self, number: int, which: signal.Signals) -> bool:
        """Send SIGTERM, or SIGUSR1 to kill all of it; false when it no longer runs."""
        attempt = read_attempt(self.folder / str(number))
        if attempt.shim is None or not attempt.alive:
            return False
        try:
            os.kill(attempt.shim, which)
        except ProcessLookupError:
            return False
        return True


def _spawn(folder: Path, lock: int, launch: Launch) -> subprocess.Popen[bytes]:
    """Start the shim; the launch goes through a pipe, for it may hold secrets."""
    with (folder / "shim.log").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", shim.__file__, str(folder), str(lock)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={},
            cwd="/",
            pass_fds=(lock,),
            start_new_session=True,
        )
    if process.stdin is not None:
        with suppress(BrokenPipeError), process.stdin as pipe:  # a dead shim shows as a lost one
            pipe.write(json.dumps(asdict(launch)).encode())
    return process


def read_attempt(folder: Path) -> Attempt:
    """The state of an attempt from its files; one without a shim and an end is recorded as lost."""
    running = not lock_is_free(folder / "lock")  # asked first: a shim writes its end, then goes
    claim = _read(folder / "claim.json") or {"delay": 0.0, "claimedAt": shim.timestamp()}
    process = _read(folder / "process.json") or {}
    ended = _read(folder / "exit.json")
    if ended is None and not running:
        ended = _record_loss(folder)
    return Attempt(
        number=int(folder.name),
        delay=claim["delay"],
        started_at=process.get("startedAt", claim["claimedAt"]),
        pid=process.get("pid"),
        shim=process.get("shim"),
        exit=None if ended is None else _exit(ended, _read(folder / "note.json") or {}),
    )


def _exit(ended: dict[str, object], note: dict[str, str]) -> Exit:
    code, failure = int(str(ended["exitCode"])), str(ended["failure"])
    reason = "StartError" if failure else "Completed" if code == 0 else "Error"
    if code == 0:  # it ended by itself before the node's signal arrived
        note = {}
    return Exit(
        code=code,
        reason=note.get("reason", reason),
        finished_at=str(ended["finishedAt"]),
        message=note.get("message", failure),
        signal=int(str(ended["signal"])),
    )


def _record_loss(folder: Path) -> dict[str, object]:
    lost: dict[str, object] = {
        "exitCode": LOST,
        "signal": 0,
        "failure": "",
        "finishedAt": shim.timestamp(),
    }
    message = "the container's shim is gone and left no exit code"
    note = {"reason": "ContainerStatusUnknown", "message": message}
    shim.write_json(str(folder / "note.json"), note)
    shim.write_json(str(folder / "exit.json"), lost)
    return lost


def lock_is_free(path: Path) -> bool:
    """Whether no shim holds the lock of an attempt."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return None


@contextmanager
def sole_owner(root: Path) -> Iterator[None]:
    """Hold a node's folder; two agents on one folder would each start the containers.

    Raises:
        RuntimeError: Another agent holds it.
    """
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (root / "agent.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RuntimeError(f"{root}: another agent is using this folder") from error
        yield
