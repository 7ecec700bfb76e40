"""What each command answers, against figures known from elsewhere."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.invoke import palm

GOLDEN = Path(__file__).resolve().parents[1] / "core" / "golden"


def golden(name: str) -> list[dict[str, Any]]:
    return list(json.loads((GOLDEN / f"{name}.json").read_text())["cases"])


def policies_file(folder: Path, weights: Any, values: Any) -> str:
    policies = [
        {"name": f"w{i:02d}", "weights": [x / sum(w) for x in w], "rewards": v}
        for i, (w, v) in enumerate(zip(weights, values, strict=True))
    ]
    objectives = [f"objective {i}" for i in range(len(weights[0]))]
    file = folder / "file.json"
    file.write_text(json.dumps({"objectives": objectives, "policies": policies}))
    return str(file)


PUBLISHED = [
    (2, "14/30", "7/100", 17), (2, "16/30", "7/100", 17), (2, "16/30", "5/100", 19),
    (2, "16/30", "2/100", 23), (2, "16/30", "1/100", 25), (3, "18/30", "8/10", 19),
    (3, "19/30", "4/10", 37), (3, "18/30", "3/10", 61), (3, "19/30", "2/10", 91),
]  # fmt: skip


@pytest.mark.parametrize(("objectives", "mu", "alpha", "calls"), PUBLISHED)
def test_grid_needs_the_oracle_calls_that_the_paper_publishes(
    objectives: int, mu: str, alpha: str, calls: int
) -> None:
    ran = palm("grid", "--objectives", objectives, "--mu", mu, "--alpha", alpha, "-o", "json")
    assert ran.code == 0
    assert ran.answer["oracle_calls"] == calls == len(ran.answer["weights"])


def test_grid_is_the_golden_grid() -> None:
    for case in golden("grids")[:3]:
        ran = palm("grid", "-d", 2, "--mu", case["mu"], "--alpha", case["alpha"], "-o", "json")
        np.testing.assert_allclose(ran.answer["levels"], case["onedim"], atol=1e-12)
        np.testing.assert_allclose(ran.answer["weights"], case["weights_sorted"], atol=1e-12)


def test_even_spacing_ends_at_alpha() -> None:
    case = golden("grids")[0]
    arguments = ["grid", "-d", 2, "--mu", case["mu"], "--alpha", case["alpha"]]
    ran = palm(*arguments, "--spacing", "even", "-o", "json")
    np.testing.assert_allclose(ran.answer["levels"], case["onedim_respaced"], atol=1e-12)


def test_baselines_have_the_size_that_is_asked_for() -> None:
    for strategy in ("uniform", "Random"):
        ran = palm("grid", "-d", 3, "--strategy", strategy, "--size", 7, "--seed", 3, "-o", "json")
        assert ran.answer["oracle_calls"] == 7
        again = palm(
            "grid", "-d", 3, "--strategy", strategy, "--size", 7, "--seed", 3, "-o", "json"
        )
        assert again.out == ran.out
    other = palm("grid", "-d", 3, "--strategy", "random", "--size", 7, "--seed", 4, "-o", "json")
    assert other.answer["weights"] != ran.answer["weights"]


def test_explicit_weights_are_taken_from_a_file(folder: Path) -> None:
    ran = palm("grid", "-d", 2, "--strategy", "explicit", "--weights", "users.csv", "-o", "json")
    assert ran.answer["weights"] == [[0.2, 0.8], [0.9, 0.1]]
    assert (ran.answer["levels"], ran.answer["bounds"]) == ([], {})


def test_bounds_are_printed_only_where_their_assumptions_hold() -> None:
    arguments = ["grid", "-d", 2, "--mu", "1/10", "--alpha", "1/10", "-o", "json"]
    bounds = palm(*arguments, "--prune-mu", 0).answer["bounds"]
    promised = {s["name"]: s for s in bounds["statements"]}
    assert promised["T1"]["epsilon"] == pytest.approx(0.1 / 1.1)
    assert promised["Theorem 3.4"]["epsilon"] == pytest.approx(0.4)
    assert bounds["size"]["oracle_calls"] <= bounds["size"]["safe"]
    assert palm(*arguments, "--signed-rewards").answer["bounds"]["statements"] == []
    regularized = palm(*arguments, "--max-regularizer", "0.1").answer["bounds"]["statements"]
    assert "T1" not in {statement["name"] for statement in regularized}


@pytest.mark.parametrize("case", golden("prune")[:6], ids=lambda case: case["name"])
@pytest.mark.parametrize("solver", ["exact", "greedy"])
def test_prune_finds_the_golden_covers(case: dict[str, Any], solver: str, tmp_path: Path) -> None:
    file = policies_file(tmp_path, case["weights"], case["values"])
    tolerances = ["--mu", case["mu_prime"], "--alpha", case["alpha_prime"]]
    answer = palm("prune", file, *tolerances, "--solver", solver, "-o", "json").answer
    expected = case["lexmin_optimal" if solver == "exact" else "greedy"]
    assert answer["portfolio"] == [f"w{i:02d}" for i in sorted(expected)]
    assert answer["size"] == len(expected)
    assert answer["solver"] == solver
    assert answer["uncovered"] == []
    np.testing.assert_allclose(answer["opt"], case["opt"], atol=1e-6)
    if solver == "exact":
        assert answer["proven"] is True


def test_prune_keeps_what_is_deployed_where_it_costs_nothing(tmp_path: Path) -> None:
    twins = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9]]
    file = policies_file(tmp_path, [[1, 0], [0.9, 0.1], [0, 1]], twins)
    assert palm("prune", file, "--mu", 0, "-o", "json").answer["portfolio"] == ["w00", "w02"]
    kept = palm("prune", file, "--mu", 0, "--deployed", "w01", "-o", "json").answer
    assert kept["portfolio"] == ["w01", "w02"]


@pytest.mark.parametrize("case", golden("prune")[:4], ids=lambda case: case["name"])
def test_prune_gives_the_best_so_few_where_a_cover_has_more(
    case: dict[str, Any], tmp_path: Path
) -> None:
    file = policies_file(tmp_path, case["weights"], case["values"])
    mu, alpha, full = case["mu_prime"], case["alpha_prime"], case["optimal_size"]
    enough = palm("prune", file, "--mu", mu, "--alpha", alpha, "--max-policies", full, "-o", "json")
    assert enough.code == 0
    assert enough.answer == palm("prune", file, "--mu", mu, "--alpha", alpha, "-o", "json").answer
    if full == 1:
        return
    asked = ["prune", file, "--alpha", alpha, "--max-policies", full - 1]
    fewer = palm(*asked, "--mu", mu, "-o", "json")
    assert fewer.code == 3
    assert fewer.answer["proven"]
    assert fewer.answer["size"] < full == fewer.answer["smallest_cover"]
    needed = fewer.answer["needs"]["mu"]
    assert needed > mu
    assert f"{full} policies" in palm(*asked, "--mu", mu).out
    assert palm(*asked, "--mu", needed, "-o", "json").code == 0


def test_a_deployed_policy_that_failed_cannot_be_kept(folder: Path) -> None:
    ran = palm("prune", "policies.json", "--mu", 0, "--deployed", "w02,w03", "-o", "json")
    assert ran.code == 0
    assert 'warning: --deployed: "w02" failed' in ran.err
    assert "w03" in ran.answer["portfolio"]


def test_a_failed_policys_weight_vector_is_covered_by_others(folder: Path) -> None:
    answer = palm("prune", "policies.json", "--mu", "0.05", "-o", "json").answer
    assert len(answer["opt"]) == 4
    assert answer["opt"][2] == pytest.approx(0.25 * 0.2 + 0.75 * 0.95)
    assert "w02" not in answer["portfolio"]


@pytest.mark.parametrize("case", golden("missing"), ids=["two", "three"])
@pytest.mark.parametrize("missing", ["best-known", "certified"])
def test_missing_policies_are_the_golden_ones(
    case: dict[str, Any], missing: str, tmp_path: Path
) -> None:
    file = policies_file(tmp_path, case["weights"], case["values"])
    ran = palm("prune", file, "--mu", case["mu_prime"], "--missing", missing, "-o", "json")
    expected = case["expected"][missing.replace("-", "_")]
    np.testing.assert_allclose(ran.answer["opt"], expected["opt"], atol=1e-6)
    missed = [f"w{i:02d}" for i in expected["uncoverable_weights"]]
    assert ran.answer["uncovered"] == missed
    assert ran.code == (3 if missed else 0)
    assert ran.answer["size"] == expected["optimal_size"]


def test_what_a_missing_extreme_leaves_unbounded_is_not_covered(tmp_path: Path) -> None:
    values = [[1, 0], [0.6, 0.6], None, [0.3, 0.8]]
    file = policies_file(tmp_path, [[1, 0], [0.5, 0.5], [0, 1], [0.3, 0.7]], values)
    ran = palm("prune", file, "--mu", "0.1", "--missing", "certified", "-o", "json")
    assert ran.code == 3
    assert ran.answer["uncovered"] == ["w02"]
    assert ran.answer["opt"][2] is None
    assert len(ran.answer["portfolio"]) > 1
    best_known = palm("prune", file, "--mu", "0.1", "-o", "json")
    assert (best_known.code, best_known.answer["opt"][2]) == (0, pytest.approx(0.8))


def test_where_every_policy_failed_nothing_is_covered(tmp_path: Path) -> None:
    file = policies_file(tmp_path, [[1, 0], [0, 1]], [None, None])
    ran = palm("prune", file, "--mu", "0.05", "-o", "json")
    assert ran.code == 3
    assert ran.answer["portfolio"] == []
    assert ran.answer["uncovered"] == ["w00", "w01"]
    assert ran.answer["opt"] == [None, None]


@pytest.mark.parametrize("case", golden("certificates"), ids=["two", "three", "four"])
def test_certify_reproduces_the_golden_certificates(case: dict[str, Any], tmp_path: Path) -> None:
    file = policies_file(tmp_path, case["weights"], case["values"])
    everything = palm("certify", file, "-o", "json").answer
    assert everything["epsilon"] == pytest.approx(case["eps_all_trained"], abs=1e-6)
    assert everything["delta"] == pytest.approx(case["delta_all_trained"], abs=1e-6)
    kept = ",".join(f"w{i:02d}" for i in case["portfolio"])
    answer = palm("certify", file, "--portfolio", kept, "-o", "json").answer
    assert answer["epsilon"] == pytest.approx(case["eps"], abs=1e-6)
    assert answer["delta"] == pytest.approx(case["delta"], abs=1e-6)
    np.testing.assert_allclose(answer["argmax_delta"], case["argmax_delta"], atol=1e-5)
    assert answer["scope"] == "simplex"


def test_tolerances_make_a_certificate_wider_by_what_they_allow(folder: Path) -> None:
    exact = palm("certify", "policies.json", "-o", "json").answer
    noisy = palm("certify", "policies.json", "--eta", 0.01, "--tau", "1/200", "-o", "json").answer
    assert noisy["delta"] == pytest.approx(exact["delta"] + 2 * 0.01 + 0.005)


def test_without_an_extreme_policy_there_is_no_certificate(tmp_path: Path) -> None:
    file = policies_file(tmp_path, [[1, 0], [0.5, 0.5]], [[1, 0], [0.6, 0.6]])
    ran = palm("certify", file, "-o", "json")
    assert (ran.code, ran.out) == (3, "")
    assert "objective 1" in ran.err


@pytest.mark.parametrize("case", golden("routing"), ids=["two", "three"])
@pytest.mark.parametrize("form", ["list", "object", "lines", "csv", "spaced"])
def test_route_reproduces_the_golden_assignments(
    case: dict[str, Any], form: str, tmp_path: Path
) -> None:
    values, weights = case["values"], case["weights"]
    weights = (np.array(weights) / np.sum(weights, axis=1, keepdims=True)).tolist()
    file = policies_file(tmp_path, np.resize(np.eye(len(values[0])), np.shape(values)), values)
    text = {
        "list": json.dumps(weights),
        "object": json.dumps({"weights": weights}),
        "lines": "\n".join(map(json.dumps, weights)),
        "csv": "\n".join(", ".join(map(repr, row)) for row in weights),
        "spaced": "\n".join("\t".join(map(repr, row)) for row in weights),
    }[form]
    answer = palm("route", file, "--weights", "-", "-o", "json", stdin=text).answer
    assert answer["assignments"] == [f"w{i:02d}" for i in case["assign"]]
    assert answer["perplexity"] == pytest.approx(case["perplexity"], rel=1e-9)
    assert sum(answer["usage"].values()) == pytest.approx(1.0)
    assert list(answer["usage"]) == [f"w{i:02d}" for i in range(len(values))]


def test_a_regularizer_is_taken_from_the_rewards(folder: Path) -> None:
    answer = palm("prune", "policies.json", "--mu", 0, "-o", "json").answer
    assert answer["opt"][1] == pytest.approx(0.65)


def test_payoff_units_span_the_extreme_policies(folder: Path) -> None:
    answer = palm("prune", "policies.json", "--mu", 0, "--normalize", "payoff", "-o", "json").answer
    assert answer["opt"][0] == pytest.approx(1.0)
    assert answer["opt"][3] == pytest.approx(1.0)


def test_tables_are_for_people(folder: Path) -> None:
    for arguments in (
        ["grid", "-d", "2", "--mu", "1/2", "--alpha", "1/4"],
        ["prune", "policies.json", "--mu", "0.05"],
        ["certify", "policies.json"],
        ["route", "policies.json", "--weights", "users.csv"],
    ):
        ran = palm(*arguments)
        assert ran.code == 0
        assert not ran.out.startswith("{")
        assert ran.err == ""


def test_a_files_stated_portfolio_is_what_is_certified_and_routed(
    folder: Path, policies: dict[str, Any]
) -> None:
    policies["portfolio"] = ["w00", "w03"]
    Path("stated.json").write_text(json.dumps(policies))
    stated = palm("certify", "stated.json", "-o", "json").answer
    asked = palm("certify", "policies.json", "--portfolio", "w03,w00", "-o", "json").answer
    assert stated == asked
    routed = palm("route", "stated.json", "--weights", "users.csv", "-o", "json").answer
    assert set(routed["usage"]) == {"w00", "w03"}
