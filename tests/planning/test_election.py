"""One leader at a time, whatever the processes, clocks and connections do."""

import asyncio
import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palm_operator.running.election import (
    LEASE_SECONDS,
    RENEW_SECONDS,
    RETRY_SECONDS,
    Elector,
    NotLeading,
    Term,
    Unreachable,
    claim,
    seen,
)

WALL = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Server:
    """A Lease as the API server keeps it: an update of an old version loses."""

    def __init__(self):
        self.body, self.version = None, 0

    def write(self, spec):
        self.version += 1
        self.body = {"metadata": {"resourceVersion": str(self.version)}, "spec": dict(spec)}
        return True


class Candidate:
    """What ``Elector`` does, a step at a time, each step when and as late as a test wants."""

    def __init__(self, name, server, offset):
        self.name, self.server, self.offset = name, server, offset
        self.now, self.seen, self.term, self.read = 0.0, None, None, None

    def clock(self):
        return self.now + self.offset

    def begin(self):
        self.read = (self.clock(), self.server.body)

    def finish(self):
        if self.read is None:
            return
        begun, body = self.read
        self.read = None
        if body is None:
            if self.server.body is None:
                self.server.write(claim({}, self.name, wall=WALL))
                self._lead(begun)
            return
        self.seen = seen(body, self.seen, self.clock())
        if not self.seen.is_free(self.name, self.clock()):
            if self.seen.holder != self.name:
                self.term = None
            return
        if self.server.body["metadata"]["resourceVersion"] == body["metadata"]["resourceVersion"]:
            self.server.write(claim(body["spec"], self.name, wall=WALL))
            self._lead(begun)

    def look(self):
        self.begin()
        self.finish()

    def _lead(self, begun):
        if self.term is not None and self.term.is_valid:
            self.term.renewed(begun + RENEW_SECONDS)
        else:
            self.term = Term(begun + RENEW_SECONDS, clock=self.clock)

    @property
    def leads(self):
        return self.term is not None and self.term.is_valid


STEPS = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.sampled_from(["look", "begin", "finish"]), st.integers(0, 14)
    ),
    min_size=8,
    max_size=60,
)


@settings(max_examples=300)
@given(STEPS, st.tuples(*[st.floats(0, 1e6)] * 3))
def test_there_are_never_two_leaders(steps, offsets):
    """Processes pause between and within their steps, and their clocks do not agree."""
    server, now = Server(), 0.0
    candidates = {n: Candidate(n, server, o) for n, o in zip("abc", offsets, strict=True)}
    for name, step, pause in steps:
        now += pause
        for candidate in candidates.values():
            candidate.now = now
        getattr(candidates[name], step)()
        assert sum(c.leads for c in candidates.values()) <= 1


def test_a_dead_leader_is_replaced_within_twenty_seconds():
    server, now = Server(), 0.0
    old, new = Candidate("old", server, 0), Candidate("new", server, 1000)

    old.look()
    for _ in range(5):  # both look every RETRY_SECONDS, the new one just before the old one
        now += RETRY_SECONDS
        old.now = new.now = now
        new.look()
        old.look()
    died = now
    while not new.leads:
        now += RETRY_SECONDS
        old.now = new.now = now
        new.look()
    assert not old.leads
    assert now - died <= LEASE_SECONDS + 2 * RETRY_SECONDS < 20


def test_a_term_that_ended_is_not_revived():
    now = [0.0]
    term = Term(8, clock=lambda: now[0])
    assert term.check() == 8 + LEASE_SECONDS - RENEW_SECONDS
    now[0] = 9
    term.renewed(100)
    with pytest.raises(NotLeading):
        term.check()


def test_the_holder_keeps_its_time_of_acquisition_and_others_count_the_change():
    first = claim({}, "a", wall=WALL)
    assert first["leaseTransitions"] == 1
    assert first["acquireTime"] == "2026-01-02T03:04:05.000000Z"
    later = WALL.replace(hour=4)
    assert claim(first, "a", wall=later)["acquireTime"] == first["acquireTime"]
    taken = claim(first, "b", wall=later)
    assert (taken["acquireTime"], taken["leaseTransitions"]) == ("2026-01-02T04:04:05.000000Z", 2)


def test_an_absurd_duration_keeps_nobody_out_for_long():
    for lasts in (0, -5, 10**9):
        body = {"metadata": {"resourceVersion": "1"},
                "spec": {"holderIdentity": "x", "leaseDurationSeconds": lasts}}  # fmt: skip
        assert not seen(body, None, 0).is_free("me", 0.5)
        assert seen(body, None, 0).is_free("me", 3600)


class Flaky:
    """A Lease of which nothing is heard for a while."""

    def __init__(self, server):
        self.server, self.fails = server, False

    async def read(self):
        if self.fails:
            raise Unreachable("no route to host")
        return self.server.body

    async def create(self, spec):
        return self.server.write(spec)

    async def replace(self, body, spec):
        return body == self.server.body and self.server.write(spec)


def test_a_leader_that_cannot_renew_stops_by_itself_and_one_that_is_told_to_hands_over():
    async def scenario():
        now, looks = [0.0], []
        lease = Flaky(Server())
        elector = Elector(lease, "me", clock=lambda: now[0], looked=lambda: looks.append(now[0]))
        stop = asyncio.Event()
        term = await elector.acquire(stop)
        assert term is not None
        lease.fails, now[0] = True, RENEW_SECONDS + 1
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(elector.keep(term), 60)
        assert not term.is_valid
        assert looks == [0.0]

        lease.fails = False
        assert await elector.acquire(stop) is not None  # still the holder
        await elector.release()
        assert lease.server.body["spec"]["holderIdentity"] == ""
        other = Elector(lease, "other", clock=lambda: now[0])
        assert await other.acquire(stop) is not None
        stop.set()
        assert await elector.acquire(stop) is None

    asyncio.run(scenario())
