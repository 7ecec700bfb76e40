"""The planner's rungs, on a world that does what Kubernetes, the images and KServe would do."""

from collections import Counter
from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import NOW, SETTINGS, World, portfolio_body
from palm import artifacts
from palm.contract import REQUEST_VARIABLE
from palm.objective import scalarize
from palm_operator.api import parse_portfolio
from palm_operator.observed import Observed
from palm_operator.planner import plan

ORACLE_CALLS = 5


def training_jobs(world: World) -> list[str]:
    return [name for name in world.created if "-train-" in name]


def test_the_first_pass_evaluates_the_base_policy_only_while_units_are_unknown():
    world = World()
    world.step()
    assert len(world.created) == 1
    assert "-eval-base" in world.created[0]


def test_the_extreme_policies_are_trained_before_any_other():
    world = World()
    world.step()
    world.finish(world.created[0])
    world.step()
    started = {p.weights for p in world.work.policies if p.name in " ".join(training_jobs(world))}
    assert started == {(0.0, 1.0), (1.0, 0.0)}


def test_a_portfolio_runs_to_ready_with_one_job_per_oracle_call():
    world = World()
    world.run()
    assert len(training_jobs(world)) == len(set(training_jobs(world))) == ORACLE_CALLS
    assert world.condition("Ready")["status"] == "True"
    assert world.body["status"]["oracleCalls"]["summary"] == f"{ORACLE_CALLS}/{ORACLE_CALLS}"


def test_a_finished_portfolio_plans_nothing_and_reports_the_same():
    world = World()
    world.run()
    before = world.body["status"]
    decided = world.step()
    assert not decided.acts
    assert decided.events == ()
    assert world.body["status"] == before


def test_a_deleted_job_whose_policy_is_in_s3_is_not_trained_again():
    world = World()
    world.run()
    world.jobs.clear()
    world.run()
    assert len(training_jobs(world)) == ORACLE_CALLS
    assert world.body["status"]["oracleCalls"]["reused"] == ORACLE_CALLS


def test_changing_only_pruning_starts_no_job():
    world = World()
    world.run()
    made = len(world.created)
    world.body["spec"]["pruning"] = {"mu": "0.3"}
    world.run()
    assert len(world.created) == made


def test_a_failed_oracle_call_is_named_and_nothing_is_pruned():
    world = World()
    world.step()
    world.finish(world.created[0])
    world.step()
    broken = training_jobs(world)[0]
    world.finish(broken, outcome="Failed")
    world.run()
    trained = world.condition("Trained")
    assert (trained["status"], trained["reason"]) == ("False", "OracleCallFailed")
    assert broken in trained["message"]
    assert "BackoffLimitExceeded" in trained["message"]
    assert world.condition("Pruned")["status"] == "False"
    assert world.services == {}


def test_a_deleted_failed_job_is_tried_again():
    world = World()
    world.step()
    world.finish(world.created[0])
    world.step()
    broken = training_jobs(world)[0]
    world.finish(broken, outcome="Failed")
    world.step()
    del world.jobs[broken]
    world.created.remove(broken)
    world.run()
    assert world.condition("Ready")["status"] == "True"


def test_an_invalid_result_is_discarded_and_evaluated_again():
    world = World()
    world.step()
    world.finish(world.created[0])
    (key,) = [k for k in world.store.objects if k.startswith("base/")]
    world.store.objects[key] = b'{"schemaVersion": 1, "rewards": [NaN'
    world.run()
    attempts = [name for name in world.created if "-eval-base" in name]
    assert len(attempts) == 2
    assert world.condition("Ready")["status"] == "True"


def test_a_result_that_never_comes_is_tried_three_times_and_then_stalls():
    world = World()
    for _ in range(8):
        world.step()
        for name in world.unfinished:
            world.finish(name, outcome="Nothing")
    assert len([name for name in world.created if "-eval-base" in name]) == 3
    world.step()
    assert world.condition("Stalled")["status"] == "True"


def test_a_grid_above_the_limit_is_refused_with_its_count_before_anything_is_created():
    portfolio = parse_portfolio(portfolio_body(search={"maxOracleCalls": 4}))
    decided = plan(portfolio, Observed(), SETTINGS, now=NOW)
    assert not decided.acts
    accepted = next(c for c in decided.status.conditions if c.type == "Accepted")
    assert (accepted.status, accepted.reason) == ("False", "GridTooLarge")
    assert "5 weight vectors" in accepted.message
    assert "maxOracleCalls is 4" in accepted.message


def test_an_endpoint_the_operator_does_not_allow_is_refused():
    location = {"s3": {"bucket": "palm", "endpoint": "http://evil.example"}}
    world = World(body=portfolio_body(storage=location))
    assert not world.step().acts
    assert world.condition("Accepted")["reason"] == "StorageNotAllowed"


def test_a_foreign_job_with_our_name_is_neither_adopted_nor_overwritten():
    world = World()
    job = world.planned().creates[0]
    name = job["metadata"]["name"]
    world.jobs[name] = {**job, "metadata": {**job["metadata"], "ownerReferences": []}}
    decided = world.step()
    assert name not in world.created
    assert all(child.name != name for child in decided.deletes)
    reasons = {c["reason"] for c in world.body["status"]["conditions"]}
    assert "NameConflict" in reasons


def test_a_cover_larger_than_max_policies_is_not_published():
    world = World(body=portfolio_body(pruning={"mu": "0"}, serving={"maxPolicies": 1}))
    world.run()
    published = world.condition("Published")
    assert (published["status"], published["reason"]) == ("False", "TooManyPolicies")
    assert world.services == {}


def test_policies_are_served_by_kserve_or_the_status_says_that_they_wait():
    world = World()
    world.run()
    for service in world.services.values():
        service.pop("status")
    world.step()
    published = world.condition("Published")
    assert (published["status"], published["reason"]) == ("False", "WaitingForKServe")


def test_without_kserve_nothing_is_published_and_the_reason_is_said():
    world = World(serves=False)
    world.run()
    assert world.condition("Published")["reason"] == "KServeAbsent"
    assert world.condition("Pruned")["status"] == "True"


def test_the_reported_portfolio_is_a_smallest_cover_of_the_grid():
    world = World()
    world.run()
    work, evidence = world.work, world.observed.evidence
    beta, rows = 0.01, []
    for policy in work.policies:
        result = evidence.results[policy.evaluation_digest]
        maps = work.affine_maps
        raw = [(r.mean - m.offset) / m.scale for r, m in zip(result.rewards, maps, strict=True)]
        utility = np.array(raw) - beta * result.divergence.mean
        rows.append((utility - work.calibration.offset) / np.array(work.calibration.scale))
    values = scalarize(weights=np.array(work.grid), utilities=np.array(rows))
    covered = values >= 0.95 * values.max(axis=1)[:, None] - 1e-12
    names = [policy.name for policy in work.policies]
    chosen = [names.index(p["name"]) for p in world.body["status"]["portfolio"]["policies"]]
    assert covered[:, chosen].any(axis=1).all()
    smaller = len(chosen) - 1
    assert not any(
        covered[:, list(some)].any(axis=1).all() for some in combinations(range(5), smaller)
    )


def test_no_secret_value_travels_in_a_job():
    world = World(
        body=portfolio_body(
            storage={"s3": {"bucket": "palm", "credentialsSecret": {"name": "keys"}}}
        )
    )
    (job,) = world.planned().creates
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert {"secretRef": {"name": "keys"}} in container["envFrom"]
    assert not [v for v in container["env"] if v["name"].startswith("AWS_SECRET")]
    assert [v for v in container["env"] if v["name"] == REQUEST_VARIABLE]


@settings(max_examples=40, deadline=None)
@given(choices=st.lists(st.integers(0, 5), max_size=40), parallelism=st.integers(1, 4))
def test_however_jobs_finish_each_oracle_call_is_made_once_and_parallelism_holds(
    choices, parallelism
):
    world = World(body=portfolio_body(training={"parallelism": parallelism}))
    for choice in choices:
        world.step()
        assert len(world.unfinished) <= parallelism
        if world.unfinished:
            world.finish(world.unfinished[choice % len(world.unfinished)])
    world.run()
    digests = Counter(
        world.jobs[name]["metadata"]["labels"]["palm-operator.dev/digest"]
        for name in training_jobs(world)
    )
    assert len(digests) == ORACLE_CALLS
    assert set(digests.values()) == {1}
    assert world.condition("Ready")["status"] == "True"


def test_planning_is_a_function_of_what_is_observed():
    world = World()
    world.step()
    seen = world.observed
    portfolio = parse_portfolio(world.body)
    first = plan(portfolio, seen, SETTINGS, now=NOW)
    assert first == plan(portfolio, seen, SETTINGS, now=NOW)


def test_the_frozen_calibration_in_s3_wins_over_a_new_one():
    world = World()
    world.run()
    (key,) = [k for k in world.store.objects if k.startswith("calibrations/")]
    assert world.work.calibration_key == key
    assert artifacts.calibration(key.split("/")[1].removesuffix(".json")) == key
    assert world.work.new_calibration is None
