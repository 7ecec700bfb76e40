"""``palm status``: what it says of a Portfolio at every stage, and that nobody can draw on it."""

import io
import re
from copy import deepcopy
from datetime import timedelta

import pytest
from rich.console import Console

from builders import NOW, SETTINGS, World, portfolio_body
from cli.conftest import ROOT
from palm_cli.remedies import ADVICE, advice_of
from palm_cli.status_report import document, report
from palm_cli.status_screen import age, screen

LATER = NOW + timedelta(hours=5)


def told(world, *, now=LATER, jobs=True):
    listed = list(world.jobs.values()) if jobs else None
    return report(world.body, listed, now=now)


def shown(made, *, width=140, trouble=""):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(screen(made, now=LATER, trouble=trouble))
    return console.file.getvalue()


@pytest.fixture(scope="module")
def served():
    made = World()
    made.run()
    return made


def changed(world, **spec):
    made = deepcopy(world)
    made.body["spec"] |= spec
    made.body["metadata"]["generation"] = 2
    made.step()
    return made


def test_one_that_nobody_looked_at_says_so_and_soon_what_to_do():
    body = portfolio_body()
    body["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    made = report(body, [], now=NOW)
    assert made.phase == "new"
    assert "no operator has looked at it" in shown(made)
    assert "whether the operator runs" in made.problems[0].advice
    body["metadata"]["creationTimestamp"] = NOW.isoformat()
    assert report(body, [], now=NOW).problems == ()


def test_in_the_making_it_says_how_far_it_is_and_what_runs():
    world = World()
    for _ in range(2):
        world.step()
        for name in world.unfinished:
            world.finish(name)
    world.step()
    made = told(world)
    assert made.phase == "in the making"
    assert {job.what for job in made.running} <= {"training", "evaluating"}
    assert len(made.running) == len(world.unfinished) > 0
    text = shown(made)
    calls = made.status.oracle_calls
    bar = re.search(r"(█*)(░*)  (\d)/5 trained and evaluated", text)
    assert bar is not None
    assert (len(bar[1]), len(bar[1] + bar[2])) == (6 * calls.succeeded, 30)
    assert f"{made.running[0].what} {made.running[0].policy}, for" in text
    assert "POLICY" not in text


def test_a_training_that_runs_says_how_far_it_is():
    world = World()
    for _ in range(2):
        for name in world.unfinished:
            world.finish(name)
        world.step()
    name = next(j.policy for j in told(world).running if j.what == "training")
    call = {"policy": name, "step": 120, "steps": 833, "rewards": [], "left": "1h20m",
            "checkpointStep": 100, "updated": "2026-01-02T03:04:05Z"}  # fmt: skip
    world.body["status"]["progress"] = [call]
    assert f"training {name}, for" in shown(told(world))
    assert "step 120 of 833, 1h20m left, checkpoint at 100" in shown(told(world))


def test_a_job_without_a_pod_waits_for_a_place():
    world = World()
    world.step()
    for job in world.jobs.values():
        job["status"] = {"active": 1}
    assert "waits for a place" in shown(told(world))


def test_served_it_has_the_portfolio_its_guarantee_and_its_history(served):
    made, deployed = told(served), served.body["status"]["portfolio"]
    text = shown(made)
    assert made.phase == "serving"
    assert made.problems == ()
    assert f"{'█' * 30}  5/5 trained and evaluated" in text
    for policy in deployed["policies"]:
        line = next(line for line in text.splitlines() if line.startswith(policy["name"]))
        assert f"{float(policy['usage']):.0%}" in line
        assert f"{policy['name']}  {policy['url']}" in text
        assert " yes " in line
        for number in (*policy["weights"], *policy["rewards"]):
            assert number in line
    assert f"ε = {deployed['guarantee']['epsilon']} (relative)" in text
    assert "for every preference" in text
    assert f"#1 revision {deployed['revision']} deployed" in text
    assert "Ready" in text
    assert "Reconciling" not in text


def test_the_gateway_is_there_where_the_status_has_one():
    world = World(settings=SETTINGS.__class__(
        **{**vars(SETTINGS), "gateway_url": "https://g/v1",
           "gateway_preferences": {"ml/assistant": "brevity=1"}}))  # fmt: skip
    world.run()
    text = shown(told(world))
    assert "https://g/v1, model ml/assistant, without a preference brevity=1" in text


def test_a_refresh_says_who_serves_meanwhile_and_what_is_made(served):
    made = told(changed(served, training={"seed": 7, "parallelism": 3}))
    text = shown(made)
    revision = served.body["status"]["portfolio"]["revision"]
    assert made.phase == "refreshing"
    assert f"revision {revision} serves, a successor is made" in text
    assert "being made" in text
    assert served.body["status"]["portfolio"]["policies"][0]["name"] in text


def test_refused_and_stuck_it_says_why_and_what_to_do(served):
    storage = deepcopy(served.body["spec"]["storage"])
    storage["s3"]["endpoint"] = "https://elsewhere.example"
    made = told(changed(served, storage=storage))
    assert made.phase == "refused"
    assert made.problems[0].reason == "StorageNotAllowed"
    assert "storage.endpoints of the chart" in shown(made)
    many = told(changed(served, serving={"maxPolicies": 1}))
    assert many.phase == "stuck"
    (problem,) = many.problems
    assert problem.reason == "TooManyPolicies"
    assert "raise spec.serving.maxPolicies" in shown(many)


def test_a_policy_that_fails_is_named_once(served):
    world = deepcopy(served)
    policy = world.body["status"]["portfolio"]["policies"][0]
    world.silent.add(policy["service"])
    world.step()
    made = told(world)
    assert [p.reason for p in made.problems] == ["NotAnswering"]
    assert policy["name"] in made.problems[0].message
    assert made.phase == "degraded"
    assert "3 of 4 policies are served" in made.sentence


def test_a_spec_that_the_operator_has_not_seen_is_told(served):
    world = deepcopy(served)
    world.body["metadata"]["generation"] = 9
    made = told(world)
    assert made.phase == "refreshing"
    assert made.problems[0].reason == "NotSeenYet"


def test_without_the_right_to_list_jobs_the_rest_is_there(served):
    made = told(served, jobs=False)
    assert made.running is None
    assert "POLICY" in shown(made)


def test_an_operator_that_is_newer_may_tell_more(served):
    body = deepcopy(served.body)
    body["status"]["moreOfIt"] = {"a": 1}
    body["status"]["portfolio"]["policies"][0]["colour"] = "red"
    assert report(body, [], now=NOW).phase == "serving"


def test_programs_get_all_of_it(served):
    answer = document(told(served))
    assert answer["portfolio"] == "ml/assistant"
    assert answer["phase"] == "serving"
    assert answer["rewards"] == ["steps", "brevity"]
    assert answer["problems"] == []
    assert answer["status"]["portfolio"]["policies"][0]["ready"] is True
    assert answer["status"]["oracle_calls"]["succeeded"] > 0


def test_what_others_wrote_moves_no_cursor_and_is_no_markup(served):
    body = deepcopy(served.body)
    hostile = "\x1b[2J[red]x[/red]\x07\u202e"
    body["status"]["conditions"][0] |= {"status": "False", "reason": "Odd", "message": hostile}
    policy = body["status"]["portfolio"]["policies"][0]
    policy |= {"ready": False, "message": hostile}
    text = shown(report(body, [], now=NOW), trouble=hostile)
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert "[red]x[/red]" in text


def test_a_narrow_terminal_loses_nothing_but_columns(served):
    assert served.body["status"]["portfolio"]["policies"][0]["name"] in shown(
        told(served), width=60
    )


def test_every_advice_is_about_a_reason_that_somebody_gives():
    """The operator's own, or one that KServe reports of a model."""
    sources = " ".join(
        path.read_text() for path in (ROOT / "operator").rglob("palm_operator/**/*.py")
    )
    kserves = {"NoSupportingRuntime", "RuntimeNotRecognized"}
    assert [r for r in ADVICE if f'"{r}"' not in sources and r not in kserves] == []


def test_a_failed_job_is_wrong_whatever_it_failed_of_and_progress_is_not(served):
    for reason in ("OracleCallFailed", "OracleCallOutOfMemory", "EvaluationInvalidData"):
        assert "Job's log" in (advice_of(reason) or "")
    assert "maxOracleCalls" in (advice_of("OracleCallLimitReached") or "")
    for reason in (
        "Training",
        "Retraining",
        "Evaluating",
        "EvaluatingBasePolicy",
        "WaitingForResults",
    ):
        assert advice_of(reason) is None


@pytest.mark.parametrize("kind", ["Suspended", "Paused"])
def test_who_was_told_to_wait_says_so(served, kind):
    body = deepcopy(served.body)
    body["status"]["conditions"].append(
        {"type": kind, "status": "True", "reason": kind, "message": "by a person",
         "lastTransitionTime": "2026-01-02T03:04:05Z"}
    )  # fmt: skip
    made = report(body, [], now=NOW)
    assert (made.phase, made.sentence) == (kind.lower(), "by a person")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (3e5, "3 d")]
)
def test_ages_are_in_their_largest_unit(seconds, text):
    assert age((NOW - timedelta(seconds=seconds)).isoformat(), NOW) == text
    assert age("nonsense", NOW) == "?"
