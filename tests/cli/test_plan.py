"""``palm plan``: counts and costs before anything is created."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.invoke import palm
from palm_cli.command_plan import HOURS_ANNOTATION, Costs, plan_of
from palm_cli.portfolio_file import PortfolioFile, read_portfolio

ROOT = Path(__file__).resolve().parents[2]
RLVR = ROOT / "examples" / "rlvr-qwen.yaml"


@pytest.fixture
def portfolio() -> dict[str, Any]:
    return dict(yaml.safe_load(RLVR.read_text(encoding="utf-8")))


def planned(portfolio: Any, *more: object) -> Any:
    ran = palm("plan", "-f", "-", "-o", "json", *more, stdin=json.dumps(portfolio))
    assert (ran.code, ran.err) == (0, "")
    return ran.answer


def test_the_papers_grid_is_counted(portfolio: dict[str, Any]) -> None:
    plan = planned(portfolio, "--seeds", 0)
    assert plan["weight_vectors"] == plan["oracle_calls"]["grid"] == 17
    assert plan["objectives"] == ["helpfulness", "brevity"]
    assert plan["gpus_per_oracle_call"] == 1
    assert plan["gpu_hours"]["most"] is None


@pytest.mark.parametrize("mode", ["Grid", "Adaptive", "Propose"])
def test_expected_oracle_calls_are_between_the_objectives_and_the_grid(mode: str) -> None:
    calls = plan_of(searched(mode, limit=20), Costs(gpu_hours=None, gpus=0), seeds=1)[
        "oracle_calls"
    ]
    assert 2 <= calls["expected"] <= calls["most"] <= calls["grid"] == 17
    assert (calls["expected"] == 17) == (mode == "Grid")


def searched(mode: str, *, limit: int) -> PortfolioFile:
    portfolio = read_portfolio(str(RLVR))
    search = portfolio.spec.search.model_copy(update={"mode": mode, "max_oracle_calls": limit})
    return replace(portfolio, spec=portfolio.spec.model_copy(update={"search": search}))


def test_gpus_are_those_of_all_nodes(portfolio: dict[str, Any]) -> None:
    before = planned(portfolio)["gpus_per_oracle_call"]
    portfolio["spec"]["training"]["nodes"] = 3
    assert planned(portfolio)["gpus_per_oracle_call"] == 3 * before


def test_gpu_hours_come_from_the_annotation_or_the_option(portfolio: dict[str, Any]) -> None:
    portfolio["spec"]["search"] = {"mode": "Grid"}
    portfolio["metadata"]["annotations"] = {HOURS_ANNOTATION: "2.5"}
    assert planned(portfolio)["gpu_hours"]["most"] == 17 * 2.5
    assert planned(portfolio, "--gpu-hours-per-call", "1/2")["gpu_hours"]["most"] == 17 / 2


@pytest.mark.parametrize(
    ("serving", "most"),
    [({"maxPolicies": 5}, 7), ({"maxPolicies": 64}, 17), ({"mode": "None"}, 17)],
)
def test_mixing_at_decoding_costs_the_single_rewards_and_what_is_published(
    portfolio: dict[str, Any], serving: dict[str, Any], most: int
) -> None:
    portfolio["spec"] |= {"oracle": {"type": "MOD"}, "serving": serving, "evaluation": {}}
    portfolio["spec"]["search"] = {"mode": "Grid"}
    plan = planned(portfolio, "--seeds", 0, "--gpu-hours-per-call", "2")
    assert plan["oracle_calls"]["most"] == 17
    assert plan["trainings"] == {"least": 2, "planned": most, "most": most}
    assert plan["gpu_hours"]["most"] == 2 * most
    assert plan["gpu_hours"]["expected"] is None
    ran = palm("plan", "-f", "-", "--seeds", 0, stdin=json.dumps(portfolio))
    assert f"2 to {most}" in ran.out


@pytest.mark.parametrize("hours", ["many", "-1", "nan", 3, None])
def test_hours_that_are_none_are_refused(portfolio: dict[str, Any], hours: Any) -> None:
    portfolio["metadata"]["annotations"] = {HOURS_ANNOTATION: hours}
    ran = palm("plan", "-f", "-", "-o", "json", stdin=json.dumps(portfolio))
    if hours is None:  # a null says nothing
        assert ran.answer["gpu_hours"]["most"] is None
        return
    assert ran.code == 2
    assert f"metadata.annotations[{HOURS_ANNOTATION}]" in ran.err


def test_a_grid_that_the_operator_refuses_is_refused(portfolio: dict[str, Any]) -> None:
    portfolio["spec"]["search"] = {"mode": "Grid", "maxOracleCalls": 16}
    ran = palm("plan", "-f", "-", stdin=json.dumps(portfolio))
    assert ran.code == 2
    assert "17 weight vectors" in ran.err
    assert "spec.search.maxOracleCalls is 16" in ran.err


def test_bounds_that_need_the_regularizer_are_not_stated(portfolio: dict[str, Any]) -> None:
    stated = {s["name"] for s in planned(portfolio, "--seeds", 0)["bounds"]["statements"]}
    assert stated == {"T1"}
    portfolio["spec"]["training"]["klCoefficient"] = "0"
    stated = {s["name"] for s in planned(portfolio, "--seeds", 0)["bounds"]["statements"]}
    assert "Theorem 3.4, corrected" in stated


def test_people_are_told_that_nothing_was_created(folder: Path) -> None:
    ran = palm("plan", "-f", "portfolio.yaml", "--gpu-hours-per-call", 12)
    assert ran.code == 0
    assert ran.out.endswith("Nothing was created.\n")
    assert "GPU-hours" in ran.out


def test_a_wrong_portfolio_is_refused_with_field_value_and_rule(portfolio: dict[str, Any]) -> None:
    portfolio["spec"]["grid"]["mu"] = "31/30"
    ran = palm("plan", "-f", "-", stdin=json.dumps(portfolio))
    assert (ran.code, ran.out) == (2, "")
    assert 'spec.grid.mu is "31/30": must be greater than 0 and at most 1' in ran.err
