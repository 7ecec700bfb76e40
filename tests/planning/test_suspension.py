"""spec.suspend and the annotation that pauses: nothing new, nothing lost, Kueue not fought."""

import copy
import json
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from builders import NOW, World, observed_in, portfolio_body, request_of
from palm_operator.api.portfolio import parse_portfolio
from palm_operator.jobs import observed_jobs as seen
from palm_operator.life.pausing import is_paused, paused
from palm_operator.names import ANNOTATION_PAUSED, ANNOTATION_SUSPENDED
from palm_operator.refusing import troubled

RANGE = {"min": "0", "max": "9"}
RANGES = [
    {"name": "steps", "verifiable": {"type": "ArithmeticSteps"}, "range": RANGE},
    {"name": "brevity", "verifiable": {"type": "BrevityIfCorrect"}, "range": RANGE},
]


def begun(**spec) -> World:
    """A World of which three Jobs run."""
    made = World(body=portfolio_body(**{"rewards": RANGES, **spec}))
    made.step()
    assert len(made.unfinished) == 3
    return made


def suspend(made: World, value: bool = True) -> None:
    made.body["spec"]["suspend"] = value
    made.body["metadata"]["generation"] += 1


def is_suspended(job: dict) -> bool:
    return job["spec"].get("suspend") is True


def held(job: dict) -> bool:
    return ANNOTATION_SUSPENDED in job["metadata"]["annotations"]


def kinds(made: World) -> set[str]:
    return {c["type"] for c in made.body["status"]["conditions"]}


def finish_all(made: World) -> None:
    for name in made.unfinished:
        made.finish(name)


def reasons(plan) -> list[str]:
    return [event.reason for event in plan.events]


def test_jobs_that_run_are_suspended_none_is_started_and_all_go_on_afterwards():
    made = begun()
    uids = {name: job["metadata"]["uid"] for name, job in made.jobs.items()}
    suspend(made)
    plan = made.step()
    assert plan.creates == ()
    assert all(is_suspended(job) and held(job) for job in made.jobs.values())
    assert reasons(plan) == ["Suspended"]
    assert made.condition("Suspended")["status"] == "True"
    progressing = made.condition("Progressing")
    assert (progressing["status"], progressing["reason"]) == ("False", "Suspended")
    assert "3 Jobs are suspended and continue" in progressing["message"]
    assert "0 of at most 5 policies are evaluated" in progressing["message"]
    assert made.condition("Ready")["reason"] == "Suspended"
    assert not {"Reconciling", "Stalled"} & kinds(made)
    assert made.body["status"]["observedGeneration"] == 2

    again = made.step()
    assert not again.acts
    assert again.events == ()

    suspend(made, False)
    plan = made.step()
    assert reasons(plan) == ["Resumed"]
    assert not any(is_suspended(job) or held(job) for job in made.jobs.values())
    assert {name: job["metadata"]["uid"] for name, job in made.jobs.items()} == uids
    assert "Suspended" not in kinds(made)
    made.run()
    assert made.condition("Ready")["status"] == "True"
    assert len(made.created) == len(set(made.created)) == 11


def test_jobs_of_a_spec_that_is_refused_are_suspended_too():
    made = begun()
    grid = made.body["spec"]["grid"]
    made.body["spec"] |= {"grid": {"mu": "0.0001", "alpha": "0.001"}, "suspend": True}
    made.step()
    assert made.condition("Accepted")["reason"] == "GridTooLarge"
    assert made.condition("Suspended")["status"] == "True"
    assert made.unfinished
    assert all(made.jobs[name]["spec"]["suspend"] for name in made.unfinished)
    made.body["spec"] |= {"grid": grid, "suspend": False}
    made.step()
    assert not any(made.jobs[name]["spec"]["suspend"] for name in made.unfinished)


def test_a_refused_spec_that_is_not_suspended_touches_no_job():
    made = begun()
    made.body["spec"]["grid"] = {"mu": "0.0001", "alpha": "0.001"}
    plan = made.step()
    assert not plan.acts
    assert "go on" in made.condition("Stalled")["message"]


def test_a_job_that_finishes_meanwhile_brings_no_other():
    made = begun()
    suspend(made)
    made.step()
    finish_all(made)
    for _ in range(3):
        assert not made.step().creates
    assert made.body["status"]["oracleCalls"]["succeeded"] == 0
    suspend(made, False)
    assert made.step().creates


def test_no_more_jobs_are_resumed_than_run_at_once():
    made = begun()
    suspend(made)
    made.step()
    suspend(made, False)
    made.body["spec"]["training"]["parallelism"] = 1
    created = len(made.created)
    for running in (1, 1, 1):
        made.step()
        active = [j for n, j in made.jobs.items() if n in made.unfinished and not is_suspended(j)]
        assert len(active) == running
        made.finish(active[0]["metadata"]["name"])
    assert len(made.created) == created


def test_what_others_suspended_they_resume():
    made = begun()
    theirs = made.unfinished[0]
    made.jobs[theirs]["spec"]["suspend"] = True
    suspend(made)
    made.step()
    assert not held(made.jobs[theirs])
    suspend(made, False)
    made.step()
    assert is_suspended(made.jobs[theirs])
    assert [is_suspended(job) for job in made.jobs.values()].count(True) == 1


def test_obsolete_jobs_are_stopped_also_while_suspended():
    made = begun()
    made.body["spec"]["training"]["seed"] = 7
    suspend(made)
    plan = made.step()
    assert {job.step for job in plan.deletes} == {"train"}
    assert all(job["metadata"]["labels"]["palm-operator.dev/step"] == "evaluate"
               for job in made.jobs.values())  # fmt: skip


def test_what_is_deployed_goes_on_and_no_other_portfolio_is_published():
    made = World(body=portfolio_body())
    made.run()
    first = made.body["status"]["portfolio"]
    suspend(made)
    made.body["spec"]["pruning"] = {"mu": "0.3"}
    for _ in range(3):
        plan = made.step()
        made.now += timedelta(hours=1)
    assert not plan.acts
    assert made.body["status"]["portfolio"] == first
    assert made.condition("Ready")["status"] == "True"
    assert made.condition("Published")["reason"] == "Suspended"
    suspend(made, False)
    for _ in range(4):
        made.step()
        made.serve()
    assert made.body["status"]["portfolio"]["manifest"] != first["manifest"]
    assert len(made.created) == 11


def test_a_lost_server_of_what_is_deployed_is_made_again_while_suspended():
    made = World(body=portfolio_body())
    made.run()
    suspend(made)
    made.step()
    lost = sorted(made.services)[0]
    del made.services[lost]
    plan = made.step()
    assert [o["metadata"]["name"] for o in plan.applies if o["kind"] != "ConfigMap"] == [lost]
    assert made.condition("Progressing")["reason"] == "Suspended"


def test_a_rollout_that_has_begun_is_finished():
    made = World(body=portfolio_body())
    made.run()
    made.body["spec"]["training"]["seed"] = 7
    for _ in range(30):
        made.step()
        finish_all(made)
        if len(made.services) > made.body["status"]["portfolio"]["size"]:
            break
    second = made.work.revision
    suspend(made)
    for _ in range(3):
        made.step()
        made.serve()
    assert made.body["status"]["portfolio"]["revision"] == second
    assert made.condition("Ready")["status"] == "True"


def queued() -> World:
    made = begun(training={"parallelism": 3, "queueName": "gpus"})
    made.workloads = {}
    for name, job in made.jobs.items():
        owner = {"kind": "Job", "uid": job["metadata"]["uid"], "controller": True}
        made.workloads[f"job-{name}"] = {
            "metadata": {"name": f"job-{name}", "uid": f"w-{name}", "ownerReferences": [owner]},
            "spec": {"active": True},
        }
    return made


def test_queued_jobs_are_suspended_through_kueue_alone():
    made = queued()
    before = {name: copy.deepcopy(job["spec"]) for name, job in made.jobs.items()}
    suspend(made)
    plan = made.step()
    # Killed after the first of the two, the Job still tells of it.
    assert [p.kind for p in plan.patches] == ["Job", "Workload"] * 3
    assert not any(w["spec"]["active"] for w in made.workloads.values())
    assert {name: job["spec"] for name, job in made.jobs.items()} == before
    assert made.step().patches == ()
    suspend(made, False)
    plan = made.step()
    assert [p.kind for p in plan.patches] == ["Workload", "Job"] * 3
    assert all(w["spec"]["active"] for w in made.workloads.values())
    assert {name: job["spec"] for name, job in made.jobs.items()} == before
    assert not any(map(held, made.jobs.values()))


def test_a_week_of_suspension_is_no_waiting_for_what_kueue_had_not_admitted():
    made = queued()
    made.body["spec"]["training"]["pendingDeadlineSeconds"] = 600
    for job in made.jobs.values():
        job["spec"]["suspend"], job["status"] = True, {}
    suspend(made)
    made.step()
    made.now += timedelta(days=7)
    suspend(made, False)
    told = [event.reason for _ in range(3) for event in made.step().events]
    assert "Resumed" in told
    assert not [reason for reason in told if reason.endswith("NeverStarted")]
    made.now += timedelta(seconds=601)
    told = [event.reason for event in made.step().events]
    assert [reason for reason in told if reason.endswith("NeverStarted")]


def test_a_workload_that_kueue_makes_anew_is_deactivated_too():
    made = queued()
    suspend(made)
    made.step()
    name = sorted(made.workloads)[0]
    made.workloads[name] |= {"spec": {"active": True}}
    del made.workloads[name]["metadata"]["annotations"]
    assert [p.kind for p in made.step().patches] == ["Workload"]


def test_what_kueue_itself_deactivated_is_not_activated():
    made = queued()
    name = sorted(made.workloads)[0]
    made.workloads[name]["spec"]["active"] = False
    suspend(made)
    made.step()
    suspend(made, False)
    made.step()
    assert [w["spec"]["active"] for _, w in sorted(made.workloads.items())] == [False, True, True]
    assert not any(map(held, made.jobs.values()))


def test_a_queued_job_without_workload_is_left_to_kueue_and_asked_for_again():
    made = queued()
    made.workloads.clear()
    suspend(made)
    plan = made.step()
    assert plan.patches == ()
    assert plan.next_pass == 15.0
    assert "Kueue has no Workload of assistant-" in made.condition("Suspended")["message"]


def test_without_kueue_the_name_of_a_queue_means_nothing():
    made = queued()
    made.workloads = None
    suspend(made)
    made.step()
    assert all(map(is_suspended, made.jobs.values()))
    suspend(made, False)
    made.step()
    assert not any(map(is_suspended, made.jobs.values()))


def test_jobs_that_kueue_manages_unasked_are_kueues_too():
    made = queued()
    for job in made.jobs.values():
        del job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"]
    suspend(made)
    assert {p.kind for p in made.step().patches} == {"Job", "Workload"}
    assert not any(map(is_suspended, made.jobs.values()))


def test_a_patch_names_the_object_that_is_meant():
    made = queued()
    suspend(made)
    for patch in made.planned().patches:
        objects = made.jobs if patch.kind == "Job" else made.workloads
        assert patch.content["metadata"]["uid"] == objects[patch.name]["metadata"]["uid"]


STEPS = st.lists(
    st.sampled_from(["pass", "finish", "fail", "suspend", "resume", "seed", "kill"]), max_size=30
)


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_however_often_it_is_suspended_nothing_is_trained_twice_and_all_is_made(steps):
    made = World(body=portfolio_body(rewards=RANGES))
    for count, step in enumerate(steps):
        running = [n for n in made.unfinished if not is_suspended(made.jobs[n])]
        match step:
            case "pass" | "kill":
                before = set(made.store.objects)
                plan = made.step(creates=1) if step == "kill" else made.step()
                for job in plan.creates:
                    assert f"policies/{request_of(job).policy_digest}/trained.json" not in before \
                        or "-eval-" in job["metadata"]["name"]  # fmt: skip
                if made.body["spec"].get("suspend"):
                    assert not plan.creates
                    assert not [n for n in made.unfinished if not is_suspended(made.jobs[n])]
            case "finish" if running:
                made.finish(running[count % len(running)])
            case "suspend" | "resume":
                suspend(made, step == "suspend")
            case "seed":
                made.body["spec"]["training"]["seed"] = count % 2
    suspend(made, False)
    made.run(passes=120)
    assert made.condition("Ready")["status"] == "True"
    assert not any(is_suspended(made.jobs[n]) for n in made.unfinished)


def paused_body(value: str = "true", **metadata) -> dict:
    made = World(body=portfolio_body())
    made.run()
    made.body["metadata"] |= {"annotations": {ANNOTATION_PAUSED: value}, **metadata}
    return made.body


def test_a_pause_is_said_once_and_keeps_what_was_said_of_serving():
    body = paused_body(generation=7)
    before = {c["type"]: c for c in body["status"]["conditions"]}
    plan = paused(parse_portfolio(body), now=NOW)
    after = {c.type: c for c in plan.status.conditions}
    assert not plan.acts
    assert after["Paused"].status == "True"
    assert (after["Progressing"].status, after["Progressing"].reason) == ("False", "Paused")
    assert after["Ready"].model_dump(by_alias=True, exclude_none=True) == before["Ready"]
    assert plan.status.observed_generation == 1  # the edit is not looked at
    assert [e.reason for e in plan.events] == ["Paused"]
    body["status"] = json.loads(plan.status.model_dump_json(by_alias=True, exclude_none=True))
    portfolio = parse_portfolio(body)
    assert paused(portfolio, now=NOW + timedelta(hours=1)).status == portfolio.status


def test_a_pause_ends_with_an_event_and_all_goes_on():
    made = World(body=portfolio_body())
    made.step()
    plan = paused(made.portfolio, now=NOW)
    made.body["status"] = json.loads(plan.status.model_dump_json(by_alias=True, exclude_none=True))
    assert "Reconciling" not in kinds(made)
    assert "Unpaused" in reasons(made.step())
    assert "Paused" not in kinds(made)
    assert made.condition("Reconciling")["status"] == "True"


def test_trouble_after_a_pause_does_not_say_paused():
    body = paused_body()
    plan = paused(parse_portfolio(body), now=NOW)
    body["status"] = json.loads(plan.status.model_dump_json(by_alias=True, exclude_none=True))
    told = troubled(parse_portfolio(body), "StorageUnavailable", "no answer", now=NOW)
    assert "Paused" not in {c.type for c in told.status.conditions}


def test_only_false_and_nothing_do_not_pause():
    values = {"true": True, "yes": True, "since monday": True, "false": False, "False": False,
              "": False}  # fmt: skip
    for value, expected in values.items():
        assert is_paused({"metadata": {"annotations": {ANNOTATION_PAUSED: value}}}) is expected
    assert not is_paused({"metadata": {}})


def test_a_paused_portfolio_that_was_never_seen_says_so():
    body = portfolio_body()
    body["metadata"]["annotations"] = {ANNOTATION_PAUSED: "true"}
    plan = paused(parse_portfolio(body), now=NOW)
    assert {(c.type, c.status) for c in plan.status.conditions} == {
        ("Progressing", "False"),
        ("Ready", "False"),
        ("Paused", "True"),
    }
    assert plan.status.observed_generation is None


def test_an_unfinished_job_is_seen_with_who_suspended_it():
    made = begun()
    name = made.unfinished[0]
    body = made.jobs[name]
    body["spec"]["suspend"] = True
    body["metadata"]["annotations"][ANNOTATION_SUSPENDED] = "true"
    job = seen.job(body, portfolio_uid=made.body["metadata"]["uid"])
    assert (job.state, job.suspended, job.held, job.queued) == ("Active", True, True, False)
    assert observed_in(made.portfolio, made.store).workloads is None
