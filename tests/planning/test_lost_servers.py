"""What is deployed is repaired also while a successor is made, held or suspended."""

from typing import Any

import pytest

from builders import World, portfolio_body
from palm import artifacts

ANOTHER_SEED = {"training": {"seed": 7, "parallelism": 9}}


def deployed(**spec: Any) -> World:
    made = World(body=portfolio_body(**spec))
    made.run()
    for _ in range(4):
        made.serve()
        made.step()
    return made


def without_a_server(made: World, **spec: Any) -> str:
    """Change the spec, let that be seen, and remove a server; return its name."""
    for key, value in spec.items():
        part = made.body["spec"].get(key)
        made.body["spec"][key] = {**part, **value} if isinstance(part, dict) else value
    made.step()
    name = made.body["status"]["portfolio"]["policies"][0]["service"]
    del made.services[name]
    return name


@pytest.mark.parametrize(
    "spec",
    [
        ANOTHER_SEED,
        ANOTHER_SEED | {"suspend": True},
        ANOTHER_SEED | {"serving": {"rollout": "Recreate"}},
        {"serving": {"maxPolicies": 1}},
        {"serving": {"pin": {"revision": "0" * 8, "sha256": "0" * 64}}},
        {"suspend": True},
    ],
    ids=["refresh", "suspended refresh", "Recreate", "too many", "bad pin", "suspended"],
)
def test_a_server_that_is_lost_is_made_again_as_it_was(spec: dict[str, Any]):
    made = deployed()
    before = {name: body["metadata"] for name, body in made.services.items()}
    name = without_a_server(made, **spec)
    made.step()
    assert made.services[name]["metadata"] == before[name]
    made.serve()
    made.step()
    assert made.condition("Ready")["status"] == "True"


def test_nothing_is_made_again_of_a_manifest_that_was_changed():
    made = deployed()
    name = without_a_server(made, **ANOTHER_SEED)
    sha256 = made.body["status"]["portfolio"]["manifest"]["sha256"]
    made.store.objects[artifacts.manifest_copy("ml", "assistant", sha256)] += b" "
    made.step()
    assert name not in made.services


def test_what_made_room_for_a_successor_is_not_made_again():
    made = deployed(serving={"rollout": "Recreate"})
    made.body["spec"] |= ANOTHER_SEED
    most, old = len(made.services), set(made.services)
    gone: set[str] = set()
    for _ in range(60):
        made.step()
        for name in made.unfinished:
            made.finish(name)
        made.serve()
        assert len(made.services) <= most
        gone |= old - set(made.services)
        assert gone.isdisjoint(made.services)
    assert gone == old
