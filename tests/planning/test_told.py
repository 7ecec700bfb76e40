"""Events: one per change that a person would care about, and never a flood."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import pytest

from builders import NOW, World, portfolio_body
from palm_operator.refusals import Refusal
from palm_operator.refusing import troubled
from palm_operator.running.api_server import ClusterUnavailable
from palm_operator.running.recorder import Recorder
from palm_operator.said.status import Event

BODY = {"metadata": {"name": "assistant", "namespace": "ml", "uid": "u"}}


def life(world: World, *, passes: int = 14) -> list[Event]:
    """Everything told while all succeeds."""
    told: list[Event] = []
    for _ in range(passes):
        told += world.step().events
        for name in world.unfinished:
            world.finish(name)
        world.serve()
    return told


def test_a_life_without_trouble_is_told_in_order_and_once():
    told = life(World())
    reasons = [event.reason for event in told]
    assert reasons[0] == "Accepted"
    assert reasons[-1] == "Ready"
    assert reasons.index("AllTrained") < reasons.index("Covered")
    assert {event.type for event in told} == {"Normal"}
    assert all(count == 1 for count in Counter(told).values())


def test_forty_jobs_at_once_are_one_event():
    world = World()
    world.body["spec"]["grid"] = {"strategy": "Uniform", "size": 40}
    world.body["spec"]["training"] = {"parallelism": 60}
    plans = []
    for _ in range(6):
        plans.append(world.step())
        for name in world.unfinished:
            world.finish(name)
    most = max(plans, key=lambda plan: len(plan.creates))
    assert len(most.creates) >= 38
    told = [event for event in most.events if event.reason == "TrainingStarted"]
    assert len(told) == 1
    assert told[0].message.startswith("training of 38 policies started: w0")
    assert told[0].message.endswith("and 35 more")
    assert max(len(plan.events) for plan in plans) <= 4


def test_a_second_failure_is_told_although_the_condition_stays():
    world = World(body=portfolio_body())
    for _ in range(8):
        world.step()
        names = world.unfinished
        if any("train-w02" in name for name in names):
            break
        for name in names:
            world.finish(name)
    told = []
    for part in ("train-w01", "train-w02"):
        world.finish(next(n for n in world.unfinished if part in n), outcome="Failed")
        told.append([e for e in world.step().events if e.type == "Warning"])
    assert [len(events) for events in told] == [1, 1]
    assert told[1][0].message.startswith("2 policies cannot be had now. The first: ")


def test_what_is_stalled_and_not_trained_for_one_reason_is_one_warning():
    world = World()
    world.step()
    world.finish(world.unfinished[0], outcome="Failed")
    told = world.step().events
    assert [(event.type, event.reason) for event in told] == [("Warning", "EvaluationFailed")]


def test_trouble_is_told_when_it_begins():
    world = World()
    world.step()
    plan = troubled(world.portfolio, "StorageForbidden", "s3 says no", now=NOW)
    assert plan.events == (Event("Warning", "StorageForbidden", "s3 says no"),)
    world.body["status"] = plan.status.model_dump(mode="json", by_alias=True, exclude_none=True)
    again = troubled(world.portfolio, "StorageForbidden", "s3 says no, again", now=NOW)
    assert again.events == ()


@dataclass
class Told:
    """A cluster that only takes Events."""

    refuses: bool = False
    made: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    async def tell(self, body, *, kind, reason, message, time):
        if self.refuses:
            raise ClusterUnavailable("POST /events", status=403, explanation="exceeded quota")
        self.made.append(message)
        self.counts[message] = 1
        return message

    async def tell_again(self, namespace, name, *, count, time):
        if name not in self.counts:
            return False
        self.counts[name] = count
        return True


@pytest.fixture
def clock():
    return [0.0]


def record(cluster, clock, *events, stamp="2026-01-02T03:04:05Z"):
    recorder = Recorder(cluster, clock=lambda: clock[0])

    async def tell():
        for event in events:
            await recorder.tell(BODY, event, stamp=stamp)
            clock[0] += 1.0

    asyncio.run(tell())


def test_the_same_again_is_counted(clock):
    cluster = Told()
    record(cluster, clock, *[Event("Warning", "A", "a")] * 3)
    assert cluster.made == ["a"]
    assert cluster.counts == {"a": 3}


def test_one_that_is_gone_is_made_anew(clock):
    cluster = Told()
    recorder = Recorder(cluster, clock=lambda: clock[0])

    async def tell():
        await recorder.tell(BODY, Event("Normal", "A", "a"), stamp="")
        cluster.counts.clear()
        await recorder.tell(BODY, Event("Normal", "A", "a"), stamp="")

    asyncio.run(tell())
    assert cluster.made == ["a", "a"]


def test_a_flood_is_cut_and_leaves_room_for_warnings(clock):
    cluster = Told()
    flood = [Event("Normal", "A", str(i)) for i in range(300)]
    record(cluster, clock, *flood, Event("Warning", "B", "fire"))
    assert 25 <= len(cluster.made) <= 25 + 300 / 60 + 2
    assert cluster.made[-1] == "fire"


def test_an_event_that_is_refused_is_no_failure(clock):
    cluster = Told(refuses=True)
    record(cluster, clock, Event("Normal", "A", "a"))
    assert cluster.made == []


def test_a_job_that_is_refused_from_the_start_is_told_once():
    """Before it nothing was said of training: there was nothing to compare with."""
    world = World()
    (made,) = world.planned().creates
    name = made["metadata"]["name"]
    world.job_refusals = {name: Refusal("QuotaExceeded", "exceeded quota: few", "raise it")}
    told = [event for _ in range(4) for event in world.step().events]
    (trouble,) = [event for event in told if event.reason == "QuotaExceeded"]
    assert trouble.type == "Warning"
    assert name in trouble.message
