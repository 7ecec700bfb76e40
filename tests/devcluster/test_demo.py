"""What the demo decides and draws, without a cluster."""

import json
import shlex
from typing import Any

import pytest

from palm_devcluster.demo import gateway, report
from palm_devcluster.demo.asking import curl_command
from palm_devcluster.demo.picture import draw
from palm_devcluster.demo.stages import format_seconds
from palm_devcluster.demo.watch import failure_of, is_done, line, progress_of


def portfolio(**conditions: tuple[str, str]) -> dict[str, Any]:
    """A Portfolio of generation 2 with conditions ``type=(status, reason)``."""
    return {
        "metadata": {"name": "arithmetic", "generation": 2},
        "status": {
            "conditions": [
                {
                    "type": kind,
                    "status": status,
                    "reason": reason,
                    "message": f"about {reason}",
                    "observedGeneration": 2,
                }
                for kind, (status, reason) in conditions.items()
            ]
        },
    }


@pytest.mark.parametrize(
    ("conditions", "named"),
    [
        ({"Accepted": ("False", "GridTooLarge")}, "GridTooLarge"),
        ({"Stalled": ("True", "ResultMissing")}, "ResultMissing"),
        ({"Trained": ("False", "OracleCallFailed")}, "about OracleCallFailed"),
        ({"Published": ("False", "KServeAbsent")}, "KServeAbsent"),
    ],
)
def test_what_cannot_get_further_is_a_failure_with_its_message(conditions, named):
    assert named in (failure_of(portfolio(**conditions)) or "")


def test_waiting_is_no_failure_and_not_done():
    waiting = portfolio(Accepted=("True", "Accepted"), Published=("False", "WaitingForResults"))
    assert failure_of(waiting) is None
    assert not is_done(waiting)


@pytest.mark.parametrize("published", [("True", "Published"), ("False", "NotRequested")])
def test_a_portfolio_is_done_when_its_policies_are_served(published):
    done = portfolio(Published=published)
    assert not is_done(done)
    done["status"]["portfolio"] = {"size": 1}
    assert is_done(done)
    done["status"]["pending"] = {"phase": "Publishing"}
    assert not is_done(done)


def test_applied_is_not_done_and_the_line_says_what_is_awaited():
    waiting = portfolio(Published=("False", "WaitingForKServe"))
    waiting["status"]["portfolio"] = {"size": 1}
    assert not is_done(waiting)
    assert line(progress_of(waiting, [])).endswith("publishing: about WaitingForKServe")


def test_a_question_for_a_shell_is_one_that_a_shell_takes():
    command = curl_command("http://127.0.0.1:1/ml/a", "w0", "What's 7 + 8?")
    words = shlex.split(command)
    assert words[:3] == ["curl", "-s", "http://127.0.0.1:1/ml/a/v1/chat/completions"]
    assert json.loads(words[-1])["messages"] == [{"role": "user", "content": "What's 7 + 8?"}]


def test_a_preference_for_a_shell_is_the_one_that_was_asked():
    preference = gateway.extremes(("brevity", "humor", "helpfulness"))[1]
    words = shlex.split(gateway.curl_command("http://127.0.0.1:1/s/g", "ml/a", preference, "Why?"))
    assert words[2] == "http://127.0.0.1:1/s/g/v1/chat/completions"
    assert "x-palm-preference: brevity=0.1,helpfulness=0.9" in words
    assert json.loads(words[-1])["model"] == "ml/a"


@pytest.mark.parametrize(
    ("policies", "answers", "said"),
    [
        (("w0", "w1"), ("short", "a long one"), "different answers: 1 and 3 words"),
        (("w0", "w1"), ("same", "same"), "said the same"),
        (("w0", "w0"), ("same", "same"), "One policy is best for all"),
    ],
)
def test_the_demo_says_whether_preferences_made_a_difference(policies, answers, said):
    pairs = zip(policies, answers, strict=True)
    assert said in report.verdict([gateway.Routed("p=1", name, {}, text) for name, text in pairs])


@pytest.mark.parametrize(
    ("shortfall", "said"),
    [
        ({"absolute": "0.02", "scope": "Grid"}, "at most 0.02 below optimal (on the grid)"),
        (
            {"absolute": "0.02", "relative": "0.031", "scope": "Simplex", "confidence": "0.95"},
            "at most 0.02, 3.1 % below optimal (for every preference, with confidence 0.95)",
        ),
    ],
)
def test_a_bound_is_a_sentence(shortfall, said):
    assert gateway.Routed("p=1", "w0", shortfall, "x").bound == said


def test_conditions_of_an_older_generation_say_nothing():
    old = portfolio(Stalled=("True", "ResultMissing"))
    old["metadata"]["generation"] = 3
    assert failure_of(old) is None


def test_progress_names_what_runs_and_how_many_of_how_many():
    seen = portfolio()
    seen["status"] |= {"oracleCalls": {"summary": "3/9"}, "pending": {"phase": "Training"}}
    jobs = [
        {"metadata": {"name": "arithmetic-train-w03-1f9c2a"}, "status": {"active": 1}},
        {"metadata": {"name": "arithmetic-eval-w02-aaaaaa"}, "status": {"succeeded": 1}},
    ]
    shown = line(progress_of(seen, jobs))
    assert shown == "oracle calls 3/9; running: train-w03-1f9c2a; Training"


@pytest.mark.parametrize(("seconds", "text"), [(4.25, "4.2 s"), (192.4, "3 min 12 s")])
def test_seconds_are_for_people(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize("objectives", [2, 3])
def test_a_picture_is_drawn_for_any_number_of_objectives(tmp_path, objectives):
    names = ["brevity", "helpfulness", "humor"][:objectives]

    def entry(name: str, best: int) -> dict[str, Any]:
        rewards = [
            {"name": n, "mean": 0.9 if i == best else 0.2, "standardError": 0.01}
            for i, n in enumerate(names)
        ]
        weights = [float(i == best) for i in range(objectives)]
        return {"name": name, "weights": weights, "utilities": weights, "rewards": rewards}

    policies = [entry(f"w{i:02d}-aaaaaa", i) for i in range(objectives)]
    manifest = {
        "portfolio": {"namespace": "ml", "name": "assistant"},
        "inputs": {"rewards": [{"name": n} for n in names]},
        "policies": policies,
        "base": entry("base", -1),
        "cover": {
            "policies": [p["name"] for p in policies[:-1]],
            "usage": [1 / (objectives - 1)] * (objectives - 1),
        },
        "guarantee": {"scope": "Grid", "epsilon": None, "delta": 0.1},
    }
    draw(manifest, tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_the_report_says_what_was_saved_and_with_which_confidence():
    seen = portfolio()
    guarantee = {"epsilon": "0.2", "delta": "0.1", "scope": "Simplex", "proven": True}
    seen["status"] |= {
        "oracleCalls": {"succeeded": 5, "saved": 4},
        "portfolio": {"guarantee": guarantee},
    }
    assert report.oracle_calls(seen).startswith("5 policies trained; 4 more")
    assert "for every preference" in report.guarantee(seen)
    assert "confidence" not in report.guarantee(seen)
    guarantee |= {"confidence": "0.95", "measured": {"epsilon": "0.03", "delta": "0.02"}}
    text = report.guarantee(seen)
    assert "ε = 0.03 (relative)" in text
    assert "confidence 0.95" in text
    assert text.index("0.03") < text.index("0.95") < text.index("ε = 0.2")
