"""Runs one container and outlives the agent: log, exit code and process tree of one attempt.

Started as ``python -I -S shim.py FOLDER LOCK_FD`` with the launch as JSON on standard input, and
kept to a few standard modules because one such process exists per container. In FOLDER it writes

- ``log`` (and ``log.1``): lines ``<RFC 3339 time> <stdout|stderr> <F|P> <text>``, as a kubelet's;
- ``begun`` just before the container starts: without it, it never ran;
- ``process.json`` when the container has started, ``exit.json`` when it has ended.

LOCK_FD holds an exclusive ``flock`` that the agent took before the start: whoever finds the lock
free knows that the shim is gone. SIGTERM is passed on to the container's main process, SIGUSR1
kills the container with everything it started.
"""

import ctypes
import json
import os
import select
import signal
import sys
import time
from typing import Any

LOG_BYTES = 10 * 1024 * 1024
LINE_BYTES = 16 * 1024  # longer lines are stored in parts, tag P
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
START_FAILED = 128  # as containerd reports a command that cannot be executed
STREAM_LINGER_S = 2.0  # how long output is awaited once every process of the container is gone


def timestamp() -> str:
    """Now, in UTC with nanoseconds, as log lines carry it."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z"


def write_json(path: str, value: object) -> None:
    """Write a file that is either absent or complete."""
    draft = f"{path}.draft"
    with open(draft, "w", encoding="utf-8") as file:
        json.dump(value, file)
    os.replace(draft, path)


class Log:
    """The container's log file, rotated once it passes ``LOG_BYTES``."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.rest: dict[str, bytes] = {"stdout": b"", "stderr": b""}
        self._open()

    def _open(self) -> None:
        self.fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.size = os.fstat(self.fd).st_size

    def feed(self, stream: str, data: bytes) -> None:
        """Store every whole line of ``data``; the unfinished rest waits for its end."""
        *lines, rest = (self.rest[stream] + data).split(b"\n")
        stored = [entry for line in lines for entry in self._entries(stream, line)]
        while len(rest) > LINE_BYTES:
            stored.append(self._entry(stream, b"P", rest[:LINE_BYTES]))
            rest = rest[LINE_BYTES:]
        self.rest[stream] = rest
        self._write(b"".join(stored))

    def finish(self) -> None:
        """Store what was printed without a final line break."""
        for stream, rest in self.rest.items():
            if rest:
                self._write(self._entry(stream, b"P", rest))

    def _entries(self, stream: str, line: bytes) -> list[bytes]:
        parts = [line[at : at + LINE_BYTES] for at in range(0, len(line), LINE_BYTES)] or [b""]
        tags = [b"P"] * (len(parts) - 1) + [b"F"]
        return [self._entry(stream, tag, part) for tag, part in zip(tags, parts, strict=True)]

    def _entry(self, stream: str, tag: bytes, text: bytes) -> bytes:
        return b"%s %s %s %s\n" % (timestamp().encode(), stream.encode(), tag, text)

    def _write(self, data: bytes) -> None:
        if data and self.size + len(data) > LOG_BYTES and self.size:
            os.close(self.fd)
            os.replace(self.path, f"{self.path}.1")
            self._open()
        while data:
            written = os.write(self.fd, data)
            self.size += written
            data = data[written:]


def start(launch: dict[str, Any], out: int, err: int) -> tuple[int, str]:
    """Start the container's main process in a session of its own.

    Returns:
        Its pid and the reason why it could not become the command, empty when it did.
    """
    failed, report = os.pipe()  # both close on exec, so an empty read means success
    pid = os.fork()
    if pid == 0:
        try:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            os.setsid()
            become(launch, out, err)
        except OSError as error:
            os.write(report, str(error).encode())
        os._exit(START_FAILED)
    os.close(report)
    with os.fdopen(failed, "rb") as file:
        return pid, file.read().decode()


def become(launch: dict[str, Any], out: int, err: int) -> None:
    """Turn this process into the container's command; returns only by an ``OSError``."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    for number in (signal.SIGPIPE, signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.chdir(launch["cwd"])
    os.execvpe(launch["argv"][0], launch["argv"], launch["env"])


def descendants(pid: int) -> list[int]:
    """Every process below a shim: orphans come to it because it is a subreaper."""
    found, front = [], [pid]
    while front:
        pid = front.pop()
        try:
            with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
                children = [int(word) for word in file.read().split()]
        except OSError:
            continue
        found += children
        front += children
    return found


def kill_all(seconds: float = 5.0) -> None:
    """Kill whatever is left of the container, as the end of a pid namespace would."""
    deadline = time.monotonic() + seconds
    while (left := descendants(os.getpid())) and time.monotonic() < deadline:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


class Container:
    """One running container: pumps its output and waits for its main process."""

    def __init__(self, folder: str, launch: dict[str, Any]) -> None:
        self.log = Log(os.path.join(folder, "log"))
        self.status: int | None = None
        self.poller = select.poll()
        self.streams: dict[int, str] = {}
        out, err = self._stream("stdout"), self._stream("stderr")
        self.wake, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.poller.register(self.wake, select.POLLIN)
        self.pid, self.failure = start(launch, out, err)
        os.close(out)
        os.close(err)
        signal.signal(signal.SIGTERM, lambda *_: self._send(signal.SIGTERM))
        signal.signal(signal.SIGUSR1, lambda *_: self._send(signal.SIGKILL))

    def _stream(self, name: str) -> int:
        reader, writer = os.pipe()
        self.streams[reader] = name
        self.poller.register(reader, select.POLLIN)
        return writer

    def _send(self, number: int) -> None:
        if self.status is None:  # not yet reaped, so the pid is still ours
            os.kill(self.pid, number)

    def run(self) -> int:
        """Pump until the main process has ended and its output is read; its wait status."""
        give_up = float("inf")
        while self.streams and time.monotonic() < give_up:
            for fd, _ in self.poller.poll(1000 * STREAM_LINGER_S):
                self._read(fd)
            if self.status is None and self._ended():
                kill_all()
                give_up = time.monotonic() + STREAM_LINGER_S
        while self.status is None and not self._ended():
            self.poller.poll(1000 * STREAM_LINGER_S)  # output closed early; signals wake us
            self._drain_wakeups()
        kill_all()
        self.log.finish()
        return self.status or 0

    def _read(self, fd: int) -> None:
        if fd == self.wake:
            self._drain_wakeups()
        elif data := os.read(fd, 65536):
            self.log.feed(self.streams[fd], data)
        else:
            self.poller.unregister(fd)
            os.close(fd)
            del self.streams[fd]

    def _drain_wakeups(self) -> None:
        if select.select([self.wake], [], [], 0)[0]:
            os.read(self.wake, 4096)

    def _ended(self) -> bool:
        try:
            while (dead := os.waitpid(-1, os.WNOHANG))[0]:
                if dead[0] == self.pid:
                    self.status = dead[1]
        except ChildProcessError:
            return True
        return self.status is not None


def exit_record(status: int, failure: str) -> dict[str, Any]:
    """What the agent reads: exit code (128+n for signal n) and the reason of a failed start."""
    code = START_FAILED if failure else os.waitstatus_to_exitcode(status)
    code, killed_by = (128 - code, -code) if code < 0 else (code, 0)
    return {"exitCode": code, "signal": killed_by, "failure": failure, "finishedAt": timestamp()}


def main(folder: str, lock_fd: int) -> None:
    """Run the container whose launch comes on standard input."""
    os.set_inheritable(lock_fd, False)
    launch = json.load(sys.stdin)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.close(os.open(os.path.join(folder, "begun"), os.O_CREAT | os.O_WRONLY, 0o600))
    container = Container(folder, launch)
    if not container.failure:
        started = {"shim": os.getpid(), "pid": container.pid, "startedAt": timestamp()}
        write_json(os.path.join(folder, "process.json"), started)
    status = container.run()
    write_json(os.path.join(folder, "exit.json"), exit_record(status, container.failure))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
