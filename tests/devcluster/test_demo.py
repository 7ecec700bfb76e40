"""What the demo decides and draws, without a cluster."""

from typing import Any

import pytest

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


def test_applied_services_without_kserve_are_as_far_as_the_cluster_gets():
    done = portfolio(Published=("False", "WaitingForKServe"))
    assert not is_done(done)
    done["status"]["portfolio"] = {"size": 1}
    assert is_done(done)
    done["status"]["pending"] = {"phase": "Publishing"}
    assert not is_done(done)


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
