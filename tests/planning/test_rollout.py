"""One portfolio takes another's place: when it switches, what is retired, and in which order."""

from datetime import timedelta
from itertools import pairwise

import pytest

from builders import World, portfolio_body
from palm.route_table import parse_route_table
from palm_operator import names
from palm_operator.serving.rollout import LEAVING
from palm_operator.times import duration, parsed, remaining, stamp


def published(**serving) -> World:
    made = World(body=portfolio_body(serving=serving))
    made.run()
    assert made.condition("Published")["status"] == "True"
    return made


def train_successor(made: World) -> None:
    """Change what determines the policies, and train until servers are to change."""
    made.body["spec"]["training"] = {"seed": 7, "parallelism": 9}
    made.body["metadata"]["generation"] = 2
    for _ in range(20):
        pending = made.planned().status.pending
        if pending and pending.phase == "Publishing":
            return
        made.step()
        for name in made.unfinished:
            made.finish(name)
    raise AssertionError("no successor came")


def deployed(made: World) -> dict:
    return made.body["status"]["portfolio"]


def routed(made: World) -> dict:
    table = parse_route_table(made.routes["data"][names.ROUTES_KEY])
    return {policy.name: policy.ready for policy in table.policies}


def answering(made: World) -> set[str]:
    return {p["name"] for p in deployed(made)["policies"] if p["ready"]}


def test_the_old_portfolio_is_retired_a_while_after_the_switch():
    made = published(retireAfter="2m")
    old = set(made.services)
    train_successor(made)
    made.step()
    made.serve()
    made.step()
    switch = parsed(deployed(made)["since"])
    assert old & set(made.services) == old
    made.now = switch + timedelta(seconds=119)
    waiting = made.planned()
    assert (waiting.deletes, waiting.again_in) == ((), 1.0)
    made.now = switch + timedelta(seconds=120)
    assert {child.name for child in made.step().deletes} == old
    assert old & set(made.services) == set()
    assert made.planned().again_in is None


def test_a_restart_does_not_begin_the_wait_anew():
    made = published(retireAfter="10m")
    train_successor(made)
    made.step()
    made.serve()
    made.step()
    since = deployed(made)["since"]
    made.step()
    assert deployed(made)["since"] == since  # all that a restarted operator knows
    assert made.planned().again_in == pytest.approx(8 * 60)


def test_servers_left_over_go_while_the_next_revision_is_trained():
    made = published(retireAfter="5m")
    old = set(made.services)
    train_successor(made)
    made.step()
    made.serve()
    made.step()
    made.body["spec"]["training"] = {"seed": 8, "parallelism": 9}
    plan = made.step()
    assert plan.creates
    assert plan.again_in is not None
    for _ in range(6):
        made.step()
    assert old & set(made.services) == set()
    assert made.condition("Ready")["status"] == "True"


def test_servers_left_over_stay_while_what_is_deployed_does_not_answer():
    made = published(retireAfter="0s")
    train_successor(made)
    made.step()
    made.serve()
    made.step()
    both = set(made.services)
    made.silent = {p["service"] for p in deployed(made)["policies"]}
    made.body["spec"]["training"] = {"seed": 8, "parallelism": 9}
    made.step()
    made.step()
    assert set(made.services) == both


def test_what_is_deployed_says_since_when_and_policies_that_stay_keep_their_time():
    made = published()
    first = deployed(made)
    made.body["spec"]["pruning"] = {"mu": "0.3"}
    for _ in range(3):
        made.step()
        made.serve()
    second = deployed(made)
    assert second["since"] > first["since"]
    before = {p["name"]: p["since"] for p in first["policies"]}
    for policy in second["policies"]:
        assert policy["since"] == before.get(policy["name"], second["since"])
    assert {p["name"] for p in second["policies"]} & set(before)


def test_a_portfolio_that_never_answered_has_no_time():
    made = World(body=portfolio_body())
    for _ in range(20):
        made.step()
        for name in made.unfinished:
            made.finish(name)
    assert made.services
    assert "since" not in deployed(made)
    assert "revisions" not in made.body["status"] or made.body["status"]["revisions"] == []


def test_the_status_remembers_the_last_deployments_with_size_epsilon_and_manifest():
    made = published()
    for seed in range(1, 13):
        made.body["spec"]["training"] = {"seed": seed, "parallelism": 9}
        made.body["metadata"]["generation"] += 1
        made.run()
        made.step()
    entries = made.body["status"]["revisions"]
    assert [e["number"] for e in entries] == list(range(4, 14))
    last, present = entries[-1], deployed(made)
    assert (last["revision"], last["deployed"]) == (present["revision"], present["since"])
    assert last["manifest"] == present["manifest"]
    assert last["epsilon"] == present["guarantee"]["epsilon"]
    assert last["generation"] == 13
    assert "retired" not in last
    assert all(e["retired"] > e["deployed"] for e in entries[:-1])
    assert {e["reason"] for e in entries} == {"Revision"}


def test_a_deployment_says_what_brought_it():
    made = published()
    made.body["spec"]["pruning"] = {"mu": "0.3"}
    made.run()
    made.body["spec"]["serving"] = {"mode": "SharedAdapters"}
    made.run()
    made.body["spec"]["training"] = {"seed": 3, "parallelism": 9}
    made.run()
    reasons = [e["reason"] for e in made.body["status"]["revisions"]]
    assert reasons == ["First", "Pruning", "Serving", "Revision"]


def walk(made: World, *, passes: int = 60) -> list[World]:
    """Go on until nothing changes; KServe makes a server Ready two passes after it is there."""
    seen = []
    for _ in range(passes):
        before = (dict(made.body["status"]), set(made.services), str(made.routes))
        made.serve()
        made.step()
        seen.append((set(made.services), routed(made), answering(made)))
        if before == (made.body["status"], set(made.services), str(made.routes)):
            return seen
    raise AssertionError("it does not come to rest")


def test_recreate_replaces_one_policy_at_a_time_and_never_has_more_servers():
    made = published(rollout="Recreate")
    old, size = set(made.services), len(made.services)
    assert size >= 2
    train_successor(made)
    seen = walk(made)
    most = max(len(services) for services, _, _ in seen)
    assert most <= max(size, deployed(made)["size"])
    changes = [len(a ^ b) for (a, _, _), (b, _, _) in pairwise(seen)]
    assert max(changes) <= 1
    assert not old & set(made.services)
    assert made.condition("Ready")["status"] == "True"
    # Somebody is served at every moment, and nobody is sent to a server that is not there.
    for services, table, ready in seen:
        assert ready
        assert {name for name, is_ready in table.items() if is_ready} == ready
        assert all(any(service.endswith(name) for service in services) for name in ready)


def test_recreate_takes_a_policy_out_of_the_table_before_its_server_goes():
    made = published(rollout="Recreate")
    train_successor(made)
    made.serve()
    first = made.step()
    assert first.deletes == ()
    assert first.continues
    (leaving,) = [p for p in deployed(made)["policies"] if not p["ready"]]
    assert leaving["message"] == LEAVING
    assert routed(made)[leaving["name"]] is False
    assert leaving["service"] in made.services
    assert {child.name for child in made.step().deletes} == {leaving["service"]}
    assert routed(made)[leaving["name"]] is False


def test_recreate_stops_at_a_server_that_does_not_answer_and_the_others_go_on():
    made = published(rollout="Recreate")
    size = len(made.services)
    train_successor(made)
    made.serve()
    for _ in range(6):
        made.step()  # nobody makes the new one Ready
    assert len(made.services) == size
    assert len(answering(made)) == size - 1
    assert made.condition("Ready")["status"] == "False"
    assert "keeps serving" in made.condition("Published")["message"]
    assert not made.planned().deletes


def test_recreate_mends_the_server_that_does_not_answer():
    made = published(rollout="Recreate")
    train_successor(made)
    made.serve()
    for _ in range(4):
        made.step()
    made.body["spec"]["serving"]["template"] = {"image": "mended:2"}
    plan = made.step()
    (mended,) = [a for a in plan.applies if a["kind"] == "InferenceService"]
    assert mended["metadata"]["name"] in made.services
    walk(made)
    assert made.condition("Ready")["status"] == "True"


def test_recreate_begins_the_first_portfolio_at_once():
    made = World(body=portfolio_body(serving={"rollout": "Recreate"}))
    for _ in range(20):
        before = len(made.services)
        made.step()
        for name in made.unfinished:
            made.finish(name)
        if len(made.services) > before:
            break
    assert len(made.services) == deployed(made)["size"] >= 2


def test_recreate_of_one_server_for_all_has_never_two():
    made = published(rollout="Recreate", mode="SharedAdapters")
    train_successor(made)
    for _ in range(12):
        made.serve()
        made.step()
        assert len(made.services) <= 1
    assert made.condition("Ready")["status"] == "True"


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("45s", 45), ("1h30m", 5400), ("2h0m1s", 7201)]
)
def test_durations_are_read_as_they_are_written(text, seconds):
    assert duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "5", "s", "1d", "-1s", "1s30m", "1.5h"])
def test_what_is_no_duration_is_named(text):
    with pytest.raises(ValueError, match="1h30m"):
        duration(text)


def test_a_wait_is_over_when_its_time_has_come():
    now = parsed("2026-01-02T03:04:05Z")
    assert remaining("2026-01-02T03:03:50Z", "30s", now=now) == 15
    assert remaining("2026-01-02T03:00:00Z", "30s", now=now) == 0
    assert stamp(now) == "2026-01-02T03:04:05Z"
