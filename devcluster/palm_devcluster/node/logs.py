"""Container logs: which lines a request gets, and following a file that rotates."""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

_POLL_S = 0.1
_TAIL_BYTES, _TAIL_LINES = 2048, 80  # FallbackToLogsOnError, as in the API's documentation


@dataclass(frozen=True)
class LogOptions:
    """What ``kubectl logs`` can ask for."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail: int | None = None
    limit: int | None = None
    since: str = ""  # in the form of a log line's time, so that text order is time order


def log_options(query: Mapping[str, str], now: datetime) -> LogOptions:
    """Read the query of a log request.

    Raises:
        ValueError: A number or a time is malformed.
    """
    since = ""
    if query.get("sinceTime"):
        since = _sortable(datetime.fromisoformat(query["sinceTime"]))
    elif query.get("sinceSeconds"):
        since = _sortable(now - timedelta(seconds=int(query["sinceSeconds"])))
    return LogOptions(
        follow=query.get("follow") == "true",
        previous=query.get("previous") == "true",
        timestamps=query.get("timestamps") == "true",
        tail=int(query["tailLines"]) if query.get("tailLines") else None,
        limit=int(query["limitBytes"]) if query.get("limitBytes") else None,
        since=since,
    )


def _sortable(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def shown(line: bytes, options: LogOptions) -> bytes:
    """What a reader sees of a stored line: empty where it is too old."""
    time, _, tag, text = line.rstrip(b"\n").split(b" ", 3)
    if time.decode() < options.since:
        return b""
    prefix = time + b" " if options.timestamps else b""
    return prefix + text + (b"" if tag == b"P" else b"\n")


def selected(lines: Iterable[bytes], options: LogOptions) -> Iterator[bytes]:
    """The lines of a finished log that a request gets, at most ``limit`` bytes in all."""
    if options.tail is not None:
        lines = deque(lines, maxlen=options.tail)
    left = options.limit
    for line in lines:
        text = shown(line, options)
        if left is not None:
            text = text[:left]
            left -= len(text)
        if text:
            yield text


def stored_lines(folder: Path) -> list[bytes]:
    """Every whole line of an attempt's log, the rotated file first."""
    return _whole_lines(folder / "log.1") + _whole_lines(folder / "log")


def _whole_lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []


def log_end(folder: Path) -> str:
    """The last lines of a log, as a termination message has them."""
    last = list(selected(stored_lines(folder), LogOptions(tail=_TAIL_LINES)))
    return b"".join(last)[-_TAIL_BYTES:].decode(errors="replace")


async def followed(
    folder: Path, options: LogOptions, ended: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """The selected lines of a log, then new ones until the container has ended."""
    left = options.limit
    async for line in _lines_for_ever(folder, options.tail, ended):
        text = shown(line, options)
        if left is not None:
            text = text[:left]
            left -= len(text)
        if text:
            yield text
        if left == 0:
            return


async def _lines_for_ever(
    folder: Path, tail: int | None, ended: Callable[[], bool]
) -> AsyncIterator[bytes]:
    file = (folder / "log").open("rb")
    try:
        rotated = _whole_lines(folder / "log.1")
        *lines, pending = file.read().split(b"\n")
        for line in deque([*rotated, *lines], maxlen=tail):
            yield line
        while True:
            last = ended()  # asked before reading, so that the last lines are read after the end
            *lines, pending = (pending + file.read()).split(b"\n")
            for line in lines:
                yield line
            if os.stat(folder / "log").st_ino != os.fstat(file.fileno()).st_ino:
                file.close()
                file = (folder / "log").open("rb")
            elif last:
                return
            else:
                await asyncio.sleep(_POLL_S)
    finally:
        file.close()
