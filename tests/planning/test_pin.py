"""Going back: spec.serving.pin publishes an earlier manifest, and trains nothing for it."""

import json

import pytest

from builders import World, portfolio_body
from palm import artifacts
from palm.errors import InvalidResult
from palm.route_table import parse_route_table
from palm.schema import sha256_of
from palm_operator import names
from palm_operator.deciding.manifest_file import parsed_manifest, pinned_manifest

SEED = {"seed": 7, "parallelism": 9}


def deployed(made: World) -> dict:
    return made.body["status"]["portfolio"]


def rest(made: World) -> None:
    """Go on until all is served and what is left over is gone."""
    made.run()
    for _ in range(4):
        made.serve()
        made.step()


def refreshed_once() -> tuple[World, dict]:
    """A Portfolio whose second revision is deployed, and what the first one was."""
    made = World(body=portfolio_body())
    rest(made)
    first = deployed(made)
    made.body["spec"]["training"] = SEED
    rest(made)
    assert deployed(made)["revision"] != first["revision"]
    return made, first


def pin(made: World, entry: dict) -> None:
    reference = {"revision": entry["revision"], "sha256": entry["manifest"]["sha256"]}
    made.body["spec"]["serving"] = {"pin": reference}
    made.body["metadata"]["generation"] += 1


def same_but_for_time(one: dict, other: dict) -> bool:
    def timeless(portfolio: dict) -> dict:
        policies = [{k: v for k, v in p.items() if k != "since"} for p in portfolio["policies"]]
        return {**portfolio, "since": "", "policies": policies}

    return timeless(one) == timeless(other)


def test_a_rollback_publishes_exactly_what_was_deployed_and_starts_no_job():
    made, first = refreshed_once()
    before = list(made.created)
    pin(made, made.body["status"]["revisions"][0])
    rest(made)
    assert same_but_for_time(deployed(made), first)
    assert made.created == before
    assert len(made.services) == first["size"]
    assert made.condition("Published")["reason"] == "Pinned"
    assert made.condition("Ready")["status"] == "True"
    assert "Stalled" not in {c["type"] for c in made.body["status"]["conditions"]}
    assert made.body["status"]["revisions"][-1]["reason"] == "Pinned"
    table = parse_route_table(made.routes["data"][names.ROUTES_KEY])
    assert table.revision == first["revision"]
    assert all(policy.ready for policy in table.policies)


def test_a_rollback_has_no_gap():
    made, _ = refreshed_once()
    serving = set(made.services)
    pin(made, made.body["status"]["revisions"][0])
    made.step()
    assert serving < set(made.services)
    assert {p["service"] for p in deployed(made)["policies"]} == serving
    assert made.condition("Ready")["status"] == "True"


def test_without_the_pin_the_spec_is_followed_again():
    made, _ = refreshed_once()
    second, before = deployed(made), list(made.created)
    pin(made, made.body["status"]["revisions"][0])
    rest(made)
    made.body["spec"]["serving"] = {}
    rest(made)
    assert same_but_for_time(deployed(made), second)
    assert made.created == before


def test_a_pin_holds_while_another_revision_is_trained_and_decided():
    made, first = refreshed_once()
    pin(made, made.body["status"]["revisions"][0])
    made.body["spec"]["training"] = {"seed": 8, "parallelism": 9}
    before = len(made.created)
    made.step()
    assert deployed(made)["revision"] != first["revision"]
    made.serve()
    made.step()
    assert deployed(made)["revision"] == first["revision"]  # while training still runs
    assert made.unfinished
    rest(made)
    assert len(made.created) > before
    assert deployed(made)["revision"] == first["revision"]
    assert made.body["status"]["pending"] == {
        "revision": made.work.revision,
        "phase": "HeldByPin",
    }
    assert made.condition("Trained")["status"] == "True"
    assert "is not published" in made.condition("Published")["message"]


def test_a_pin_goes_back_to_another_pruning_of_the_same_revision():
    made = World(body=portfolio_body())
    rest(made)
    first = deployed(made)
    made.body["spec"]["pruning"] = {"mu": "0.3"}
    rest(made)
    assert deployed(made)["size"] < first["size"]
    assert deployed(made)["revision"] == first["revision"]
    pin(made, made.body["status"]["revisions"][0])
    rest(made)
    assert same_but_for_time(deployed(made), first)


def test_a_pin_serves_the_base_model_that_its_policies_were_made_from():
    made = World(body=portfolio_body())
    rest(made)
    first, services = deployed(made), dict(made.services)
    made.body["spec"]["baseModel"] = {"uri": "s3://models/other"}
    rest(made)
    assert deployed(made)["revision"] != first["revision"]
    pin(made, first)
    rest(made)
    assert {n: s["spec"] for n, s in made.services.items()} == {
        n: s["spec"] for n, s in services.items()
    }


def test_a_pin_that_names_nothing_changes_nothing_and_says_so():
    made, first = refreshed_once()
    services, now = set(made.services), deployed(made)
    pin(made, {"revision": first["revision"], "manifest": {"sha256": "0" * 64}})
    rest(made)
    assert made.condition("Published")["reason"] == "PinNotFound"
    assert "rollback --undo" in made.condition("Stalled")["message"]
    assert set(made.services) == services
    assert deployed(made) == now
    assert made.condition("Ready")["status"] == "True"


def test_a_manifest_that_was_changed_in_s3_is_not_followed():
    made, first = refreshed_once()
    sha256 = first["manifest"]["sha256"]
    key = artifacts.manifest_copy("ml", "assistant", sha256)
    document = json.loads(made.store.objects[key])
    document["inputs"]["baseModel"] = "s3://evil/model"
    made.store.objects[key] = json.dumps(document).encode()
    services = set(made.services)
    pin(made, first)
    rest(made)
    assert made.condition("Published")["reason"] == "PinInvalid"
    assert "SHA-256" in made.condition("Published")["message"]
    assert set(made.services) == services


def test_every_manifest_stays_as_it_was_and_the_status_names_it():
    made, _ = refreshed_once()
    for entry in made.body["status"]["revisions"]:
        key = entry["manifest"]["uri"].removeprefix("s3://palm/runs/")
        content = made.store.objects[key]
        assert sha256_of(content) == entry["manifest"]["sha256"]
        assert parsed_manifest(content).portfolio.revision == entry["revision"]


def manifest(made: World) -> dict:
    key = artifacts.manifest_copy("ml", "assistant", deployed(made)["manifest"]["sha256"])
    return json.loads(made.store.objects[key])


def _without_a_policy(document: dict) -> None:
    document["cover"]["policies"][0] = "w99-aaaaaa"


def _twice(document: dict) -> None:
    document["policies"].append(document["policies"][0])


def _renamed(document: dict) -> None:
    name = document["cover"]["policies"][0]
    next(p for p in document["policies"] if p["name"] == name)["policyDigest"] = "0" * 32


def _short(document: dict) -> None:
    document["policies"][0]["utilities"] = [1.0]


def _base_model_of_no_kind(document: dict) -> None:
    document["inputs"]["baseModel"] = "file:///etc/passwd"


def _not_finite(document: dict) -> None:
    document["policies"][0]["utilities"][0] = float("nan")


def _of_the_future(document: dict) -> None:
    document["schemaVersion"] = 9


@pytest.mark.parametrize(
    "damage",
    [
        _without_a_policy,
        _twice,
        _renamed,
        _short,
        _base_model_of_no_kind,
        _not_finite,
        _of_the_future,
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(damage):
    made = World(body=portfolio_body())
    rest(made)
    document = manifest(made)
    damage(document)
    with pytest.raises(InvalidResult):
        parsed_manifest(json.dumps(document).encode())


def test_a_manifest_of_another_portfolio_is_refused():
    made = World(body=portfolio_body())
    rest(made)
    content = json.dumps(manifest(made), sort_keys=True).encode()
    with pytest.raises(InvalidResult, match="of Portfolio ml/assistant"):
        pinned_manifest(
            content,
            sha256=sha256_of(content),
            revision=deployed(made)["revision"],
            namespace="ml",
            name="other",
        )
