"""The oracle MOD on a fake world: mixtures choose, fine-tuned policies are served and certified.

The oracle is exact: utilities on a circle's arc, of which mixtures lose a share. So every claim can
be held against the truth.
"""

import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import World, make_portfolio, portfolio_body, request_of
from palm import artifacts
from palm.contract import EvaluationRequest, TrainingRequest
from palm.schema import digest_of
from palm_operator.calls.requests import Policy, training_utilities

ROUNDING = 1e-3  # the status has four digits
GRID = {"strategy": "PALM", "mu": "0.5", "alpha": "0.1"}


def mixing(**spec: Any) -> World:
    """A World whose Portfolio mixes at decoding."""
    settings: dict[str, Any] = {
        "oracle": {"type": "MOD"},
        "grid": GRID,
        "search": {"mode": "Adaptive"},
        "pruning": {"mu": "0.05"},
    }
    return World(body=portfolio_body(**{**settings, **spec}))


def ledger(world: World) -> dict[str, Any]:
    key = artifacts.manifest("ml", "assistant", world.body["status"]["revision"])
    found: dict[str, Any] = json.loads(world.store.objects[key])
    return found


def trainings(world: World) -> list[TrainingRequest]:
    made = [world.requests[name] for name in world.created]
    return [request for request in made if isinstance(request, TrainingRequest)]


def evaluations(world: World) -> list[EvaluationRequest]:
    made = [world.requests[name] for name in world.created]
    return [request for request in made if isinstance(request, EvaluationRequest)]


def until(world: World, reason: str, *, passes: int = 80) -> None:
    """Let everything succeed until Progressing has a reason."""
    for _ in range(passes):
        world.step()
        if world.condition("Progressing")["reason"] == reason:
            return
        for name in world.unfinished:
            world.finish(name)
        world.serve()
    raise AssertionError(f"it never came to {reason}")


def normalized(world: World, policies: tuple[Policy, ...]) -> Any:
    results = [world.observed.evidence.results[p.evaluation_digest] for p in policies]
    work = world.work
    raw = training_utilities(world.portfolio.spec, work.affine_maps or (), results)
    assert work.calibration is not None
    return (raw - np.array(work.calibration.offset)) / np.array(work.calibration.scale)


def shortfalls(world: World) -> tuple[float, float]:
    """True ε and δ of what is deployed, against policies fine-tuned for two thousand weights."""
    first = np.linspace(0, 1, 2001)
    weights = np.stack([first, 1 - first], axis=1)
    names = {p["name"] for p in world.body["status"]["portfolio"]["policies"]}
    kept = tuple(p for p in world.work.fine_tuned if p.name in names)
    assert len(kept) == len(names)
    served = (weights @ normalized(world, kept).T).max(axis=1)
    best = optimum(world, weights)
    return float((1 - served / best).max()), float((best - served).max())


def optimum(world: World, weights: Any) -> Any:
    """The support function of the arc, in normalized units."""
    work = world.work
    assert work.affine_maps is not None
    assert work.calibration is not None
    offset = np.array([m.offset for m in work.affine_maps])
    scale = np.array([m.scale for m in work.affine_maps])
    angle = np.linspace(0, np.pi / 2, 20_001)
    means = 2.0 + 5.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    beta, kl = 0.01, 0.2
    units = ((means - offset) / scale - beta * kl - np.array(work.calibration.offset)) / np.array(
        work.calibration.scale
    )
    return (weights @ units.T).max(axis=1)


def test_only_single_rewards_are_trained_and_every_other_call_evaluates_a_mixture() -> None:
    world = mixing()
    until(world, "Retraining")
    before = trainings(world)
    extremes = {policy.digest for policy in world.work.extremes}
    inner = [request for request in before if request.policy_digest not in extremes]
    started = {
        request_of(job).policy_digest for job in map(world.jobs.get, world.unfinished) if job
    }
    assert {request.policy_digest for request in inner} == started  # those of this very pass
    mixtures = [request for request in evaluations(world) if request.mixture]
    assert len(mixtures) > 2
    weights = {p.evaluation_digest: p.training_weights for p in world.work.policies}
    for request in mixtures:
        assert request.mixture is not None
        parts = {part.policy_digest: part.weight for part in request.mixture}
        wanted = weights[request.evaluation_digest]
        assert [parts[policy.digest] for policy in world.work.extremes] == list(wanted)


def test_what_is_published_is_fine_tuned_evaluated_and_certified_for_itself() -> None:
    world = mixing()
    world.run()
    assert world.condition("Ready")["status"] == "True"
    trained = {key.split("/")[1] for key in world.store.objects if key.endswith("/trained.json")}
    document = ledger(world)
    by_name = {policy["name"]: policy for policy in document["policies"]}
    for name in document["cover"]["policies"]:
        assert by_name[name]["policyDigest"] in trained
        assert "mixture" not in by_name[name]
    served = {policy for service in world.observed.services for policy in service.policies}
    assert served == set(document["cover"]["policies"])
    mixed = document["oracle"]
    assert mixed["type"] == "MOD"
    assert all("model" not in policy for policy in mixed["policies"] if "mixture" in policy)
    # For every survivor among the mixtures, there is a policy that was trained for its weights.
    for policy in mixed["policies"]:
        if policy["survives"]:
            assert policy["index"] in {entry["index"] for entry in document["policies"]}
    assert document["guarantee"] != mixed["guarantee"]
    assert "mixture at decoding" in mixed["guarantee"]["assumes"][0]
    assert "mixture" not in document["guarantee"]["assumes"][0]


@pytest.mark.parametrize("mode", ["Adaptive", "Propose", "Grid"])
@pytest.mark.parametrize(
    ("loss", "retraining"), [(0.02, 0.0), (0.1, 0.0), (0.0, 0.03), (0.02, 0.08)]
)
def test_what_the_status_claims_is_true_of_what_is_served(
    mode: str, loss: float, retraining: float
) -> None:
    world = mixing(search={"mode": mode})
    world.mixing_loss, world.retraining_loss = loss, retraining
    world.run()
    guarantee = world.body["status"]["portfolio"]["guarantee"]
    assert guarantee["scope"] == "Simplex"
    if retraining == 0:  # what is fine-tuned is the best there is
        epsilon, delta = shortfalls(world)
        assert epsilon <= float(guarantee["epsilon"]) + ROUNDING
        assert delta <= float(guarantee["delta"]) + ROUNDING
    held = world.condition("GuaranteeHeld")
    assert "mixed at decoding" in held["message"]
    assert (held["status"] == "True") == ("uncovered" not in world.body["status"]["portfolio"])
    if held["status"] == "True":
        assert float(guarantee["grid"]["epsilon"]) <= 0.05 + ROUNDING
    else:
        assert held["reason"] == "RetrainedNotCertified"
        assert "spec.oracle.type FineTune" in held["message"]


def test_the_guarantee_is_held_where_the_fine_tuned_policies_alone_certify_it() -> None:
    world = mixing(pruning={"mu": "0.1"}, search={"mode": "Propose"})
    world.run()
    assert len(trainings(world)) < world.body["status"]["oracleCalls"]["planned"]
    held, pruned = world.condition("GuaranteeHeld"), world.condition("Pruned")
    assert (held["status"], held["reason"]) == ("True", "SimplexCertified")
    assert "This is about the fine-tuned policies" in held["message"]
    assert pruned["reason"] == "Covered"
    grid = np.array(world.work.grid)
    names = {p["name"] for p in world.body["status"]["portfolio"]["policies"]}
    kept = tuple(p for p in world.work.fine_tuned if p.name in names)
    served = (grid @ normalized(world, kept).T).max(axis=1)
    assert (served >= 0.9 * optimum(world, grid) - 1e-6).all()


def test_a_mixture_that_is_better_than_what_is_served_is_in_the_guarantee() -> None:
    world = mixing()
    world.mixing_loss, world.retraining_loss = 0.0, 0.1
    world.run()
    mixtures = tuple(
        p for p in world.work.policies
        if p.mixture and p.evaluation_digest in world.observed.evidence.results
    )  # fmt: skip
    names = {p["name"] for p in world.body["status"]["portfolio"]["policies"]}
    kept = tuple(p for p in world.work.fine_tuned if p.name in names)
    weights = np.array([p.weights for p in mixtures])
    better = (weights @ normalized(world, mixtures).T).max(axis=1)
    served = (weights @ normalized(world, kept).T).max(axis=1)
    guarantee = world.body["status"]["portfolio"]["guarantee"]
    assert (better - served).max() > 0.01
    assert float(guarantee["grid"]["delta"]) >= (better - served).max() - ROUNDING
    retrained = [p for p in kept if min(p.weights) > 0]
    at = np.array([p.weights for p in retrained])
    possible = (at @ normalized(world, mixtures).T).max(axis=1)
    reached = (at @ normalized(world, kept).T).max(axis=1)
    assert float(guarantee["delta"]) >= (possible - reached).max() - ROUNDING
    assert world.condition("GuaranteeHeld")["reason"] == "RetrainedNotCertified"


def test_while_survivors_are_fine_tuned_the_status_says_so_and_claims_nothing() -> None:
    world = mixing()
    until(world, "Retraining")
    pruned = world.condition("Pruned")
    assert (pruned["status"], pruned["reason"]) == ("False", "Retraining")
    assert "cannot be served" in pruned["message"]
    assert world.condition("GuaranteeHeld")["status"] == "Unknown"
    assert "portfolio" not in world.body["status"]
    assert world.body["status"]["pending"]["phase"] == "Retraining"
    world.run()
    trained = world.condition("Trained")
    assert (trained["status"], trained["reason"]) == ("True", "Retrained")
    assert "fine-tuned before they are published" in world.condition("Accepted")["message"]


@pytest.mark.parametrize(("first", "second"), [("FineTune", "MOD"), ("MOD", "FineTune")])
def test_policies_are_shared_with_fine_tuning_both_ways(first: str, second: str) -> None:
    one = mixing(oracle={"type": first}, search={"mode": "Grid"})
    one.run()
    made = {request.policy_digest for request in trainings(one)}
    done = {request.evaluation_digest for request in evaluations(one)}
    other = mixing(oracle={"type": second}, search={"mode": "Grid"})
    other.store = one.store
    other.run()
    assert not made & {request.policy_digest for request in trainings(other)}
    assert not done & {request.evaluation_digest for request in evaluations(other)}
    if second == "MOD":  # all there is was trained
        assert trainings(other) == []
    else:
        assert len(trainings(other)) == len(other.work.grid) - len(made)


def test_with_all_fine_tuned_policies_in_s3_the_decision_is_that_of_fine_tuning() -> None:
    tuned = mixing(oracle={"type": "FineTune"}, search={"mode": "Grid"})
    tuned.run()
    world = mixing(search={"mode": "Grid"})
    world.store = tuned.store
    world.run()
    assert ledger(world)["cover"]["policies"] == ledger(tuned)["cover"]["policies"]
    assert world.condition("GuaranteeHeld")["status"] == "True"


def test_a_cover_that_may_not_be_published_is_not_fine_tuned() -> None:
    spec = {"pruning": {"mu": "0.01"}, "search": {"mode": "Grid"}}
    world = mixing(serving={"maxPolicies": 2}, **spec)
    world.run()
    assert len(trainings(world)) == 2
    stalled = world.condition("Stalled")
    assert stalled["reason"] == world.condition("Published")["reason"] == "TooManyPolicies"
    assert "Nothing is fine-tuned" in stalled["message"]
    assert world.services == {}
    world.body["spec"]["serving"]["onExceeded"] = "BestEffort"
    world.run()
    assert world.condition("Ready")["status"] == "True"
    assert len(world.services) <= 2
    assert len(trainings(world)) <= 4
    best = mixing(serving={"maxPolicies": 8}, **spec)
    best.run()
    assert len(trainings(best)) > 4


def fail_the_retraining(world: World) -> str:
    until(world, "Retraining")
    name = next(n for n in world.unfinished if isinstance(world.requests[n], TrainingRequest))
    world.finish(name, outcome="Failed")
    world.run()
    return name


def test_a_survivor_that_cannot_be_fine_tuned_holds_what_is_deployed() -> None:
    world = mixing()
    name = fail_the_retraining(world)
    stalled = world.condition("Stalled")
    assert stalled["reason"].startswith("OracleCall")
    assert name in stalled["message"]
    assert world.services == {}
    assert world.condition("GuaranteeHeld")["status"] == "False"
    del world.jobs[name]
    world.run()
    assert world.condition("Ready")["status"] == "True"


def test_or_the_best_of_the_others_is_published_where_that_is_allowed() -> None:
    world = mixing(failurePolicy={"onOracleFailure": "AllowPartial"})
    fail_the_retraining(world)
    assert world.condition("Ready")["status"] == "True"
    held = world.condition("GuaranteeHeld")
    assert (held["status"], held["reason"]) == ("False", "PartialPortfolio")
    epsilon, delta = shortfalls(world)
    guarantee = world.body["status"]["portfolio"]["guarantee"]
    assert epsilon <= float(guarantee["epsilon"]) + ROUNDING
    assert delta <= float(guarantee["delta"]) + ROUNDING


def test_looser_pruning_withdraws_trainings_that_wait_for_survivors_of_before() -> None:
    world = mixing(pruning={"mu": "0.01"}, search={"mode": "Grid"}, training={"parallelism": 1})
    until(world, "Retraining")
    (name,) = (n for n in world.unfinished if isinstance(world.requests[n], TrainingRequest))
    world.jobs[name]["status"] = {"active": 1}  # it waits for a place
    world.body["spec"]["pruning"] = {"mu": "0.9"}
    plan = world.step()
    assert name in {job.name for job in plan.deletes}
    world.run()
    assert world.condition("Ready")["status"] == "True"


def test_what_serves_goes_on_while_an_edit_is_mixed_and_fine_tuned() -> None:
    world = mixing()
    world.run()
    old = world.body["status"]["portfolio"]
    world.body["spec"]["training"] = {**world.body["spec"]["training"], "seed": 7}
    world.body["metadata"]["generation"] += 1
    for reason in ("Training", "Retraining"):
        until(world, "TrainingExtremes" if reason == "Training" else reason)
        assert world.body["status"]["portfolio"] == old
        assert world.condition("Ready")["status"] == "True"
    world.run()
    assert world.body["status"]["portfolio"]["revision"] != old["revision"]


@settings(max_examples=15, deadline=None)
@given(data=st.data(), parallelism=st.integers(1, 4))
def test_however_jobs_end_and_the_operator_dies_it_ends_the_same(
    data: st.DataObject, parallelism: int
) -> None:
    world = mixing(training={"parallelism": parallelism})
    for _ in range(300):
        kills = data.draw(st.integers(0, 2), label="creates carried out before a kill")
        if kills:
            world.step(creates=kills)
        world.step()
        world.serve()
        assert len(world.unfinished) <= parallelism
        if not world.unfinished and not world.planned().acts:
            break
        if world.unfinished:
            name = data.draw(st.sampled_from(sorted(world.unfinished)))
            lost = ["Lost"] * (not name.endswith("-r2"))
            world.finish(name, outcome=data.draw(st.sampled_from(["Complete"] * 6 + lost)))
    assert world.condition("Ready")["status"] == "True"
    made = [request.policy_digest for request in trainings(world)]
    attempts = sum(name.endswith(("-r2", "-r3")) for name in world.created)
    assert len(made) - len(set(made)) <= attempts
    epsilon, delta = shortfalls(world)
    guarantee = world.body["status"]["portfolio"]["guarantee"]
    assert epsilon <= float(guarantee["epsilon"]) + ROUNDING
    assert delta <= float(guarantee["delta"]) + ROUNDING


def test_three_rewards_are_mixed_too_and_a_weight_of_zero_leaves_its_policy_out() -> None:
    rewards = [
        {"name": name, "verifiable": {"type": kind}}
        for name, kind in (("a", "ArithmeticSteps"), ("b", "BrevityIfCorrect"), ("c", "Length"))
    ]
    rewards[2]["verifiable"]["maxTokens"] = 9  # type: ignore[index]
    grid = {"strategy": "PALM", "mu": "1", "alpha": "0.5"}
    world = mixing(rewards=rewards, grid=grid, serving={"maxPolicies": 16})
    world.run(passes=120)
    assert world.condition("Ready")["status"] == "True"
    mixtures = {p.index: p for p in world.work.policies if p.mixture}
    for policy in mixtures.values():
        assert len(policy.mixture) == sum(weight > 0 for weight in policy.weights)
    assert {len(policy.mixture) for policy in mixtures.values()} == {2, 3}


def test_a_portfolio_without_an_oracle_is_what_it_was() -> None:
    """Digests and manifest of 2026-11: stored Portfolios must find what was made for them."""
    expected = {
        "": ("d78f2aef", "60310a83c918052d7601baaab1b10189", "e9eecf8cf147f52c"),
        "0": ("c871023e", "5c15daf7a29faa62645b34474cec27b4", "1ecec4ea523ae001"),
    }
    for beta, known in expected.items():
        spec = {"training": {"klCoefficient": beta}} if beta else {}
        for oracle in ({}, {"oracle": {"type": "FineTune"}}):
            world = World(body=portfolio_body(**spec, **oracle))
            world.run()
            pairs = [[p.digest, p.evaluation_digest] for p in world.work.policies]
            sha256 = world.body["status"]["portfolio"]["manifest"]["sha256"]
            assert (world.work.revision, digest_of(pairs), sha256[:16]) == known


def test_another_oracle_is_another_revision_with_the_same_extremes() -> None:
    one, other = mixing(), mixing(oracle={"type": "FineTune"})
    for world in (one, other):
        world.run()
    assert one.work.revision != other.work.revision
    assert one.work.extremes == other.work.extremes
    assert one.work.fine_tuned == other.work.policies
    assert make_portfolio().spec.oracle.type == "FineTune"


def test_the_record_says_which_calls_trained_nothing() -> None:
    world = mixing()
    world.run()
    calls = [
        event
        for key, content in world.store.objects.items()
        if key.startswith("records/")
        for event in json.loads(content)["events"]
        if event["type"] == "OracleCall"
    ]
    mixtures = {p.digest for p in world.work.policies if p.mixture}
    assert {call["policyDigest"] in mixtures for call in calls} == {True, False}
    for call in calls:
        assert ("training" in call) == (call["policyDigest"] not in mixtures)


def test_what_it_relies_on_is_claimed_before_it_is_made() -> None:
    world = mixing()
    world.run()
    claimed = set()
    for key, content in world.store.objects.items():
        if "/uses/" in key:
            claimed |= set(json.loads(content)["policies"])
    made = {key.split("/")[1] for key in world.store.objects if key.startswith("policies/")}
    assert made <= claimed


def test_nothing_moves_once_it_is_served() -> None:
    world = mixing()
    world.run()
    status = copy.deepcopy(world.body["status"])
    assert not world.planned().acts
    world.step()
    assert world.body["status"] == status
    calls = status["oracleCalls"]
    assert (
        calls["planned"]
        == calls["succeeded"]
        == sum(p.evaluation_digest in world.observed.evidence.results for p in world.work.policies)
    )
