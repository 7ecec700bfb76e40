"""Times and durations as text, as the resource has them. Pure: the clock is an argument."""

import re
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for a time that is not known."""

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def duration(text: str) -> timedelta:
    """Return the duration that a text such as ``1h30m`` or ``45s`` says.

    Raises:
        ValueError: It is no such text.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"{text!r} is no duration; it must be such as 1h30m or 45s")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def stamp(time: datetime) -> str:
    """Return a time as Kubernetes writes it, in UTC and whole seconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parsed(text: str) -> datetime:
    """Return the time that a text of RFC 3339 says; without a zone it is UTC.

    Raises:
        ValueError: It is no such text.
    """
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def earliest(*times: float | None) -> float | None:
    """Return the first of some times, in seconds from now; None where there is none at all."""
    return min((time for time in times if time is not None), default=None)


def remaining(since: str, wait: str, *, now: datetime) -> float:
    """Return how many seconds of a wait are left; 0 when it is over."""
    return max((parsed(since) + duration(wait) - now).total_seconds(), 0.0)
