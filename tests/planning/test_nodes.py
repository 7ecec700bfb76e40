"""A training on several nodes: the JobSet that is made, and what is read from it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from builders import NOW, RUNNING, SETTINGS, UID, World, make_portfolio, portfolio_body, request_of
from palm.contract import Execution, TrainingRequest
from palm.exit_codes import NOT_RETRIED
from palm_operator import names
from palm_operator.jobs import job_kinds, manifests
from palm_operator.jobs.endings import most_telling
from palm_operator.jobs.job_pods import Ending, JobPod
from palm_operator.jobs.job_sets import job_set
from palm_operator.jobs.job_standing import Surroundings, stand
from palm_operator.jobs.observed_job_sets import by_set, child, of_kind, pods_of_sets, with_children
from palm_operator.names import ANNOTATION_SUSPENDED, Step
from palm_operator.refusals import NO_JOB_SETS, refusal
from palm_operator.times import stamp

RANGE = {"min": "0", "max": "9"}
RANGES = [
    {"name": "steps", "verifiable": {"type": "ArithmeticSteps"}, "range": RANGE},
    {"name": "brevity", "verifiable": {"type": "BrevityIfCorrect"}, "range": RANGE},
]
# As in JobSet v0.12: pkg/controllers/jobset_controller.go, failure_policy.go, pkg/constants.
COMPLETED = {
    "type": "Completed", "status": "True", "reason": "AllJobsCompleted",
    "message": "jobset completed successfully", "lastTransitionTime": stamp(NOW),
}  # fmt: skip
HOPELESS = {
    "type": "Failed", "status": "True", "reason": "FailJobSetFailurePolicyAction",
    "message": "applying FailJobSet failure policy action (first failed job: x-n-0)",
    "lastTransitionTime": stamp(NOW),
}  # fmt: skip
TIRED = {
    "type": "Failed", "status": "True", "reason": "ReachedMaxRestarts",
    "message": "jobset failed due to reaching max number of restarts (first failed job: x-n-0)",
    "lastTransitionTime": stamp(NOW),
}  # fmt: skip
SUSPENDED = {
    "type": "Suspended", "status": "True", "reason": "SuspendedJobs",
    "message": "jobset is suspended", "lastTransitionTime": stamp(NOW),
}  # fmt: skip


def spread(**training: Any) -> World:
    """A World whose policies are trained on two nodes each; the base policy's evaluation runs."""
    settings = {"parallelism": 9, "nodes": 2, **training}
    made = World(body=portfolio_body(rewards=RANGES, training=settings))
    made.step()
    return made


def sets(world: World) -> dict[str, dict[str, Any]]:
    return {name: body for name, body in world.jobs.items() if body["kind"] == "JobSet"}


def a_set(world: World) -> dict[str, Any]:
    return next(iter(sets(world).values()))


def job_of(body: dict[str, Any]) -> dict[str, Any]:
    (replicated,) = body["spec"]["replicatedJobs"]
    assert replicated["replicas"] == 1
    spec: dict[str, Any] = replicated["template"]["spec"]
    return spec


def child_of(body: dict[str, Any], *, reason: str = "", message: str = "") -> dict[str, Any]:
    """The Job that JobSet's controller makes of a JobSet, failed where a reason is given."""
    conditions = [{"type": "Failed", "status": "True", "reason": reason, "message": message}]
    return {
        "metadata": {
            "name": f"{body['metadata']['name']}-n-0",
            "uid": "child",
            "labels": {names.LABEL_JOB_SET_UID: body["metadata"]["uid"]},
        },
        "status": {"conditions": conditions if reason else []},
    }


def test_trainings_are_job_sets_and_evaluations_jobs() -> None:
    world = spread()
    assert sets(world)
    steps = {body["metadata"]["labels"][names.LABEL_STEP] for body in sets(world).values()}
    others = {
        body["metadata"]["labels"][names.LABEL_STEP]
        for body in world.jobs.values()
        if body["kind"] == "Job"
    }
    assert (steps, others) == ({"train"}, {"evaluate"})


def test_a_portfolio_is_trained_to_its_end_by_job_sets() -> None:
    world = World(body=portfolio_body(training={"parallelism": 9, "nodes": 2}))
    world.run()
    assert world.condition("Trained")["reason"] == "AllTrained"
    assert len(sets(world)) == len(world.work.policies)


def test_policies_of_several_nodes_are_those_of_one() -> None:
    one, two = make_portfolio(), make_portfolio(training={"nodes": 2})
    world = spread()
    request = request_of(a_set(world))
    assert isinstance(request, TrainingRequest)
    alone = World(body=portfolio_body(rewards=RANGES, training={"parallelism": 9}))
    alone.step()
    assert world.work.revision == alone.work.revision
    assert {p.digest for p in world.work.policies} == {p.digest for p in alone.work.policies}
    assert one.spec.training.settings() == two.spec.training.settings()
    assert request.execution.nodes == 2


def test_on_one_node_neither_request_nor_run_digest_knows_of_nodes() -> None:
    assert "nodes" not in Execution().model_dump(mode="json", by_alias=True)
    assert Execution(nodes=3).model_dump(mode="json", by_alias=True)["nodes"] == 3
    digests = {
        nodes: manifests.run_digest(make_portfolio(training={"nodes": nodes}), Step.TRAIN, SETTINGS)
        for nodes in (1, 2, 4)
    }
    assert digests[1] == manifests.run_digest(make_portfolio(), Step.TRAIN, SETTINGS)
    assert len(set(digests.values())) == 3
    evaluations = {
        manifests.run_digest(make_portfolio(training={"nodes": n}), Step.EVALUATE, SETTINGS)
        for n in (1, 2)
    }
    assert len(evaluations) == 1


def test_every_node_is_a_pod_of_one_indexed_job_that_is_never_made_anew_alone() -> None:
    spec = job_of(a_set(spread(nodes=3)))
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    assert (spec["backoffLimit"], spec["podReplacementPolicy"]) == (0, "Failed")
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_nodes_meet_at_the_first_pod_of_the_set() -> None:
    body = a_set(spread())
    (container,) = job_of(body)["template"]["spec"]["containers"]
    variables = {v["name"]: v.get("value") for v in container["env"]}
    name = body["metadata"]["name"]
    assert variables["PALM_MAIN_ADDRESS"] == f"{name}-n-0-0.{name}:29500"


def test_the_job_between_set_and_pods_has_no_label_of_the_portfolio() -> None:
    """Whoever lists a Portfolio's Jobs would take it for another's."""
    body = a_set(spread(queueName="gpus"))
    (replicated,) = body["spec"]["replicatedJobs"]
    assert "metadata" not in replicated["template"]
    assert body["metadata"]["labels"][names.LABEL_KUEUE_QUEUE] == "gpus"
    pods = job_of(body)["template"]["metadata"]["labels"]
    assert pods[names.LABEL_PORTFOLIO_UID] == UID
    assert names.LABEL_KUEUE_QUEUE not in pods


def actions(body: dict[str, Any], message: str) -> str:
    """What JobSet's failure policy does about a Job that its Pod failure policy failed."""
    import re

    for rule in body["spec"]["failurePolicy"]["rules"]:
        patterns = rule.get("onJobFailureMessagePatterns")
        if rule["onJobFailureReasons"] == ["PodFailurePolicy"] and (
            not patterns or any(re.search(p, message) for p in patterns)
        ):
            return str(rule["action"])
    return "RestartJobSet"


def rule_of(body: dict[str, Any], code: int | None) -> str:
    """What happens when a Pod ends with a code, or by a disruption, in Kubernetes' own words."""
    pod, rules = "pod ml/x-n-0-1-abcde", job_of(body)["podFailurePolicy"]["rules"]
    for index, rule in enumerate(rules):
        by_code = rule.get("onExitCodes", {}).get("values", [])
        if code is None and "onPodConditions" in rule:
            said = f"Pod ml/x has condition DisruptionTarget matching FailJob rule at index {index}"
            return actions(body, said)
        if code in by_code:
            said = f"Container trainer for {pod} failed with exit code {code} matching FailJob rule"
            return actions(body, f"{said} at index {index}")
    return "RestartJobSet"  # backoffLimit 0, and no rule of JobSet's for BackoffLimitExceeded


@pytest.mark.parametrize(
    ("code", "action"),
    [
        (None, "RestartJobSetAndIgnoreMaxRestarts"),
        (143, "RestartJobSetAndIgnoreMaxRestarts"),
        *((int(code), "FailJobSet") for code in NOT_RETRIED),
        (70, "RestartJobSet"),
        (71, "RestartJobSet"),
        (75, "RestartJobSet"),
        (137, "RestartJobSet"),
    ],
)
def test_exit_codes_mean_what_they_mean_of_a_single_job(code: int | None, action: str) -> None:
    assert rule_of(a_set(spread()), code) == action


def test_a_job_set_that_knows_no_patterns_does_not_restart_for_ever() -> None:
    """Those of before v0.10 drop the field: then whatever the Pod failure policy fails is over."""
    body = a_set(spread())
    for rule in body["spec"]["failurePolicy"]["rules"]:
        rule.pop("onJobFailureMessagePatterns", None)
    assert rule_of(body, 64) == rule_of(body, None) == "FailJobSet"


def test_retries_and_the_deadline_are_the_trainings() -> None:
    body = a_set(spread(backoffLimit=7, activeDeadlineSeconds=60))
    assert body["spec"]["failurePolicy"]["maxRestarts"] == 7
    assert job_of(body)["activeDeadlineSeconds"] == 60
    too_long = body["spec"]["failurePolicy"]["rules"][-1]
    assert too_long["onJobFailureReasons"] == ["DeadlineExceeded"]
    assert too_long["action"] == "FailJobSet"


def test_making_a_set_leaves_the_job_as_it_is() -> None:
    world = spread(nodes=1)
    job = next(body for body in world.jobs.values() if "-train-" in body["metadata"]["name"])
    before = repr(job)
    job_set(job, 2)
    assert repr(job) == before


@pytest.mark.parametrize("name", ["a", "a" * 29, "a" * 30, "a" * 40])
def test_names_of_pods_stay_within_63_characters(name: str) -> None:
    body = portfolio_body(training={"nodes": 64})
    body["metadata"]["name"] = name
    portfolio = World(body=body).portfolio
    made = job_kinds.name_of(portfolio, Step.TRAIN, "w0123-1f9c2a", attempt=3)
    assert len(f"{made}-n-0-63-abcde") <= 63
    assert made.endswith("-train-w0123-1f9c2a-r3")


def test_a_short_name_is_the_one_that_a_job_would_have() -> None:
    one, two = make_portfolio(), make_portfolio(training={"nodes": 2})
    policy = "w01-1f9c2a"
    assert job_kinds.name_of(two, Step.TRAIN, policy) == job_kinds.name_of(one, Step.TRAIN, policy)


def read(body: dict[str, Any], **status: Any) -> Any:
    return of_kind({**body, "status": status}, portfolio_uid=UID)


def test_a_sets_conditions_and_counts_are_read_as_a_jobs() -> None:
    body = a_set(spread())
    waits = read(body, restarts=0)
    assert (waits.kind, waits.state, waits.begun) == ("JobSet", "Active", False)
    assert read(body, **RUNNING["JobSet"]).begun
    assert read(body, restarts=1, replicatedJobsStatus=[{"name": "n", "ready": 0}]).begun
    assert read(body, conditions=[COMPLETED]).state == "Complete"
    failed = read(body, conditions=[TIRED])
    assert (failed.state, failed.reason) == ("Failed", "BackoffLimitExceeded")
    later = {**SUSPENDED, "lastTransitionTime": stamp(NOW + timedelta(hours=1))}
    assert read(body, conditions=[later]).waiting_since == NOW + timedelta(hours=1)


def test_why_a_set_failed_is_what_its_job_says() -> None:
    body = a_set(spread())
    message = "Container trainer for pod ml/x failed with exit code 64 matching FailJob rule"
    told = child(child_of(body, reason="PodFailurePolicy", message=message))
    job = with_children(read(body, conditions=[HOPELESS]), [told])
    assert (job.reason, job.message) == ("PodFailurePolicy", message)
    assert with_children(read(body, **RUNNING["JobSet"]), [told]).reason == ""
    others = replace(told, job_set_uid="another")
    assert with_children(job, [others]) == job


def test_pods_and_events_of_a_sets_job_are_the_sets() -> None:
    body = a_set(spread())
    uid = body["metadata"]["uid"]
    made = [child(child_of(body))]
    pods = pods_of_sets([JobPod("child", NOW), JobPod("other", NOW)], made)
    assert [pod.job_uid for pod in pods] == [uid, "other"]
    assert by_set({"child": "no", "other": "yes"}, made) == {uid: "no", "other": "yes"}


@pytest.mark.parametrize(
    ("codes", "told"),
    [((70, 64), 64), ((64, 70), 64), ((70, 71), 71), ((143, 70), 70), ((75, 70, 70), 75)],
)
def test_the_node_that_failed_first_is_told_of(codes: tuple[int, ...], told: int) -> None:
    endings = [Ending(code, "Error", f"line {code}") for code in codes]
    assert most_telling(endings).exit_code == told


def test_memory_that_ran_out_explains_what_others_say() -> None:
    endings = [Ending(137, "OOMKilled", ""), Ending(70, "Error", "connection closed by peer")]
    assert most_telling(endings).reason == "OOMKilled"


def test_a_failure_is_told_with_the_nodes_logs_and_the_set_to_delete() -> None:
    world = spread()
    for name in list(world.unfinished):
        if "-eval-" in name:
            world.finish(name)
    body = a_set(world)
    name, uid = body["metadata"]["name"], body["metadata"]["uid"]
    body["status"] = {"conditions": [TIRED]}
    pods = [
        JobPod(uid, NOW, ending=Ending(71, "Error", "CUDA out of memory")),
        JobPod(uid, NOW, ending=Ending(70, "Error", "connection closed by peer")),
    ]
    world.around = Surroundings(pods=pods)
    world.step()
    trained = world.condition("Trained")
    assert trained["reason"] == "OracleCallOutOfMemory"
    assert "'CUDA out of memory'" in trained["message"]
    assert "after 2 retries" in trained["message"]
    assert f"kubectl logs --prefix -l jobset.sigs.k8s.io/jobset-name={name}" in trained["message"]
    assert f"delete JobSet {name}" in trained["message"]


def test_a_set_that_failed_is_made_anew_where_the_nodes_are_others() -> None:
    world = spread()
    body = a_set(world)
    name = body["metadata"]["name"]
    body["status"] = {"conditions": [TIRED]}
    world.step()
    world.body["spec"]["training"]["nodes"] = 1
    world.body["metadata"]["generation"] += 1
    deletes = world.step().deletes
    assert [(gone.name, gone.kind) for gone in deletes if gone.name == name] == [(name, "JobSet")]
    world.step()
    assert world.jobs[name]["kind"] == "Job"


def test_what_runs_on_two_nodes_goes_on_when_one_is_wanted() -> None:
    world = spread()
    before = {name: body["metadata"]["uid"] for name, body in sets(world).items()}
    world.body["spec"]["training"]["nodes"] = 1
    world.body["metadata"]["generation"] += 1
    plan = world.step()
    assert not plan.deletes
    assert {name: body["metadata"]["uid"] for name, body in sets(world).items()} == before


def test_sets_of_an_earlier_revision_are_deleted() -> None:
    world = spread()
    before = set(sets(world))
    world.body["spec"]["training"]["seed"] = 7
    world.body["metadata"]["generation"] += 1
    deleted = world.step().deletes
    assert before <= {gone.name for gone in deleted}
    assert {gone.kind for gone in deleted if gone.name in before} == {"JobSet"}


def test_a_set_counts_as_one_of_training_parallelism() -> None:
    world = spread(parallelism=2)
    assert len(world.unfinished) == 2


def test_sets_are_suspended_and_resumed_by_their_own_field() -> None:
    world = spread()
    world.body["spec"]["suspend"] = True
    patches = {patch.name: patch for patch in world.planned().patches}
    name = next(iter(sets(world)))
    assert patches[name].kind == "JobSet"
    world.step()
    assert all(body["spec"]["suspend"] for body in sets(world).values())
    assert all(ANNOTATION_SUSPENDED in b["metadata"]["annotations"] for b in sets(world).values())
    world.body["spec"]["suspend"] = False
    world.step()
    assert not any(body["spec"]["suspend"] for body in sets(world).values())


def test_a_queued_set_is_suspended_through_its_workload() -> None:
    """Kueue v0.19 labels the Workload of a JobSet as that of a Job; older ones have the owner."""
    world = spread(queueName="gpus")
    world.workloads = {}
    for name, body in world.jobs.items():
        owner = {"kind": body["kind"], "uid": body["metadata"]["uid"], "controller": True}
        metadata = {"name": f"w-{name}", "uid": f"w-{name}", "ownerReferences": [owner]}
        world.workloads[f"w-{name}"] = {"metadata": metadata, "spec": {"active": True}}
    world.body["spec"]["suspend"] = True
    world.step()
    assert all(workload["spec"]["active"] is False for workload in world.workloads.values())
    assert not any(body["spec"].get("suspend") for body in sets(world).values())
    world.body["spec"]["suspend"] = False
    world.step()
    assert all(workload["spec"]["active"] is True for workload in world.workloads.values())


def test_another_ones_set_of_the_name_is_a_conflict_and_left_alone() -> None:
    world = spread()
    name = next(iter(sets(world)))
    del world.jobs[name]
    world.conflicts = (name,)
    plan = world.step()
    assert not [body for body in plan.creates if body["metadata"]["name"] == name]
    trained = world.condition("Trained")
    assert trained["reason"] == "NameConflict"
    assert f"a JobSet {name} exists" in trained["message"]


def test_a_cluster_without_job_sets_says_so_and_what_helps() -> None:
    assert refusal(404, "Not Found", kind="JobSet") is NO_JOB_SETS
    assert refusal(404, 'namespaces "ml" not found', kind="JobSet") is not NO_JOB_SETS
    assert refusal(404, "Not Found").reason == "ClusterRefused"
    world = spread()
    for name in list(world.unfinished):
        if "-eval-" in name:
            world.finish(name)
    world.job_refusals = dict.fromkeys(sets(world), NO_JOB_SETS)
    world.jobs = {name: body for name, body in world.jobs.items() if body["kind"] == "Job"}
    world.step()
    stalled = world.condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "JobSetNotInstalled")
    assert "this cluster has no JobSet (jobset.x-k8s.io/v1alpha2)" in stalled["message"]
    assert "It is tried again every two minutes" in stalled["message"]
    assert "Install JobSet" in stalled["message"]
    assert "or set spec.training.nodes to 1" in stalled["message"]


def test_a_set_that_nobody_looks_after_is_said_to_wait_for_its_controller() -> None:
    job = read(a_set(spread()), restarts=0)
    (seen,) = stand([job], Surroundings(made_nothing=frozenset({job.uid})))
    assert seen.hindrance is not None
    assert seen.hindrance.reason == "JobSetNotWatched"
    (young,) = stand([job], Surroundings())
    assert young.hindrance is None
