"""The search on a fake world: what is trained next, when it is enough, and what is said of it.

The oracle is exact: utilities on a circle's arc, whose best value at w is known. So every claim can
be held against the truth.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import World, portfolio_body, request_of
from palm.contract import TrainingRequest
from palm.training_progress import TrainingProgress
from palm_operator.names import Step
from palm_operator.planner import plan
from palm_operator.times import stamp

SEVENTEEN = {"strategy": "PALM", "mu": "8/30", "alpha": "0.2"}
ROUNDING = 5e-4  # numbers of the status have four digits


def rewards(count: int = 2) -> list[dict]:
    """Objectives in equal, stated units: the circle stays a circle."""
    return [
        {
            "name": f"r{i}",
            "verifiable": {"type": "ArithmeticSteps"},
            "range": {"min": "0", "max": "9"},
        }
        for i in range(count)
    ]


def searching(mode: str = "Adaptive", *, mu: str = "0.01", count: int = 2, **spec) -> World:
    limit = spec.pop("limit", 100)
    parts = {
        "rewards": rewards(count),
        "grid": SEVENTEEN,
        "search": {"mode": mode, "maxOracleCalls": limit},
        "pruning": {"mu": mu},
        **spec,
    }
    return World(body=portfolio_body(**parts))


def trained(world: World) -> set[str]:
    """Digests of the policies in S3."""
    return {key.split("/")[1] for key in world.store.objects if key.endswith("trained.json")}


def calls(world: World) -> dict:
    return world.body["status"]["oracleCalls"]


def training_jobs(world: World) -> list[str]:
    return [name for name in world.created if "-train-" in name]


def ledger(world: World) -> dict:
    key = next(k for k in world.store.objects if k.endswith("portfolio.json"))
    return json.loads(world.store.objects[key])


def truth(world: World, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best value possible and the best of the portfolio, in the portfolio's own units."""
    document = ledger(world)
    calibration, kept = document["calibration"], set(document["cover"]["policies"])
    utilities = np.array([p["utilities"] for p in document["policies"] if p["name"] in kept])
    divergence = 0.01 * 0.2  # β·KL of every policy
    scale, offset = calibration["scale"][0], np.array(calibration["offset"])
    assert np.ptp(calibration["scale"]) < 1e-12
    lowest = ((2.0 / 9.0 - divergence) - offset) / scale
    best = weights @ lowest + (5.0 / 9.0 / scale) * np.linalg.norm(weights, axis=1)
    return best, (weights @ utilities.T).max(axis=1)


@pytest.mark.parametrize("mode", ["Adaptive", "Propose"])
@pytest.mark.parametrize(("count", "mu"), [(2, "0.01"), (2, "0.05"), (3, "0.05")])
def test_fewer_oracle_calls_reach_the_guarantee_that_the_whole_grid_has(mode, count, mu):
    grid = SEVENTEEN if count == 2 else {"strategy": "PALM", "mu": "19/30", "alpha": "0.4"}
    searched = searching(mode, mu=mu, count=count, grid=grid)
    searched.run(passes=200)
    whole = searching("Grid", mu=mu, count=count, grid=grid)
    whole.run(passes=200)
    size = {2: 17, 3: 37}[count]
    assert len(training_jobs(whole)) == size
    assert len(training_jobs(searched)) < size
    for world in (searched, whole):
        best, served = truth(world, np.array(world.work.grid))
        assert (served >= (1 - float(mu)) * best - 1e-9).all()
        assert world.condition("GuaranteeHeld")["reason"] == "SimplexCertified"
    assert searched.condition("Trained")["reason"] == "Certified"
    assert calls(searched)["saved"] == size - len(training_jobs(searched))


def test_propose_spends_more_oracle_calls_than_adaptive_on_a_smaller_portfolio():
    grid = {"strategy": "PALM", "mu": "19/30", "alpha": "0.2"}  # 91 weight vectors
    worlds = {}
    for mode in ("Adaptive", "Propose"):
        worlds[mode] = searching(mode, mu="0.1", count=3, grid=grid, serving={"maxPolicies": 64})
        worlds[mode].run(passes=200)
        best, served = truth(worlds[mode], np.array(worlds[mode].work.grid))
        assert (served >= 0.9 * best - 1e-9).all()
    adaptive, propose = (w.body["status"] for w in worlds.values())
    assert propose["portfolio"]["size"] < adaptive["portfolio"]["size"]
    assert adaptive["oracleCalls"]["planned"] < propose["oracleCalls"]["planned"] < 91
    assert propose["oracleCalls"]["planned"] + propose["oracleCalls"]["saved"] == 91


def test_propose_at_its_limit_publishes_what_is_certified():
    grid = {"strategy": "PALM", "mu": "19/30", "alpha": "0.2"}
    adaptive = searching("Adaptive", mu="0.1", count=3, grid=grid, serving={"maxPolicies": 64})
    adaptive.run(passes=200)
    limit = calls(adaptive)["planned"] + 2
    world = searching(
        "Propose", mu="0.1", count=3, grid=grid, limit=limit, serving={"maxPolicies": 64}
    )
    world.run(passes=200)
    assert len(trained(world)) == calls(world)["planned"] == limit
    assert world.condition("GuaranteeHeld")["status"] == "True"
    assert world.condition("Ready")["status"] == "True"


def test_an_oracle_call_for_a_smaller_portfolio_is_not_withdrawn_while_it_waits():
    grid = {"strategy": "PALM", "mu": "19/30", "alpha": "0.2"}
    world = searching("Propose", mu="0.1", count=3, grid=grid, serving={"maxPolicies": 64})
    for _ in range(200):
        world.step()
        if "may make the portfolio smaller" in world.condition("Progressing")["message"]:
            break
        for name in world.unfinished:
            world.finish(name)
    waiting = list(world.unfinished)
    for name in waiting:
        world.jobs[name]["status"] = {"active": 1, "ready": 0}
    assert waiting
    assert world.step().deletes == ()
    assert world.services == {}


@pytest.mark.parametrize("mode", ["Adaptive", "Propose", "Grid"])
def test_what_the_status_claims_is_true_for_every_preference(mode):
    world = searching(mode, mu="0.05")
    world.run()
    first = np.linspace(0, 1, 2001)
    best, served = truth(world, np.stack([first, 1 - first], axis=1))
    guarantee = world.body["status"]["portfolio"]["guarantee"]
    assert guarantee["scope"] == "Simplex"
    assert (best - served).max() <= float(guarantee["delta"]) + ROUNDING
    assert (1 - served / best).max() <= float(guarantee["epsilon"]) + ROUNDING
    assert float(guarantee["grid"]["epsilon"]) <= 0.05 + ROUNDING


@settings(max_examples=25, deadline=None)
@given(
    data=st.data(),
    mode=st.sampled_from(["Adaptive", "Propose", "Grid"]),
    parallelism=st.integers(1, 6),
    limit=st.integers(3, 20),
)
def test_however_jobs_end_the_search_ends_honestly(data, mode, parallelism, limit):
    """Jobs end in any order and fail or vanish now and then; the operator dies anywhere."""
    limit = max(limit, 17) if mode == "Grid" else limit
    world = searching(mode, limit=limit, training={"parallelism": parallelism})
    for _ in range(300):
        kills = data.draw(st.integers(0, 3), label="creates carried out before a kill")
        if kills:
            world.step(creates=kills)
        world.step()
        assert len(world.unfinished) <= parallelism
        numbers = calls(world)
        assert numbers["planned"] + numbers["saved"] <= 17
        assert numbers["succeeded"] + numbers["failed"] <= numbers["planned"] <= limit
        if not world.unfinished and not world.planned().acts:
            break
        if world.unfinished:
            name = data.draw(st.sampled_from(sorted(world.unfinished)))
            status = world.jobs[name]["status"]
            if status["ready"] and data.draw(st.integers(0, 9), label="waits for a place") == 9:
                status["ready"] = 0
                continue
            outcomes = ["Complete"] * 8 + ["Lost"] * (not name.endswith("-r2"))
            is_extreme = request_of(world.jobs[name]).policy[:3] in ("w00", "w16", "bas")
            world.finish(
                name,
                outcome=data.draw(st.sampled_from(outcomes + ["Failed"] * (not is_extreme))),
            )
    made = [world.requests[name].policy_digest for name in training_jobs(world)]
    assert len(set(made)) <= limit
    status = {c["type"]: c for c in world.body["status"]["conditions"]}
    if status["Pruned"]["status"] == "True":
        best, served = truth(world, np.array(world.work.grid))
        assert (served >= 0.99 * best - 1e-9).all()
    else:
        assert status["Stalled"]["reason"] in {
            "OracleCallLimitReached",
            "OracleCallFailed",
            "EvaluationFailed",
            "ResultMissing",
        }
        assert status["GuaranteeHeld"]["status"] == "False"


def test_from_grid_to_adaptive_nothing_is_trained():
    world = searching("Grid")
    world.run()
    before, revision = list(world.created), world.body["status"]["revision"]
    world.body["spec"]["search"]["mode"] = "Adaptive"
    world.run()
    assert world.created == before
    assert world.body["status"]["revision"] == revision
    assert calls(world)["planned"] == 17


def test_from_adaptive_to_grid_only_what_is_missing_is_trained():
    world = searching("Adaptive")
    world.run()
    first, services = trained(world), set(world.services)
    world.body["spec"]["search"]["mode"] = "Grid"
    world.step()
    assert services <= set(world.services)
    assert world.condition("Ready")["status"] == "True"
    world.run()
    assert first < trained(world)
    assert len(training_jobs(world)) == len(set(training_jobs(world))) == 17
    assert calls(world) | {"reused": 0} == {
        "planned": 17, "running": 0, "succeeded": 17, "failed": 0, "reused": 0, "saved": 0,
        "summary": "17/17",
    }  # fmt: skip


def test_looser_pruning_starts_no_job():
    world = searching("Adaptive", mu="0.01")
    world.run()
    before, size = list(world.created), world.body["status"]["portfolio"]["size"]
    world.body["spec"]["pruning"] = {"mu": "0.1"}
    world.run()
    assert world.created == before
    assert world.body["status"]["portfolio"]["size"] < size


def test_tighter_pruning_trains_what_is_missing_and_says_so_while_the_old_one_serves():
    world = searching("Adaptive", mu="0.05")
    world.run()
    first, old = trained(world), world.body["status"]["portfolio"]
    assert "tighter tolerances may take more" in world.condition("Accepted")["message"]
    world.body["spec"]["pruning"] = {"mu": "0.005"}
    world.step()
    assert world.body["status"]["portfolio"] == old
    assert world.condition("Ready")["status"] == "True"
    assert "weight vectors are not certified" in world.condition("Progressing")["message"]
    world.run()
    assert first < trained(world)
    tight = searching("Adaptive", mu="0.005")
    tight.run()
    assert len(trained(world)) <= 17
    best, served = truth(world, np.array(world.work.grid))
    assert (served >= 0.995 * best - 1e-9).all()


def test_planned_only_falls_and_the_column_ends_full():
    world, planned = searching("Adaptive", training={"parallelism": 1}), []
    for _ in range(60):
        world.step()
        planned.append(calls(world)["planned"])
        for name in world.unfinished:
            world.finish(name)
    assert planned[0] == 17
    assert planned == sorted(planned, reverse=True)
    done = calls(world)["succeeded"]
    assert calls(world)["summary"] == f"{done}/{done}"
    assert done + calls(world)["saved"] == 17


def test_the_limit_stops_the_search_with_the_numbers_and_keeps_what_serves():
    world = searching("Adaptive", mu="0.05")
    world.run()
    old, services = world.body["status"]["portfolio"], set(world.services)
    spent = len(trained(world))
    world.body["spec"] |= {
        "pruning": {"mu": "0.001"},
        "search": {"mode": "Adaptive", "maxOracleCalls": spent + 1},
    }
    world.run()
    assert len(trained(world)) == spent + 1
    assert world.body["status"]["portfolio"] == old
    assert set(world.services) == services
    assert world.condition("Ready")["status"] == "True"
    stalled, held = world.condition("Stalled"), world.condition("GuaranteeHeld")
    assert stalled["reason"] == "OracleCallLimitReached"
    for part in (f"{spent + 1} oracle calls are spent", "of 17 weight vectors", "misses by 0.0"):
        assert part in stalled["message"]
    assert (held["status"], held["reason"]) == ("False", "NotCertified")
    assert "epsilon=" in held["message"]
    world.body["spec"]["search"]["maxOracleCalls"] = 17
    world.run()
    assert world.condition("GuaranteeHeld")["status"] == "True"


def test_a_grid_beyond_the_limit_is_searched_and_one_beyond_reason_is_refused():
    grid = {"strategy": "PALM", "mu": "0.05", "alpha": "0.01"}  # 193 weight vectors
    world = searching("Adaptive", mu="0.05", grid=grid, limit=40)
    world.run()
    assert world.condition("GuaranteeHeld")["status"] == "True"
    assert len(trained(world)) <= 40
    world.body["spec"]["search"]["mode"] = "Grid"
    world.step()
    refusal = world.condition("Accepted")
    assert refusal["reason"] == "GridTooLarge"
    assert "193 weight vectors" in refusal["message"]
    huge = searching("Adaptive", grid={"strategy": "PALM", "mu": "0.001", "alpha": "0.001"})
    assert not huge.step().acts
    refusal = huge.condition("Accepted")["message"]
    assert "has 13827 weight vectors" in refusal
    assert "10000" in refusal


def test_a_failed_oracle_call_that_others_make_up_for_is_no_obstacle_and_is_on_record():
    world = searching("Adaptive", mu="0.05", training={"parallelism": 1})
    failed = None
    for _ in range(80):
        world.step()
        for name in world.unfinished:
            request = request_of(world.jobs[name])
            inner = isinstance(request, TrainingRequest) and min(request.weights) > 0
            if inner and failed is None:
                failed = request.policy
                world.finish(name, outcome="Failed")
            else:
                world.finish(name)
        world.serve()
    assert calls(world)["failed"] == 1
    assert world.condition("Trained")["reason"] == "Certified"
    assert "1 oracle calls failed and are not needed" in world.condition("Trained")["message"]
    entries = {entry["name"]: entry for entry in ledger(world)["search"]["untrained"]}
    assert entries[failed]["failed"]
    assert entries[failed]["portfolio"] >= 0.95 * entries[failed]["upperBound"] - 1e-9
    best, served = truth(world, np.array(world.work.grid))
    assert (served >= 0.95 * best - 1e-9).all()


def test_a_failure_that_nothing_makes_up_for_holds_pruning_until_it_is_mended():
    world = searching("Adaptive", grid={"strategy": "PALM", "mu": "1", "alpha": "1"}, mu="0")
    for _ in range(10):
        world.step()
        for name in world.unfinished:
            request = request_of(world.jobs[name])
            inner = isinstance(request, TrainingRequest) and min(request.weights) > 0
            world.finish(name, outcome="Failed" if inner else "Complete")
    assert world.condition("Stalled")["reason"] == "OracleCallFailed"
    assert world.condition("GuaranteeHeld")["status"] == "False"
    assert "portfolio" not in world.body["status"]
    failed = next(
        n for n, j in world.jobs.items() if j["status"]["conditions"][0]["type"] == "Failed"
    )
    del world.jobs[failed]
    world.run()
    assert world.condition("GuaranteeHeld")["status"] == "True"


def extremes_and(world: World, *, running: bool) -> str:
    """Search until one oracle call is under way; return its Job's name."""
    for _ in range(20):
        world.step()
        names = [
            n
            for n in world.unfinished
            if min(getattr(request_of(world.jobs[n]), "weights", (0,))) > 0
        ]
        if names:
            break
        for name in world.unfinished:
            world.finish(name)
    for name in names:
        world.jobs[name]["status"] = {"active": 1, "ready": int(running)}
    return names[0]


def test_once_certified_what_waits_for_a_place_is_withdrawn_and_what_runs_is_let_finish():
    for running in (False, True):
        world = searching("Adaptive", mu="0.01", training={"parallelism": 1})
        name = extremes_and(world, running=running)
        world.body["spec"]["pruning"] = {"mu": "0.9"}
        plan = world.step()
        assert ([job.name for job in plan.deletes] == [name]) is not running
        if running:
            assert "what runs is let finish" in world.condition("Progressing")["message"]
            assert world.services == {}
            digest = request_of(world.jobs[name]).policy_digest
            world.run()
            assert digest in trained(world)
        else:
            world.run()
            assert len(trained(world)) == 2
        assert world.condition("GuaranteeHeld")["status"] == "True"


def test_a_disrupted_training_is_not_withdrawn_although_its_job_forgot_that_it_ran():
    """A Pod that was taken away counts nowhere in the Job's status; its checkpoint is in S3."""
    world = searching("Adaptive", mu="0.01", training={"parallelism": 1})
    name = extremes_and(world, running=False)
    world.body["spec"]["pruning"] = {"mu": "0.9"}
    digest = request_of(world.jobs[name]).policy_digest
    told = TrainingProgress(
        policy="w", policy_digest=digest, step=12, steps=100, rewards={}, checkpoint_step=10,
        updated=stamp(world.now),
    )  # fmt: skip

    def withdrawn(progress) -> list[str]:
        seen = replace(world.observed, progress=progress)
        decided = plan(world.portfolio, seen, world.settings, now=world.now)
        return [child.name for child in decided.deletes]

    assert withdrawn({}) == [name]
    assert withdrawn({digest: told}) == []


def test_what_another_portfolio_trained_is_evidence():
    first = searching("Grid")
    first.run()
    second = searching("Adaptive", mu="0.001")
    second.store = first.store
    second.run()
    assert second.created == []
    assert calls(second)["reused"] == calls(second)["succeeded"] == 17


def test_the_ledger_depends_on_the_evidence_and_not_on_its_order():
    one = searching("Adaptive", training={"parallelism": 4})
    one.run()
    other = searching("Adaptive", training={"parallelism": 4})
    other.store.objects = dict(
        item for item in reversed(one.store.objects.items()) if "portfolios/" not in item[0]
    )
    other.run()
    assert ledger(one) == ledger(other)
    document = ledger(one)
    assert document["search"]["mode"] == "Adaptive"
    indices = [p["index"] for p in document["policies"]]
    rest = [p["index"] for p in document["search"]["untrained"]]
    assert indices == sorted(indices)
    assert sorted(indices + rest) == list(range(17))
    for entry in document["search"]["untrained"]:
        assert entry["lowerBound"] <= entry["upperBound"]


@pytest.mark.parametrize(
    ("grid", "count"),
    [
        ({"strategy": "Uniform", "size": 9}, 9),
        ({"strategy": "Random", "size": 9, "seed": 1}, 11),
        ({"strategy": "Explicit", "weights": [["1/3", "2/3"], ["0.25", "0.75"], ["1", "0"]]}, 4),
    ],
)
def test_every_strategy_has_the_unit_vectors_and_comes_to_its_end(grid, count):
    world = searching("Grid")
    world.body["spec"]["grid"] = grid
    world.run()
    assert len(world.work.grid) == count
    assert {(0.0, 1.0), (1.0, 0.0)} <= set(world.work.grid)
    assert calls(world)["summary"] == f"{count}/{count}"
    assert world.condition("GuaranteeHeld")["status"] == "True"


def test_strategies_with_a_weight_vector_in_common_share_its_policy():
    first = searching("Grid")
    first.body["spec"]["grid"] = {"strategy": "Uniform", "size": 5}
    first.run()
    second = searching("Grid")
    second.body["spec"]["grid"] = {"strategy": "Explicit", "weights": [["1/4", "3/4"]]}
    second.store = first.store
    second.run()
    assert second.created == []


def test_a_foreign_job_in_the_way_of_the_search_is_named_and_not_touched():
    world = searching("Adaptive", mu="0", grid={"strategy": "PALM", "mu": "1", "alpha": "1"})
    for _ in range(3):
        world.step()
        for name in world.unfinished:
            world.finish(name)
    wanted = world.planned().creates[0]
    wanted["metadata"]["ownerReferences"] = []
    world.jobs[wanted["metadata"]["name"]] = wanted
    plan = world.step()
    assert plan.creates == ()
    assert plan.deletes == ()
    assert world.condition("Stalled")["reason"] == "NameConflict"


def test_sampling_error_widens_the_guarantee_and_is_stated():
    world = searching("Grid", mu="0.05")
    world.noise, world.prompts = 0.3, 20
    world.run()
    guarantee = world.body["status"]["portfolio"]["guarantee"]
    assert guarantee["confidence"] == "0.95"
    assert float(guarantee["eta"]) > 0
    assert float(guarantee["delta"]) > float(guarantee["measured"]["delta"])
    held = world.condition("GuaranteeHeld")
    assert "confidence 0.95" in held["message"]
    assert "more evaluation prompts" in held["message"]


def test_a_single_prompt_says_nothing_of_the_sampling_error():
    world = searching("Grid", mu="0.05")
    world.prompts = 1
    world.run()
    guarantee = world.body["status"]["portfolio"]["guarantee"]
    assert "confidence" not in guarantee
    assert "not known" in world.condition("GuaranteeHeld")["message"]


def test_steps_of_training_and_evaluation_overlap_within_the_search():
    world = searching("Adaptive", training={"parallelism": 2})
    seen = set()
    for _ in range(40):
        world.step()
        seen |= {tuple(sorted(world.jobs[n]["metadata"]["labels"]["palm-operator.dev/step"]
                              for n in world.unfinished))}  # fmt: skip
        if world.unfinished:
            world.finish(sorted(world.unfinished)[0])
    assert (Step.EVALUATE.value, Step.TRAIN.value) in seen
