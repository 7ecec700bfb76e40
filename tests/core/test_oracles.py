"""Oracles with a known optimum: closed forms, front rows, units, noise."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.errors import InvalidResult
from palm.objective import Normalization
from palm.oracles import Ellipsoid, FiniteFront, KLBandit, Noisy, Normalized, Oracle
from palm.random_oracles import RANDOM_ORACLES, payoff_units, random_bandit

BANDITS = json.loads((Path(__file__).parent / "golden" / "bandits.json").read_text())["cases"]
DIMENSIONS = (2, 3, 4)


def preferences(dimension: int, count: int = 40, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).dirichlet(np.ones(dimension), size=count)
    return np.concatenate([np.eye(dimension), drawn])


def every_oracle() -> list[tuple[str, int]]:
    return [(name, dimension) for name in RANDOM_ORACLES for dimension in DIMENSIONS]


@pytest.mark.parametrize("case", BANDITS, ids=["two-objectives", "three-objectives"])
def test_golden_bandits_are_reproduced(case: dict[str, Any]) -> None:
    bandit = KLBandit(rewards=case["rewards"], reference=case["ref"], beta=case["beta"])
    weights = np.array([expected["w"] for expected in case["expected"]])
    weights /= weights.sum(axis=1, keepdims=True)
    solved = bandit.solve(weights)
    for name, found in (
        ("reward", solved.rewards),
        ("kl", solved.divergence),
        ("opt", solved.optimum),
    ):
        # The file's weights have six decimals, its reference probabilities six digits.
        expected = np.array([row[name] for row in case["expected"]])
        np.testing.assert_allclose(found, expected, atol=2e-6)


@given(st.integers(0, 200))
def test_no_policy_of_a_bandit_beats_its_closed_form(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rewards = generator.random((3, 5, 2))
    reference = generator.dirichlet(np.ones(5), size=3) * 0.9 + 0.02
    beta = float(generator.choice([0.02, 0.1, 0.5]))
    other = generator.dirichlet(np.ones(5), size=3) * 0.999 + 0.0002
    divergence = (other * np.log(other / reference)).sum(axis=1).mean()
    utilities = (other[:, :, None] * rewards).sum(axis=1).mean(axis=0) - beta * divergence
    weights = preferences(2, 10, seed)
    bandit = KLBandit(rewards=rewards, reference=reference, beta=beta)
    assert (weights @ utilities <= bandit.optimum(weights) + 1e-12).all()


def test_many_weight_vectors_are_solved_in_blocks_as_if_alone() -> None:
    generator = np.random.default_rng(3)
    bandit = KLBandit(
        rewards=generator.random((40, 48, 3)), reference=np.full((40, 48), 1 / 48), beta=0.05
    )
    weights = preferences(3, 400)  # 136 rows are a block
    alone = np.stack([bandit(row) for row in weights])
    np.testing.assert_allclose(bandit.optimum(weights), (weights * alone).sum(axis=1), atol=1e-12)


@pytest.mark.parametrize(("name", "dimension"), every_oracle())
def test_the_answer_at_w_attains_the_optimum_and_no_other_answer_exceeds_it(
    name: str, dimension: int
) -> None:
    oracle = RANDOM_ORACLES[name](dimension, 1)
    assert oracle.dimension == dimension
    weights = preferences(dimension)
    values = weights @ np.stack([oracle(row) for row in weights]).T
    best = oracle.optimum(weights)
    np.testing.assert_allclose(np.diag(values), best, atol=1e-9)
    assert (values <= best[:, None] + 1e-9).all()


@pytest.mark.parametrize(("name", "dimension"), every_oracle())
def test_random_instances_conflict_and_span_the_unit_interval(name: str, dimension: int) -> None:
    for seed in range(3):
        oracle = RANDOM_ORACLES[name](dimension, seed)
        answers = np.stack([oracle(row) for row in preferences(dimension, 300, seed)])
        assert answers.min() > -0.05
        assert answers.max() < 1.05
        table = answers[:dimension]  # of the extreme policies
        assert (table.argmax(axis=0) == np.arange(dimension)).all()
        assert (np.diag(table) - np.sort(table, axis=0)[-2] > 0.05).all()


@pytest.mark.parametrize("name", RANDOM_ORACLES)
def test_a_seed_is_an_instance(name: str) -> None:
    weights = preferences(3, 5)
    first, again, other = (RANDOM_ORACLES[name](3, seed).optimum(weights) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-6


def test_payoff_units_take_each_objective_of_the_extreme_policies_to_the_unit_interval() -> None:
    oracle = random_bandit(3, 0, units=payoff_units)
    table = np.stack([oracle(row) for row in np.eye(3)])
    np.testing.assert_allclose(table.min(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(table.max(axis=0), 1.0, atol=1e-12)


def test_a_finite_front_answers_ties_with_the_lowest_index() -> None:
    front = FiniteFront([[0.25, 0.75], [0.5, 0.5], [0.75, 0.25], [0.5, 0.5]])
    np.testing.assert_array_equal(front(np.array([0.5, 0.5])), [0.25, 0.75])
    np.testing.assert_array_equal(front(np.array([1.0, 0.0])), [0.75, 0.25])


def test_an_answer_is_the_callers_own() -> None:
    front = FiniteFront([[1.0, 0.0]])
    front(np.array([0.5, 0.5]))[:] = 7.0
    np.testing.assert_array_equal(front(np.array([0.5, 0.5])), [1.0, 0.0])


def test_units_change_the_policy_that_a_weight_vector_means() -> None:
    front = FiniteFront([[10.0, 0.0], [0.0, 1.0]])
    units = Normalization(offset=np.zeros(2), scale=np.array([10.0, 1.0]))
    weights = np.array([0.4, 0.6])
    np.testing.assert_array_equal(front(weights), [10.0, 0.0])
    np.testing.assert_array_equal(Normalized(front, units)(weights), [0.0, 1.0])


@given(st.integers(0, 500), st.sampled_from([0.0, 0.004]), st.sampled_from([0.0, 0.005]))
def test_noise_stays_within_its_bounds(seed: int, eta: float, tau: float) -> None:
    exact = Ellipsoid(center=np.ones(3), shape=np.eye(3) + 0.3)
    noisy = Noisy(exact, eta=eta, tau=tau, seed=seed)
    for weights in preferences(3, 5, seed):
        reported, trained = noisy(weights), noisy.trained(weights)
        assert np.abs(reported - trained).max() <= eta
        assert weights @ trained >= exact.optimum(weights[None])[0] - tau - 1e-12
        np.testing.assert_array_equal(reported, noisy(weights))


def test_noise_differs_between_seeds_and_weight_vectors() -> None:
    exact = FiniteFront([[0.5, 0.5]])
    first, second = preferences(2, 2)[2:]
    noisy = Noisy(exact, eta=0.1, tau=0.0, seed=0)
    assert (noisy(first) != noisy(second)).all()
    assert (noisy(first) != Noisy(exact, eta=0.1, tau=0.0, seed=1)(first)).all()
    np.testing.assert_array_equal(noisy.optimum(first[None]), [0.5])


@pytest.mark.parametrize("oracle", [FiniteFront(np.eye(2)), random_bandit(2, 0)])
@pytest.mark.parametrize(
    "weights", [[0.5, 0.6], [-0.5, 1.5], [np.nan, 1.0], [1.0], [0.2, 0.3, 0.5]]
)
def test_weights_off_the_simplex_are_refused(oracle: Oracle, weights: list[float]) -> None:
    with pytest.raises(ValueError, match=r"weight vector 0 is|must have shape"):
        oracle(np.array(weights))


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"beta": 0.0}, "beta is 0.0; the KL coefficient must be finite and positive"),
        ({"beta": np.nan}, "beta is nan"),
        ({"reference": [[0.5, 0.6]]}, "must be positive and sum to 1"),
        ({"reference": [[1.0, 0.0]]}, "must be positive and sum to 1"),
        ({"reference": [[1.0]]}, "reference must have shape"),
        ({"rewards": [[[np.inf, 0.0], [0.0, 1.0]]]}, "rewards must be finite"),
        ({"rewards": [[0.0, 1.0]]}, "rewards must have 3 axes"),
    ],
)
def test_a_bandit_that_is_none_is_refused(arguments: dict[str, Any], rule: str) -> None:
    valid = {"rewards": [[[1.0, 0.0], [0.0, 1.0]]], "reference": [[0.5, 0.5]], "beta": 0.1}
    with pytest.raises(ValueError, match=rule):
        KLBandit(**{**valid, **arguments})


@pytest.mark.parametrize(
    "shape", [[[1.0, 2.0], [2.0, 1.0]], [[1.0, 0.5], [0.0, 1.0]], [[1.0]], [[0.0, 0.0], [0.0, 0.0]]]
)
def test_a_front_that_is_no_ellipsoid_is_refused(shape: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="shape must be"):
        Ellipsoid(center=np.zeros(2), shape=shape)


def test_noise_must_be_bounded() -> None:
    for wrong in (-0.1, np.inf, np.nan):
        with pytest.raises(ValueError, match="must be finite and at least 0"):
            Noisy(FiniteFront(np.eye(2)), eta=wrong, tau=0.0, seed=0)


def test_objectives_that_do_not_conflict_have_no_units() -> None:
    with pytest.raises(InvalidResult, match="does not trade off"):
        payoff_units(FiniteFront([[1.0, 1.0], [0.5, 0.5]]))
    with pytest.raises(ValueError, match="units have 2 objectives, not 3"):
        Normalized(FiniteFront(np.eye(3)), Normalization(offset=np.zeros(2), scale=np.ones(2)))
