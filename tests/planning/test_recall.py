"""A status that was lost takes nothing from what serves."""

import json
from typing import Any

import pytest

from builders import World, portfolio_body
from palm import artifacts
from palm_operator.record.events import parsed_entry

FOLDER = artifacts.record_folder("ml", "assistant")


def refreshing() -> World:
    """A Portfolio that serves, and whose successor is made and does not answer yet."""
    made = World(body=portfolio_body())
    made.run()
    for _ in range(4):
        made.serve()
        made.step()
    made.body["spec"]["training"]["seed"] = 7
    old = set(made.services)
    for _ in range(60):
        made.step()
        for name in made.unfinished:
            made.finish(name)
        if set(made.services) > old:
            return made
    raise AssertionError("no successor was made")


def table(made: World) -> Any:
    assert made.routes is not None
    return json.loads(made.routes["data"]["routes.json"])


def sent_to(made: World) -> set[str]:
    return {policy["name"] for policy in table(made)["policies"]}


@pytest.mark.parametrize("steps", [1, 5])
def test_requests_go_on_to_what_serves_until_its_successor_answers(steps: int):
    made = refreshing()
    before = sent_to(made)
    deployed = [p["name"] for p in made.body["status"]["portfolio"]["policies"]]
    assert before == set(deployed)
    del made.body["status"]
    for _ in range(steps):
        made.step()
        assert sent_to(made) == before
        assert [p["name"] for p in made.body["status"]["portfolio"]["policies"]] == deployed
        assert made.condition("Ready")["status"] == "True"
    for _ in range(3):
        made.serve()
        made.step()
    assert not sent_to(made) & before
    assert made.condition("Ready")["status"] == "True"


def test_what_another_portfolio_of_the_name_had_is_not_recalled():
    made = refreshing()
    revision = made.body["status"]["portfolio"]["revision"]
    del made.body["status"]
    made.body["metadata"]["uid"] = "another"
    made.services.clear()
    made.step()
    assert made.body["status"]["portfolio"]["revision"] != revision


def test_a_manifest_that_is_not_the_recorded_one_is_not_recalled():
    made = refreshing()
    last = [
        event
        for key in sorted(made.store.objects)
        if key.startswith(FOLDER)
        for event in parsed_entry(made.store.objects[key]).parsed
        if event.type == "Deployed"
    ][-1]
    del made.body["status"]
    made.store.objects[artifacts.manifest_copy("ml", "assistant", last.manifest.sha256)] += b" "
    known = made.planned().status.portfolio
    assert known is not None
    assert known.manifest.sha256 != last.manifest.sha256
