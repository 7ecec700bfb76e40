"""``palm search``: what it keeps covers the grid, and what it certifies is true."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.invoke import Ran, palm
from palm.certificate import exact_shortfall
from palm.oracles import FiniteFront

GOLDEN = Path(__file__).resolve().parents[1] / "core" / "golden" / "adaptive.json"
CASES = json.loads(GOLDEN.read_text())["cases"]
IDS = [f"{case['d']}-objectives-{len(case['front'])}" for case in CASES]
KEYS = {"oracle_calls", "rounds", "policies", "portfolio", "epsilon", "delta"}


def search(folder: Path, case: dict[str, Any], *more: object) -> Ran:
    front = folder / "front.json"
    front.write_text(json.dumps({"front": case["front"]}))
    grid = ["--objectives", case["d"], "--mu", "1/2", "--alpha", "1/4"]
    tolerances = ["--prune-mu", case["eps"], "--prune-alpha", case["delta"]]
    return palm("search", front, *grid, *tolerances, "-o", "json", *more)


@pytest.mark.parametrize("case", CASES, ids=IDS)
@pytest.mark.parametrize("mode", ["adaptive", "propose", "grid"])
def test_the_portfolio_covers_the_grid_and_its_certificate_holds(
    case: dict[str, Any], mode: str, tmp_path: Path
) -> None:
    ran = search(tmp_path, case, "--mode", mode, "--batch", case["batch"])
    assert (ran.code, ran.err) == (0, "")
    answer = ran.answer
    assert answer.keys() >= KEYS
    grid = palm("grid", "-d", case["d"], "--mu", "1/2", "--alpha", "1/4", "-o", "json").answer
    weights = np.array(grid["weights"])
    oracle = FiniteFront(case["front"])
    rewards = {policy["name"]: policy["rewards"] for policy in answer["policies"]}
    kept = np.array([rewards[name] for name in answer["portfolio"]])
    worth, best = (weights @ kept.T).max(axis=1), oracle.optimum(weights)
    assert (worth >= (1 - case["eps"]) * best - case["delta"] - 1e-9).all()
    true = exact_shortfall(kept, oracle.optimum)
    assert true.epsilon is not None
    assert true.epsilon <= answer["epsilon"] + 1e-9
    assert true.delta <= answer["delta"] + 1e-9
    assert len(answer["policies"]) == answer["oracle_calls"] <= grid["oracle_calls"]
    if mode == "grid":
        assert answer["oracle_calls"] == grid["oracle_calls"]
        assert answer["rounds"] == -(-grid["oracle_calls"] // case["batch"])


@pytest.mark.parametrize("case", CASES[:2], ids=IDS[:2])
def test_every_training_ends_in_the_best_row_of_the_front(
    case: dict[str, Any], tmp_path: Path
) -> None:
    front = np.array(case["front"])
    for policy in search(tmp_path, case).answer["policies"]:
        best = front[int((front @ policy["weights"]).argmax())]
        np.testing.assert_array_equal(policy["rewards"], best)


def test_names_are_the_positions_in_the_grid(tmp_path: Path) -> None:
    grid = palm("grid", "-d", 2, "--mu", "1/2", "--alpha", "1/4", "-o", "json").answer["weights"]
    for assumption in ("nothing", "nonnegative"):
        answer = search(tmp_path, CASES[0], "--assume", assumption).answer
        assert answer["assumes"] == assumption
        for policy in answer["policies"]:
            kind, number = policy["name"][0], int(policy["name"][1:])
            if kind == "w":
                assert policy["weights"] == grid[number]
            else:
                assert kind == "x"
                assert assumption == "nonnegative"
                assert policy["weights"] not in grid


def test_what_the_front_contradicts_cannot_be_assumed(tmp_path: Path) -> None:
    case = {"d": 2, "front": [[1.0, -0.25], [0.0, 1.0]], "eps": 0.05, "delta": 0}
    refused = search(tmp_path, case, "--assume", "nonnegative")
    assert refused.code == 2
    assert "reward 1 of row 0 of the front is -0.25" in refused.err
    assert search(tmp_path, case).answer["assumes"] == "nothing"


def test_a_search_is_the_same_every_time(tmp_path: Path) -> None:
    assert search(tmp_path, CASES[1]).out == search(tmp_path, CASES[1]).out


def test_batches_need_fewer_rounds(tmp_path: Path) -> None:
    one, four = (search(tmp_path, CASES[2], "--batch", batch).answer for batch in (1, 4))
    assert one["rounds"] == one["oracle_calls"]
    assert four["rounds"] < one["rounds"]


def test_a_limit_leaves_weight_vectors_uncertified_and_says_so(tmp_path: Path) -> None:
    for limit in (1, 3):
        ran = search(tmp_path, CASES[2], "--max-oracle-calls", limit)
        assert ran.code == 3
        assert ran.answer["oracle_calls"] == limit


def test_what_a_search_prints_is_a_policies_file(tmp_path: Path) -> None:
    printed = search(tmp_path, CASES[1])
    run = tmp_path / "run.json"
    run.write_text(printed.out)
    certified = palm("certify", run, "-o", "json").answer
    for key in ("epsilon", "delta"):
        assert certified[key] == pytest.approx(printed.answer[key])
    assert palm("plot", run, "-o", tmp_path / "run.svg").code == 0


HOSTILE = {
    "not an object": ("[]", "front is null"),
    "no rows": ('{"front": []}', "front is []"),
    "ragged": ('{"front": [[1, 0], [1]]}', "front[1] is [1]"),
    "too many objectives": ('{"front": [[1, 0, 0]]}', "it must be a list of 2 numbers"),
    "text": ('{"front": [["1", 0]]}', 'front[0][0] is "1"'),
    "truth": ('{"front": [[true, 0]]}', "front[0][0] is true"),
    "null": ('{"front": [[null, 0]]}', "front[0][0] is null"),
    "NaN": ('{"front": [[NaN, 0]]}', "NaN is not a number"),
    "overflow": ('{"front": [[1e999, 0]]}', "front[0][0] is"),
    "huge": ('{"front": [[1e200, 0]]}', "of size at most 1e+100"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_bad_front_is_refused(name: str, tmp_path: Path) -> None:
    content, rule = HOSTILE[name]
    file = tmp_path / "front.json"
    file.write_text(content)
    ran = palm(
        "search", file, "-d", 2, "--mu", "1/2", "--alpha", "1/4", "--prune-mu", "0.05", "-o", "json"
    )
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {file}")
    assert rule in ran.err


def test_a_grid_too_large_to_search_is_refused(folder: Path) -> None:
    ran = palm(
        "search", "front.json", "-d", 2, "--mu", "1e-6", "--alpha", "0.1", "--prune-mu", "0.05"
    )
    assert ran.code == 2
    assert "at most 10000 are allowed" in ran.err


def test_mixed_signs_have_a_certified_delta_and_no_epsilon(tmp_path: Path) -> None:
    front = tmp_path / "front.json"
    front.write_text('{"front": [[1, -2], [-2, 1], [-0.4, -0.4]]}')
    arguments = ["-d", 2, "--mu", "1/2", "--alpha", "1/4", "--prune-mu", 0]
    ran = palm("search", front, *arguments, "--prune-alpha", "0.1", "-o", "json")
    assert ran.code == 0
    assert ran.answer["epsilon"] is None
    assert ran.answer["delta"] >= 0
