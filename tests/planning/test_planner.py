"""The planner on a fake world: what happens next, and what is never done."""

import json
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from builders import SETTINGS, World, make_result, portfolio_body, request_of
from palm.contract import EvaluationRequest
from palm.objective import Normalization
from palm.pruning import prune
from palm_operator.api.portfolio import parse_portfolio
from palm_operator.calls.requests import training_utilities
from palm_operator.names import Step
from palm_operator.refusals import unreadable_said
from palm_operator.refusing import unreadable
from palm_operator.storage_rules import StorageRules

RANGES = [
    {"name": "steps", "verifiable": {"type": "ArithmeticSteps"}, "range": {"min": "0", "max": "9"}},
    {
        "name": "brevity",
        "verifiable": {"type": "BrevityIfCorrect"},
        "range": {"min": "0", "max": "9"},
    },
]


def world(**spec):
    return World(body=portfolio_body(**spec))


def steps_of(plan):
    return [job["metadata"]["labels"]["palm-operator.dev/step"] for job in plan.creates]


def finish_all(world):
    for name in world.unfinished:
        world.finish(name)


def trained_extremes():
    """A world in which the base policy and the extreme policies are evaluated."""
    made = world()
    for _ in range(3):
        made.step()
        finish_all(made)
    return made


def test_without_ranges_the_base_policy_is_evaluated_before_anything_is_trained():
    plan = world().step()
    assert steps_of(plan) == ["evaluate"]
    assert request_of(plan.creates[0]).policy_digest is None


def test_with_all_ranges_the_extremes_train_beside_the_base_evaluation():
    plan = world(rewards=RANGES).step()
    assert steps_of(plan) == ["evaluate", "train", "train"]
    assert [request_of(j).weights for j in plan.creates[1:]] == [(0.0, 1.0), (1.0, 0.0)]


def test_a_reward_without_range_gets_mean_and_deviation_of_the_base_policy():
    made = world()
    made.step()
    finish_all(made)
    request = request_of(made.step().creates[0])
    assert [(m.offset, m.scale) for m in request.affine_maps] == [(2.0, 0.5), (2.0, 0.6)]


def test_a_constant_reward_is_named_and_nothing_is_trained():
    made = world()
    made.step()
    request = request_of(made.jobs[made.unfinished[0]])
    result = make_result(request, None)
    flat = result.rewards[0].model_copy(update={"standard_deviation": 0.0})
    result = result.model_copy(update={"rewards": (flat, result.rewards[1])})
    made.store.write(made.work.base_key, result.model_dump_json(by_alias=True).encode())
    assert made.step().creates == ()
    assert "'steps'" in made.condition("Trained")["message"]
    assert made.condition("Stalled")["reason"] == "CalibrationFailed"


def test_each_policy_is_evaluated_as_soon_as_it_is_trained():
    made = world(rewards=RANGES, training={"parallelism": 2})
    made.step()
    finish_all(made)
    assert steps_of(made.step()) == ["evaluate", "train"]


def test_the_calibration_is_frozen_once_and_what_is_in_s3_wins():
    made = trained_extremes()
    plan = made.planned()
    assert [w.if_absent for w in plan.writes if not w.exclusive] == [True]
    other = json.loads(plan.writes[0].content)
    other["scale"] = [1.0, 4.0]
    made.store.write(plan.writes[0].key, json.dumps(other).encode())
    made.step()
    middle = next(p for p in made.work.policies if p.weights == (0.5, 0.5))
    assert middle.training_weights == pytest.approx((0.8, 0.2))


def test_an_unreadable_calibration_stops_with_its_key():
    made = trained_extremes()
    key = made.planned().writes[0].key
    made.store.write(key, b"{}")
    assert not made.step().acts
    assert key in made.condition("Stalled")["message"]


def test_a_finished_portfolio_equals_the_core_recomputed():
    made = world()
    made.run()
    work, results = made.work, made.observed.evidence.results
    raw = training_utilities(
        made.portfolio.spec,
        work.affine_maps,
        [results[p.evaluation_digest] for p in work.policies],
    )
    frozen = work.calibration
    normalization = Normalization(offset=np.array(frozen.offset), scale=np.array(frozen.scale))
    expected = prune(
        weights=np.array(work.grid),
        utilities=normalization.apply(raw),
        mu=0.05,
        alpha=0.0,
        solver="Exact",
    )
    reported = made.body["status"]["portfolio"]
    names = [work.policies[i].name for i in expected.indices]
    assert [p["name"] for p in reported["policies"]] == names
    grid = reported["guarantee"]["grid"]
    assert float(grid["epsilon"]) == pytest.approx(expected.epsilon, rel=1e-3)
    assert float(grid["delta"]) == pytest.approx(expected.delta, rel=1e-3)


def test_a_second_pass_over_its_own_effects_does_nothing():
    made = world()
    for _ in range(12):
        if made.step().writes:
            continue  # what was just written opens the next stage
        again = made.planned()
        assert again.creates == ()
        assert again.applies == ()
        assert again.status == made.portfolio.status
        assert again.events == ()
        finish_all(made)
    made.serve()
    made.step()
    assert not made.planned().acts
    made.step()  # the record tells of the switch
    assert not made.planned().writes
    assert made.planned().status == made.portfolio.status


@settings(max_examples=40, deadline=None)
@given(data=st.data(), parallelism=st.integers(1, 6))
def test_however_jobs_finish_each_oracle_call_is_made_once(data, parallelism):
    made = world(training={"parallelism": parallelism})
    for _ in range(200):
        made.step()
        assert len(made.unfinished) <= parallelism
        if made.condition("Pruned")["status"] == "True":
            break
        if made.unfinished:
            made.finish(data.draw(st.sampled_from(sorted(made.unfinished))))
    assert made.condition("Pruned")["status"] == "True"
    assert len(made.created) == len(set(made.created)) == 11


def test_a_failed_training_job_holds_pruning_while_other_work_goes_on():
    made = world(rewards=RANGES)
    made.step()
    failed = next(n for n in made.unfinished if "train-w00" in n)
    made.finish(failed, outcome="Failed")
    finish_all(made)
    assert steps_of(made.step()) == ["evaluate"]
    trained = made.condition("Trained")
    assert trained["reason"] == "OracleCallFailed"
    for part in ("w00-", "weights 0, 1", "BackoffLimitExceeded", f"delete Job {failed}"):
        assert part in trained["message"]
    assert "Stalled" not in [c["type"] for c in made.body["status"]["conditions"]]
    finish_all(made)
    made.step()
    assert made.condition("Stalled")["reason"] == "OracleCallFailed"
    assert made.condition("Pruned")["status"] == "False"
    assert made.body["status"]["oracleCalls"]["failed"] == 1
    del made.jobs[failed]
    made.run()
    assert made.condition("Ready")["status"] == "True"


def test_a_job_without_its_record_is_repeated_three_times():
    made = world(rewards=RANGES)
    made.step()
    for attempt in (1, 2, 3):
        name = next(n for n in made.unfinished if "train-w00" in n)
        assert name.endswith(f"-r{attempt}") == (attempt > 1)
        made.finish(name, outcome="Lost")
        finish_all(made)
        made.step()
        assert made.condition("Trained")["reason"] == "ResultMissing"
    finish_all(made)
    made.step()
    assert made.unfinished == []
    assert made.condition("Stalled")["reason"] == "ResultMissing"


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda d: d | {"evaluationDigest": "0" * 32}, "evaluation digest"),
        (lambda d: d | {"policyDigest": "0" * 32}, "policy digest"),
        (lambda d: d | {"rewards": d["rewards"][:1]}, "rewards"),
        (lambda d: d | {"promptRewards": [[1.0], [1.0]]}, "prompt 0"),
        (lambda d: d | {"surprise": 1}, "surprise"),
        (lambda d: d | {"divergence": d["divergence"] | {"mean": float("nan")}}, "divergence.mean"),
        (lambda _: "not a result", "unreadable"),
    ],
)
def test_an_invalid_result_is_named_discarded_and_evaluated_again(spoil, complaint):
    made = trained_extremes()
    policy = made.work.policies[0]
    good = json.loads(made.store.objects[policy.result_key])
    made.store.write(policy.result_key, json.dumps(spoil(good)).encode())
    plan = made.step()
    assert plan.discards == (policy.result_key,)
    assert [j["metadata"]["name"][-3:] for j in plan.creates] == ["-r2"]
    trained = made.condition("Trained")
    assert trained["reason"] == "ResultInvalid"
    assert complaint in trained["message"]
    assert policy.name in trained["message"]
    made.run()
    assert made.condition("Ready")["status"] == "True"


def test_an_oversized_result_is_not_read():
    made = trained_extremes()
    policy = made.work.policies[0]
    made.store.write(policy.result_key, b" " * (8 * 1024 * 1024 + 1))
    assert made.step().discards == (policy.result_key,)


def test_what_s3_already_has_is_reused_without_a_job():
    first = world()
    first.run()
    second = world(pruning={"mu": "0.2"})
    second.store = first.store
    second.run()
    assert second.created == []
    assert second.body["status"]["oracleCalls"]["reused"] == 5


def test_changing_only_the_pruning_starts_no_job_and_retires_after_ready():
    made = world()
    made.run()
    before, services = list(made.created), dict(made.services)
    made.body["spec"]["pruning"] = {"mu": "0.3"}
    made.body["metadata"]["generation"] = 2
    plan = made.step()
    assert made.created == before
    kept = {s.name for s in plan.deletes}
    assert set(made.services) == set(services) - kept
    made.serve()
    made.step()
    assert made.body["status"]["portfolio"]["size"] < len(services)
    assert len(made.services) == made.body["status"]["portfolio"]["size"]
    assert made.condition("Ready")["observedGeneration"] == 2


def test_a_refresh_keeps_serving_the_last_good_portfolio():
    made = world()
    made.run()
    old, services = made.body["status"]["portfolio"], set(made.services)
    made.body["spec"]["training"] = {"seed": 7, "parallelism": 3}
    for _ in range(20):
        made.step()
        finish_all(made)
        assert services <= set(made.services)
        if set(made.services) != services:
            break
        assert made.body["status"]["portfolio"] == old
        assert made.condition("Ready")["status"] == "True"
        assert made.condition("Progressing")["status"] == "True"
    assert made.body["status"]["pending"]["phase"] == "Publishing"
    assert made.body["status"]["portfolio"] == old
    made.serve()
    made.step()
    assert made.body["status"]["portfolio"]["revision"] != old["revision"]
    assert "pending" not in made.body["status"]
    # Whoever follows the status has a pass's time to turn to the new ones.
    assert services <= set(made.services)
    made.step()
    assert services & set(made.services) == set()


def test_unfinished_jobs_of_an_earlier_revision_are_deleted():
    made = world(rewards=RANGES)
    made.step()
    made.body["spec"]["training"] = {"seed": 7, "parallelism": 3}
    plan = made.step()
    assert {child.step for child in plan.deletes} == {Step.TRAIN}
    assert len(plan.creates) == 2
    assert len(made.unfinished) <= 3


def test_another_evaluation_replaces_the_job_that_has_its_name():
    made = world()
    made.run()
    jobs = len(made.jobs)
    made.body["spec"]["prompts"]["evaluation"]["limit"] = 5
    made.run()
    assert made.condition("Ready")["status"] == "True"
    assert len(made.jobs) > jobs


def test_a_grid_too_large_is_refused_with_its_count():
    made = world(search={"maxOracleCalls": 4})
    plan = made.step()
    assert not plan.acts
    accepted = made.condition("Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "GridTooLarge")
    assert "has 5 weight vectors" in accepted["message"]
    assert made.condition("Stalled")["status"] == "True"


def test_a_spec_that_cannot_be_read_hides_nothing_of_what_serves():
    made = world()
    made.run()
    before = made.body["status"]
    newer = {**made.body, "spec": {**made.body["spec"], "inventedLater": 1}}
    with pytest.raises(ValidationError) as found:
        parse_portfolio(newer)
    message = unreadable_said(found.value, is_deleted=False)
    assert "inventedLater" in message
    status = unreadable(before, message, generation=9, now=made.now)
    said = {c["type"]: c for c in status["conditions"]}
    assert said["Ready"] == made.condition("Ready")
    assert said["Stalled"]["status"] == "True"
    assert "Reconciling" not in said
    assert (status["portfolio"], status["observedGeneration"]) == (before["portfolio"], 9)
    later = made.now + timedelta(hours=1)
    assert unreadable(status, message, generation=9, now=later) == status
    assert "retentionPolicy" in unreadable_said(found.value, is_deleted=True)


def test_a_storage_endpoint_must_be_allowed():
    made = world()
    made.body["spec"]["storage"]["s3"]["endpoint"] = "http://elsewhere:9000"
    assert not made.step().acts
    assert made.condition("Accepted")["reason"] == "StorageNotAllowed"
    made.settings = SETTINGS.__class__(storage=StorageRules(endpoints=("http://elsewhere:9000",)))
    assert made.step().creates
    assert made.condition("Accepted")["status"] == "True"


def test_where_its_namespace_may_not_store_nothing_is_made():
    made = world()
    made.settings = SETTINGS.__class__(storage=StorageRules(locations=("models/{namespace}",)))
    made.body["spec"]["storage"]["s3"] |= {"bucket": "models", "prefix": "others"}
    assert not made.step().acts
    accepted = made.condition("Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "StorageNotAllowed")
    assert "'models/others'" in accepted["message"]
    assert "'models/ml'" in accepted["message"]


def test_a_namespace_without_room_for_services_is_refused_with_the_arithmetic():
    made = world()
    made.body["metadata"]["namespace"] = "n" * 40
    made.step()
    accepted = made.condition("Accepted")
    assert accepted["reason"] == "NameTooLong"
    assert "40 characters" in accepted["message"]
    made.body["spec"]["serving"] = {"mode": "None"}
    made.step()
    assert made.condition("Accepted")["status"] == "True"


def test_a_foreign_job_with_our_name_is_never_adopted():
    made = world()
    name = made.planned().creates[0]["metadata"]["name"]
    foreign = made.planned().creates[0]
    foreign["metadata"]["ownerReferences"] = []
    made.jobs[name] = foreign
    plan = made.step()
    assert (plan.creates, plan.applies, plan.deletes) == ((), (), ())
    assert made.condition("Stalled")["reason"] == "NameConflict"
    made.jobs.clear()
    made.conflicts = (name,)  # without our labels: found when creating collided
    assert not made.step().acts
    assert name in made.condition("Stalled")["message"]


def test_a_foreign_service_with_our_name_is_never_overwritten():
    made = world()
    made.run()
    name, service = next(iter(made.services.items()))
    service["metadata"]["ownerReferences"] = []
    service["spec"]["predictor"]["minReplicas"] = 5
    plan = made.step()
    assert name not in [a["metadata"]["name"] for a in plan.applies]
    assert name not in [c.name for c in plan.deletes]
    assert made.condition("Published")["reason"] == "NameConflict"


def test_a_cover_larger_than_allowed_is_not_published_and_the_old_one_serves():
    made = world()
    made.run()
    services = set(made.services)
    made.body["spec"]["serving"] = {"maxPolicies": 1}
    plan = made.step()
    assert not plan.applies
    assert not plan.deletes
    assert set(made.services) == services
    assert made.condition("Published")["reason"] == "TooManyPolicies"
    assert made.condition("Ready")["status"] == "True"


def test_without_kserve_the_portfolio_is_reported_and_waits():
    made = world()
    made.serves = False
    made.run()
    assert made.condition("Published")["reason"] == "KServeAbsent"
    assert made.condition("Pruned")["status"] == "True"
    assert made.services == {}
    made.serves = True
    made.step()
    assert made.condition("Published")["reason"] == "WaitingForKServe"
    assert "0 of 4 policies answer" in made.condition("Published")["message"]
    assert made.condition("Ready")["status"] == "False"


def test_serving_mode_none_is_ready_once_pruned():
    made = world(serving={"mode": "None"})
    made.run()
    assert made.services == {}
    assert made.condition("Ready")["status"] == "True"
    assert made.condition("Published")["reason"] == "NotRequested"


def test_drift_of_a_service_is_repaired_and_additions_of_others_stay():
    made = world()
    made.run()
    service = next(iter(made.services.values()))
    service["metadata"]["annotations"]["kserve/added"] = "yes"
    assert not made.planned().applies
    service["spec"]["predictor"]["model"]["args"] = ["--other"]
    assert len(made.planned().applies) == 1


def test_the_ledger_is_complete_and_has_no_times():
    made = world()
    made.run()
    key = next(k for k in made.store.objects if k.endswith("portfolio.json"))
    content = made.store.objects[key]
    document = json.loads(content)
    assert len(document["policies"]) == 5
    assert sum(p["survives"] for p in document["policies"]) == len(document["cover"]["policies"])
    assert document["guarantee"]["scope"] == "Simplex"
    assert document["search"]["untrained"] == []
    assert document["search"]["oracleCalls"] == [p["name"] for p in document["policies"]]
    assert made.planned().writes == ()
    assert isinstance(made.work.base, EvaluationRequest)
