"""``palm experiment`` and the comparisons behind it."""

from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from cli.invoke import palm
from palm.experiments import METHODS, Comparison, compare, corner_search
from palm.forecast import simulate
from palm.grid import construct_grid
from palm.oracles import FiniteFront
from palm.random_oracles import RANDOM_ORACLES, random_hull
from palm.search import Target

SMALL = Comparison(dimension=2, mu=Fraction(1, 2), alpha=Fraction(1, 10), pruning_mu=0.05)


@pytest.mark.parametrize("name", RANDOM_ORACLES)
def test_searches_have_palms_guarantee_for_fewer_oracle_calls(name: str) -> None:
    oracle = RANDOM_ORACLES[name](2, 0)
    outcomes = {outcome.method: outcome for outcome in compare(oracle, SMALL, seed=0)}
    assert list(outcomes) == list(METHODS)
    palm_calls = outcomes["PALM"].oracle_calls
    assert palm_calls == len(SMALL.grid)
    for method in ("Adaptive", "Propose"):
        assert outcomes[method].oracle_calls <= palm_calls
    assert outcomes["Adaptive"].oracle_calls < palm_calls
    for outcome in outcomes.values():
        assert 1 <= outcome.perplexity <= outcome.size + 1e-9
        assert outcome.sampled_delta <= outcome.delta + 1e-12
        assert outcome.epsilon is not None
        assert outcome.sampled_epsilon is not None
        assert outcome.sampled_epsilon <= outcome.epsilon + 1e-12


def test_baselines_have_as_many_policies_as_palm_keeps() -> None:
    outcomes = {o.method: o for o in compare(random_hull(2, 3), SMALL, seed=3)}
    size = outcomes["PALM"].size
    assert outcomes["Uniform"].size == outcomes["Random"].size == size
    assert outcomes["OLS"].size <= size
    assert outcomes["Uniform-PALM"].oracle_calls == outcomes["PALM"].oracle_calls


def test_batches_make_rounds() -> None:
    comparison = Comparison(2, Fraction(1, 2), Fraction(1, 10), pruning_mu=0.05, batch=4)
    outcomes = {o.method: o for o in compare(random_hull(2, 0), comparison, seed=0)}
    assert outcomes["PALM"].rounds == -(-outcomes["PALM"].oracle_calls // 4)
    assert outcomes["Adaptive"].rounds < outcomes["Adaptive"].oracle_calls


def test_corner_search_finds_the_whole_of_a_small_front() -> None:
    front = [[1.0, 0.0], [0.8, 0.7], [0.5, 0.9], [0.0, 1.0]]
    found = corner_search(FiniteFront(front), dimension=2, count=50)
    assert {tuple(row) for row in found.tolist()} == {tuple(row) for row in front}
    first = corner_search(FiniteFront(front), dimension=2, count=1)
    np.testing.assert_array_equal(first, [[1.0, 0.0]])


def test_simulated_searches_stay_below_the_grid_and_the_limit() -> None:
    grid = construct_grid(Fraction(1, 2), Fraction(1, 10), dimension=2)
    target = Target(mu=0.05, alpha=0.0)
    runs = list(simulate(grid, mode="Adaptive", target=target, seeds=2))
    assert Counter(run.oracle for run in runs) == dict.fromkeys(RANDOM_ORACLES, 2)
    assert all(2 <= run.oracle_calls <= len(grid) for run in runs)
    limited = simulate(grid, mode="Adaptive", target=target, limit=3, batch=2)
    assert all((run.oracle_calls, run.rounds) == (3, 2) for run in limited)


def test_an_experiment_prints_means_and_every_run(tmp_path: Path) -> None:
    picture = tmp_path / "compare.svg"
    arguments = ["experiment", "-d", 2, "--mu", "1/2", "--alpha", "1/10", "--seeds", 2]
    chosen = ["--oracle", "hull,regimes", "--method", "palm,Random", "--plot", picture]
    ran = palm(*arguments, *chosen, "-o", "json")
    assert (ran.code, ran.err) == (0, "")
    answer = ran.answer
    assert [row["method"] for row in answer["methods"]] == ["PALM", "Random"]
    assert Counter(run["oracle"] for run in answer["runs"]) == {"hull": 4, "regimes": 4}
    own = [run["epsilon"] for run in answer["runs"] if run["method"] == "Random"]
    assert answer["methods"][1]["epsilon"] == pytest.approx(sum(own) / len(own))
    assert picture.read_bytes().startswith(b"<?xml")
    assert palm(*arguments, *chosen, "-o", "json").out == ran.out


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["--oracle", "moon"], "--oracle: 'moon' is not known; there are bandit-0.02"),
        (["--method", "luck"], "--method: 'luck' is not known; there are PALM"),
        (["--plot", "out.gif"], "--plot is out.gif; it must end in one of"),
        (["--mu", "1/1000"], "an experiment has at most 2000"),
        (["--prune-mu", "2"], "--prune-mu is 2; it must be from 0 to 1"),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments: list[str], rule: str) -> None:
    ran = palm("experiment", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert rule in ran.err
