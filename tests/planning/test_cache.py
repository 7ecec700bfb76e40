"""What the operator believes of S3 without asking again, and for how long."""

from dataclasses import dataclass

import pytest

from palm.contract import StorageLocation
from palm_operator.calls.reading import Found
from palm_operator.running.observer import Cache

PLACE = StorageLocation(bucket="palm", prefix="runs")
KEY = "policies/1/trained.json"
NONE = frozenset[str]()


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def asked(cache: Cache, clock: Clock, *, seconds: float, every: float, found: Found) -> int:
    """How often S3 is asked for an object that stays as it is."""
    count = 0
    while clock.now < seconds:
        if cache.recalled(PLACE, KEY, NONE) is None:
            cache.keep(PLACE, KEY, NONE, found)
            count += 1
        clock.now += every
    return count


def test_an_absence_is_asked_about_ever_more_rarely():
    clock = Clock()
    cache = Cache(clock=clock)
    day = asked(cache, clock, seconds=86_400, every=300, found=Found())
    assert day <= 12  # of 288 resyncs


def test_an_absence_is_believed_for_a_minute_at_first():
    clock = Clock()
    cache = Cache(clock=clock)
    cache.keep(PLACE, KEY, NONE, Found())
    clock.now = 59
    assert cache.recalled(PLACE, KEY, NONE) == Found()
    clock.now = 60
    assert cache.recalled(PLACE, KEY, NONE) is None


@pytest.mark.parametrize("found", [Found(), Found(invalid="cut off")])
def test_another_finished_job_ends_every_doubt_at_once(found):
    clock = Clock()
    cache = Cache(clock=clock)
    asked(cache, clock, seconds=86_400, every=300, found=found)
    assert cache.recalled(PLACE, KEY, frozenset({"job"})) is None
    cache.keep(PLACE, KEY, frozenset({"job"}), found)
    clock.now += 60
    assert cache.recalled(PLACE, KEY, frozenset({"job"})) is None  # and patience begins anew


def test_what_is_found_otherwise_is_doubted_anew():
    clock = Clock()
    cache = Cache(clock=clock)
    asked(cache, clock, seconds=86_400, every=300, found=Found())
    cache.keep(PLACE, KEY, NONE, Found(invalid="cut off"))
    clock.now += 60
    assert cache.recalled(PLACE, KEY, NONE) is None
