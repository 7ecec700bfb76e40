"""Routing, policy usage, perplexity."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from palm.errors import InvalidResult
from palm.usage import best_policy, perplexity, policy_usage

ROUTING = json.loads((Path(__file__).parent / "golden" / "routing.json").read_text())["cases"]


@pytest.mark.parametrize("case", ROUTING, ids=["two-objectives", "three-objectives"])
def test_golden_assignments_are_reproduced(case: dict[str, Any]) -> None:
    u = np.array(case["values"])
    served = best_policy(weights=np.array(case["weights"]), utilities=u)
    assert served.tolist() == case["assign"]
    shares = np.bincount(served, minlength=len(u)) / len(served)
    assert perplexity(shares) == pytest.approx(case["perplexity"], rel=1e-9)


def test_ties_go_to_the_lower_index_in_every_chunk() -> None:
    generator = np.random.default_rng(1)
    weights = generator.dirichlet(np.ones(3), size=40_001)
    u = generator.random((4, 3))
    served = best_policy(weights=weights, utilities=np.concatenate([u, u]))
    assert served.max() < 4
    np.testing.assert_array_equal(served, (weights @ u.T).argmax(axis=1))


@given(arrays(int, (5, 2), elements=st.integers(0, 20)))
def test_usage_of_two_objectives_is_what_dense_sampling_sees(grades: np.ndarray) -> None:
    u = grades / 20
    t = (np.arange(20_000) + 0.5) / 20_000
    served = best_policy(weights=np.column_stack([t, 1 - t]), utilities=u)
    sampled = np.bincount(served, minlength=5) / len(t)
    shares = policy_usage(u)
    assert shares.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(shares, sampled, atol=2 / len(t))


def test_usage_of_two_objectives_is_exact() -> None:
    u = np.array([[1.0, 0.0], [0.0, 1.0], [0.75, 0.75], [0.75, 0.75], [0.5, 0.5]])
    np.testing.assert_allclose(policy_usage(u), [0.25, 0.25, 0.5, 0.0, 0.0], atol=1e-15)


def test_a_policy_that_only_ties_at_a_corner_serves_nobody() -> None:
    u = np.array([[0.0, 1.0], [0.5, 1.0], [0.5, 0.0]])
    np.testing.assert_array_equal(policy_usage(u), [0.0, 1.0, 0.0])


def test_usage_of_three_objectives_is_symmetric_within_sampling_error() -> None:
    np.testing.assert_allclose(policy_usage(np.eye(3)), np.ones(3) / 3, atol=0.006)


@given(st.integers(0, 10_000))
def test_usage_is_the_same_every_time_and_sums_to_one(seed: int) -> None:
    u = np.random.default_rng(seed % 7).random((4, 3))
    shares = policy_usage(u)
    np.testing.assert_array_equal(shares, policy_usage(u))
    assert shares.sum() == pytest.approx(1.0)


def test_with_one_objective_the_best_policy_serves_everybody() -> None:
    np.testing.assert_array_equal(policy_usage(np.array([[0.2], [0.9], [0.9]])), [0, 1, 0])


@given(st.integers(1, 50))
def test_perplexity_of_equal_shares_is_their_number(count: int) -> None:
    assert perplexity(np.ones(count) / count) == pytest.approx(count)


def test_unused_policies_do_not_count_in_perplexity() -> None:
    assert perplexity([0.5, 0.5, 0.0]) == pytest.approx(2.0)
    assert perplexity([1.0, 0.0]) == pytest.approx(1.0)


@pytest.mark.parametrize("shares", [[0.5, 0.6], [1.5, -0.5], [np.nan, 1.0], []])
def test_shares_must_be_a_distribution(shares: list[float]) -> None:
    with pytest.raises(ValueError, match="must be at least 0 and sum to 1"):
        perplexity(shares)


@pytest.mark.parametrize("shape", [(0, 2), (2, 0), (2,)])
def test_usage_needs_a_policy(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least one policy"):
        policy_usage(np.zeros(shape))


def test_a_utility_that_is_not_finite_serves_nobody() -> None:
    with pytest.raises(InvalidResult, match="utility in row 0, column 1 is nan"):
        policy_usage(np.array([[1.0, np.nan], [0.0, 1.0]]))
