"""Conditions, numbers and events."""

from dataclasses import replace
from datetime import timedelta

import pytest

from builders import NOW, SETTINGS, World
from palm_operator.refusing import troubled
from palm_operator.said.status import Said, conditions, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.3, "0.3"),
        (1 / 3, "0.3333"),
        (12345.6, "12350"),
        (1e-6, "0.000001"),
        (-0.0, "0"),
        (2, "2"),
    ],
)
def test_numbers_are_short_decimals(value, text):
    assert number(value) == text


def test_a_transition_time_moves_only_with_the_status():
    later = NOW + timedelta(hours=1)
    first = conditions([], {"Ready": Said("False", "A", "a")}, generation=1, now=NOW)
    same = conditions(first, {"Ready": Said("False", "B", "b")}, generation=2, now=later)
    moved = conditions(same, {"Ready": Said("True", "C", "c")}, generation=2, now=later)
    assert same[0].last_transition_time == first[0].last_transition_time
    assert same[0].observed_generation == 2
    assert moved[0].last_transition_time > same[0].last_transition_time


def test_the_first_status_has_generation_ready_and_reconciling():
    world = World()
    world.step()
    status = world.body["status"]
    assert status["observedGeneration"] == 1
    assert world.condition("Ready")["status"] == "False"
    assert world.condition("Reconciling")["status"] == "True"


def test_the_status_does_not_grow_with_the_grid():
    world = World()
    world.body["spec"]["grid"] = {"strategy": "PALM", "mu": "0.05", "alpha": "0.5"}
    world.body["spec"]["training"] = {"parallelism": 1000}
    for _ in range(4):
        world.step()
        for name in world.unfinished:
            world.finish(name)
    world.step()
    assert all(len(c["message"]) < 400 for c in world.body["status"]["conditions"])


def test_trouble_shows_without_forgetting_what_is_served():
    world = World()
    world.run()
    plan = troubled(world.portfolio, "StorageUnavailable", "s3 is away", now=NOW)
    said = {c.type: c for c in plan.status.conditions}
    assert said["Ready"].status == "True"
    assert said["Reconciling"].reason == "StorageUnavailable"
    assert plan.status.portfolio == world.portfolio.status.portfolio


def test_the_gateway_is_told_where_it_serves_what_is_deployed():
    told = replace(
        SETTINGS,
        gateway_url="http://gateway/v1",
        gateway_namespaces=("ml",),
        gateway_preferences={"ml/assistant": "brevity=1"},
    )
    world = World(settings=told)
    world.step()
    assert "gateway" not in world.body["status"]
    world.run()
    assert world.body["status"]["gateway"] == {
        "url": "http://gateway/v1",
        "model": "ml/assistant",
        "defaultPreference": "brevity=1",
    }
    world.settings = replace(told, gateway_namespaces=("other",))
    world.step()
    assert "gateway" not in world.body["status"]
    world.settings = told
    world.body["spec"]["serving"] = {"mode": "None"}
    world.step()
    assert "gateway" not in world.body["status"]


def test_a_refused_spec_leaves_the_gateway_where_it_is():
    world = World(settings=replace(SETTINGS, gateway_url="http://gateway/v1"))
    world.run()
    world.body["spec"]["storage"]["s3"]["endpoint"] = "https://elsewhere.example"
    world.step()
    assert world.condition("Accepted")["status"] == "False"
    assert world.body["status"]["gateway"]["url"] == "http://gateway/v1"
