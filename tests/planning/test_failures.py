"""What is said and done when oracle calls fail: by reason, with what happens next and a remedy."""

from dataclasses import replace
from datetime import timedelta

import pytest

from builders import NOW, World, portfolio_body
from palm.exit_codes import NOT_RETRIED
from palm_operator.jobs.job_pods import Ending, JobPod
from palm_operator.jobs.job_standing import Surroundings
from palm_operator.jobs.manifests import training_job

RANGES = [
    {"name": "steps", "verifiable": {"type": "ArithmeticSteps"}, "range": {"min": "0", "max": "9"}},
    {
        "name": "brevity",
        "verifiable": {"type": "BrevityIfCorrect"},
        "range": {"min": "0", "max": "9"},
    },
]


def finish_all(world):
    for name in world.unfinished:
        world.finish(name)


def calibrated(**spec) -> World:
    """A world whose base policy and extreme policies are evaluated; the rest trains."""
    training = {"parallelism": 9, "activeDeadlineSeconds": 60}
    made = World(body=portfolio_body(rewards=RANGES, training=training, **spec))
    while not any("train-w02" in name for name in made.unfinished):
        finish_all(made)
        made.step()
    return made


def fail(world, part: str, *, reason="BackoffLimitExceeded", message="", ending=None) -> str:
    """Let the Job with a part in its name fail, and its last Pod end in some way."""
    name = next(n for n in world.unfinished if part in n)
    condition = {"type": "Failed", "status": "True", "reason": reason, "message": message}
    world.jobs[name]["status"] = {"failed": 3, "conditions": [condition]}
    if ending:
        uid = world.jobs[name]["metadata"]["uid"]
        pods = (*world.around.pods, JobPod(uid, NOW, ending=ending))
        world.around = replace(world.around, pods=pods)
    return name


@pytest.mark.parametrize(
    ("reason", "message", "ending", "said", "parts"),
    [
        (
            "BackoffLimitExceeded", "", Ending(70, "Error", "NaN in the loss"),
            "OracleCallFailed", ["exit code 70 after 2 retries", "'NaN in the loss'"],
        ),
        (
            "BackoffLimitExceeded", "", Ending(137, "OOMKilled", ""),
            "OracleCallOutOfMemory", ["137 (OOMKilled)", "limits.memory in spec.training.template"],
        ),
        (
            "PodFailurePolicy", "", Ending(64, "Error", "baseModel is no model"),
            "OracleCallInvalidRequest", ["exit code 64", "no second try", "baseModel is no model"],
        ),
        (
            "PodFailurePolicy",
            "Container trainer for pod ml/x failed with exit code 65 matching FailJob rule at 1",
            None,  # its Pod is gone
            "OracleCallInvalidData", ["exit code 65", "correct the data"],
        ),
        (
            "DeadlineExceeded", "Job was active longer than specified deadline", None,
            "OracleCallDeadlineExceeded", ["spec.training.activeDeadlineSeconds (60 s)"],
        ),
        (
            "BackoffLimitExceeded", "", Ending(None, "Evicted", "low on memory"),
            "OracleCallEvicted", ["Evicted: low on memory"],
        ),
        ("BackoffLimitExceeded", "no Pods left", None, "OracleCallFailed", ["no Pods left"]),
    ],
)  # fmt: skip
def test_a_failed_oracle_call_is_told_by_what_ended_it(reason, message, ending, said, parts):
    world = calibrated()
    name = fail(world, "train-w02", reason=reason, message=message, ending=ending)
    world.step()
    trained = world.condition("Trained")
    assert (trained["status"], trained["reason"]) == ("False", said)
    whose = world.jobs[name]["metadata"]["labels"]["palm-operator.dev/policy"]
    always = [
        whose,
        "weights 0.5, 0.5",
        f"kubectl logs job/{name}",
        "nothing is decided without it",
        "what is deployed stays",
        f"delete Job {name}",
    ]
    for part in [p.lower() for p in (*parts, *always)]:
        assert part in trained["message"].lower()


def test_a_disruption_is_not_what_an_oracle_call_failed_of():
    world = calibrated()
    fail(world, "train-w02", ending=Ending(70, "Error", "bug"))
    uid = world.around.pods[0].job_uid
    later = JobPod(uid, NOW + timedelta(hours=1), ending=Ending(143, "Error", "", True))
    world.around = replace(world.around, pods=(*world.around.pods, later))
    world.step()
    assert "exit code 70" in world.condition("Trained")["message"]


def test_a_failed_evaluation_names_its_own_part_of_the_spec():
    world = calibrated()
    finish_all(world)
    world.step()
    fail(world, "eval-w02", ending=Ending(137, "OOMKilled", ""))
    world.step()
    assert world.condition("Trained")["reason"] == "EvaluationOutOfMemory"
    assert "spec.evaluation.template" in world.condition("Trained")["message"]


def test_a_failed_job_is_tried_again_once_it_would_be_run_otherwise():
    world = calibrated()
    name = fail(world, "train-w02", ending=Ending(137, "OOMKilled", ""))
    finish_all(world)
    world.step()
    assert name in world.jobs
    world.body["spec"]["training"]["template"] = {"resources": {"limits": {"memory": "64Gi"}}}
    assert [job.name for job in world.step().deletes] == [name]
    assert name in [job["metadata"]["name"] for job in world.step().creates]
    world.run()
    assert world.condition("Ready")["status"] == "True"


def test_what_runs_is_not_touched_by_another_template():
    world = calibrated()
    world.body["spec"]["training"]["template"] = {"resources": {"limits": {"memory": "64Gi"}}}
    assert world.step().deletes == ()


def test_disruptions_are_not_counted_and_a_wrong_request_is_not_repeated():
    world = calibrated()
    world.body["spec"]["training"] |= {"backoffLimit": 4}
    job = training_job(world.portfolio, world.work, world.work.policies[2], settings=world.settings)
    rules = job["spec"]["podFailurePolicy"]["rules"]
    assert rules[0] == {
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }
    assert rules[1]["action"] == "FailJob"
    assert rules[1]["onExitCodes"]["values"] == sorted(NOT_RETRIED)
    assert {70, 75, 137, 143}.isdisjoint(NOT_RETRIED)
    assert job["spec"]["backoffLimit"] == 4
    assert job["spec"]["activeDeadlineSeconds"] == 60


class TestPartial:
    """``failurePolicy.onOracleFailure: AllowPartial``."""

    def failed(self, policy: str, *, part: str = "train-w02") -> World:
        world = calibrated(failurePolicy={"onOracleFailure": policy},
                           pruning={"mu": "0.001"})  # fmt: skip
        fail(world, part, ending=Ending(70, "Error", "bug"))
        for _ in range(6):
            finish_all(world)
            world.serve()
            world.step()
        return world

    def test_hold_publishes_nothing_and_is_stalled(self):
        world = self.failed("Hold")
        assert world.services == {}
        assert world.condition("Stalled")["reason"] == "OracleCallFailed"
        assert world.condition("Pruned")["status"] == "False"

    def test_the_best_of_what_is_trained_serves_without_the_guarantee(self):
        world = self.failed("AllowPartial")
        assert world.condition("Ready")["status"] == "True"
        held = world.condition("GuaranteeHeld")
        assert (held["status"], held["reason"]) == ("False", "PartialPortfolio")
        assert "1 of 5 weight vectors" in held["message"]
        assert "(0.5, 0.5)" in held["message"]
        assert world.body["status"]["portfolio"]["uncovered"] == {
            "count": 1,
            "weights": ["0.5, 0.5"],
        }
        assert world.condition("Pruned")["reason"] == "PartiallyCovered"
        assert world.condition("Trained")["reason"] == "OracleCallFailed"
        assert "Stalled" not in [c["type"] for c in world.body["status"]["conditions"]]

    def test_what_is_claimed_is_still_true(self):
        """ε and δ of the status are against what could be optimal, not what was reached."""
        world, whole = self.failed("AllowPartial"), calibrated(pruning={"mu": "0.001"})
        whole.run()
        partial = world.body["status"]["portfolio"]["guarantee"]
        full = whole.body["status"]["portfolio"]["guarantee"]
        assert float(partial["grid"]["epsilon"]) > 0.001 >= float(full["grid"]["epsilon"])

    def test_nothing_changes_until_somebody_mends_it(self):
        world = self.failed("AllowPartial")
        assert not world.planned().acts
        assert world.planned().status == world.portfolio.status

    def test_once_mended_the_guarantee_is_held(self):
        world = self.failed("AllowPartial")
        before = set(world.services)
        failed = next(n for n in world.jobs if "train-w02" in n)
        del world.jobs[failed]
        world.step()
        assert set(world.services) == before
        assert world.condition("Ready")["status"] == "True"
        world.run()
        assert world.condition("GuaranteeHeld")["status"] == "True"
        assert "uncovered" not in world.body["status"]["portfolio"]

    def test_the_policy_of_a_single_reward_cannot_be_left_out(self):
        world = World(body=portfolio_body(
            rewards=RANGES, failurePolicy={"onOracleFailure": "AllowPartial"}
        ))  # fmt: skip
        world.step()
        fail(world, "train-w00", ending=Ending(70, "Error", "bug"))
        for _ in range(4):
            finish_all(world)
            world.step()
        assert world.services == {}
        assert world.condition("Stalled")["reason"] == "OracleCallFailed"
        assert "whatever spec.failurePolicy says" in world.condition("Trained")["message"]


def test_a_world_without_trouble_asks_for_nothing():
    world = calibrated()
    world.around = Surroundings()
    world.run()
    assert world.condition("Ready")["status"] == "True"


def test_what_to_do_is_said_however_much_a_job_says():
    world = calibrated()
    name = fail(world, "train-w02", message="x" * 40_000)
    events = world.step().events
    for _ in range(20):
        finish_all(world)
        world.step()
    message = world.condition("Trained")["message"]
    assert f"delete Job {name}" in message
    assert any(f"delete Job {name}" in event.message for event in events)
