"""Leader election by a Lease: one operator acts, the others wait and are healthy.

client-go's algorithm: the holder renews; who finds a Lease unchanged for as long as it lasts takes
it over, by an update that loses against any other. Ages are measured on this machine's own clock,
from what was observed, so clocks need not agree. The holder stops acting well before others may
begin: ``RENEW_SECONDS`` counts from before its last renewal was sent, ``LEASE_SECONDS`` from after
that was seen.

``kubernetes.aio.leaderelection`` (37.0.1) is not used: it measures by the wall clock, which may be
set; it has no time limits and ends with an exception where the API server cannot be reached, its
leader still running; and it does not hand over when told to stop.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

logger = logging.getLogger(__name__)

LEASE_SECONDS = 12
RENEW_SECONDS = 8.0
RETRY_SECONDS = 2.0
_LONGEST_LEASE = 3600

Clock = Callable[[], float]


class NotLeading(Exception):
    """Another operator leads, or may: nothing is to be written."""


class Unreachable(Exception):
    """The Lease could not be read or written."""


class Lease(Protocol):
    """One Lease object of the cluster; whatever goes wrong is raised as ``Unreachable``."""

    async def read(self) -> Mapping[str, Any] | None:
        """Return the object; None where there is none."""

    async def create(self, spec: Mapping[str, Any]) -> bool:
        """Create it; say False where it exists."""

    async def replace(self, body: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
        """Give it another spec; say False where it is not as in ``body`` any more."""


def boot_seconds() -> float:
    """Return seconds on a clock that nobody sets and that runs while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True)
class Seen:
    """A Lease as it was found, and since when it has been so."""

    holder: str
    version: str
    lasts: float
    since: float

    def is_free(self, identity: str, now: float) -> bool:
        """Say whether somebody may take it, or keep it."""
        return self.holder in ("", identity) or now - self.since >= self.lasts


def seen(body: Mapping[str, Any], before: Seen | None, now: float) -> Seen:
    """Return what is seen of a Lease; an unchanged one grows older."""
    spec, version = body.get("spec") or {}, str(body["metadata"]["resourceVersion"])
    if before is not None and before.version == version:
        return before
    lasts = spec.get("leaseDurationSeconds")
    return Seen(
        holder=str(spec.get("holderIdentity") or ""),
        version=version,
        lasts=float(min(max(lasts or LEASE_SECONDS, 1), _LONGEST_LEASE)),
        since=now,
    )


def claim(old: Mapping[str, Any], identity: str, *, wall: datetime) -> dict[str, Any]:
    """Return a Lease's spec with this holder.

    Args:
        old: The spec as it is.
        identity: The holder.
        wall: The time that people read; nothing is decided by it.
    """
    stamp = wall.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    kept = old.get("holderIdentity") == identity
    return {
        "holderIdentity": identity,
        "leaseDurationSeconds": LEASE_SECONDS,
        "acquireTime": old.get("acquireTime", stamp) if kept else stamp,
        "renewTime": stamp,
        "leaseTransitions": int(old.get("leaseTransitions") or 0) + (0 if kept else 1),
    }


class Term:
    """One time of leading; it ends by itself unless it is renewed."""

    def __init__(self, until: float, *, clock: Clock = boot_seconds) -> None:
        self._until, self._clock = until, clock

    def renewed(self, until: float) -> None:
        """Go on until then; a term that has ended stays so."""
        if self.is_valid:
            self._until = until

    @property
    def is_valid(self) -> bool:
        """Say whether nobody else can be leading now."""
        return self._clock() < self._until

    def check(self) -> float:
        """Return for how many seconds what is sent now cannot meet another leader's.

        Raises:
            NotLeading: The term has ended.
        """
        left = self._until - self._clock()
        if left <= 0:
            raise NotLeading("the Lease was not renewed in time; another operator may lead")
        return left + LEASE_SECONDS - RENEW_SECONDS


class Elector:
    """A candidate, and then perhaps the leader."""

    def __init__(
        self,
        lease: Lease,
        identity: str,
        *,
        clock: Clock = boot_seconds,
        looked: Callable[[], None] = lambda: None,
    ) -> None:
        """Make a candidate.

        Args:
            lease: What is contended for.
            identity: Unique to this process.
            clock: Seconds that only grow.
            looked: Called whenever the API server has answered.
        """
        self._lease, self._identity, self._clock = lease, identity, clock
        self._looked = looked
        self._seen: Seen | None = None

    async def acquire(self, stop: asyncio.Event) -> Term | None:
        """Wait until this process leads; None when it is to stop before."""
        logger.info("%s is a candidate", self._identity)
        while not stop.is_set():
            begun = self._clock()
            if await self._tried():
                logger.info("%s leads", self._identity)
                return Term(begun + RENEW_SECONDS, clock=self._clock)
            await _wait(stop, RETRY_SECONDS)
        return None

    async def keep(self, term: Term) -> None:
        """Renew a term until that fails for too long, or another holds the Lease."""
        while term.is_valid:
            await asyncio.sleep(RETRY_SECONDS)
            begun = self._clock()
            if await self._tried():
                term.renewed(begun + RENEW_SECONDS)
            elif self._seen is not None and self._seen.holder not in ("", self._identity):
                break
        logger.warning("%s leads no more", self._identity)

    async def release(self) -> None:
        """Let the next one lead at once; for a leader whose work has ended."""
        try:
            async with asyncio.timeout(RETRY_SECONDS):
                body = await self._lease.read()
                spec = dict(body.get("spec") or {}) if body else {}
                if body is not None and spec.get("holderIdentity") == self._identity:
                    spec |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                    await self._lease.replace(body, spec)
        except (Unreachable, TimeoutError) as error:
            logger.warning("the Lease is not released, and runs out by itself: %s", error)

    async def _tried(self) -> bool:
        """Try once to take or renew the Lease."""
        try:
            async with asyncio.timeout(2 * RETRY_SECONDS):
                return await self._taken()
        except (Unreachable, TimeoutError) as error:
            logger.warning("the Lease cannot be had: %s", error or type(error).__name__)
            return False

    async def _taken(self) -> bool:
        body = await self._lease.read()
        self._looked()
        now, wall = self._clock(), datetime.now(UTC)
        if body is None:
            return await self._lease.create(claim({}, self._identity, wall=wall))
        self._seen = seen(body, self._seen, now)
        if not self._seen.is_free(self._identity, now):
            return False
        spec = claim(body.get("spec") or {}, self._identity, wall=wall)
        return await self._lease.replace(body, spec)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
