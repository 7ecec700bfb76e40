"""PRUNE: the cover rule, golden portfolios, what is measured on the grid."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from palm.errors import InvalidResult, NoCover
from palm.grid import construct_grid
from palm.objective import scalarize
from palm.pruning import covers, greedy_cover, minimum_cover, optimum, prune, reverse_delete

FOLDER = Path(__file__).parent / "golden"
PRUNE = json.loads((FOLDER / "prune.json").read_text())["cases"]
MISSING = json.loads((FOLDER / "missing.json").read_text())["cases"]

tolerances = st.floats(0, 1)
objectives = arrays(float, (6, 5), elements=st.floats(-10, 10, allow_subnormal=False))
GRID = construct_grid(Fraction(19, 30), Fraction(2, 5), dimension=3)
fronts = arrays(float, (8, 3), elements=st.floats(0, 1, allow_subnormal=False))


@pytest.mark.parametrize("case", PRUNE, ids=lambda case: case["name"])
def test_golden_portfolios_are_reproduced(case: dict[str, Any]) -> None:
    weights, u = np.array(case["weights"]), np.array(case["values"])
    tolerance = {"mu": case["mu_prime"], "alpha": case["alpha_prime"]}
    objective = scalarize(weights=weights, utilities=u)
    np.testing.assert_allclose(optimum(objective), case["opt"], atol=1e-11)
    matrix = covers(objective, **tolerance)
    assert matrix.sum() == case["covered_pairs"]
    assert matrix.sum(axis=0).tolist() == case["row_sums"]  # rows of the file are policies

    exact = prune(weights=weights, utilities=u, solver="Exact", **tolerance)
    assert len(exact.indices) == case["optimal_size"]
    assert list(exact.indices) == case["lexmin_optimal"]
    assert exact.proven
    picked = greedy_cover(matrix)
    assert list(picked) == case["greedy"]
    assert list(reverse_delete(matrix, cover=picked)) == case["greedy_reverse_delete"]
    greedy = prune(weights=weights, utilities=u, solver="Greedy", **tolerance)
    assert list(greedy.indices) == sorted(case["greedy"])
    assert not greedy.proven
    # No decision is nearer to its threshold than the file says.
    size = np.abs(exact.optimum)
    threshold = exact.optimum - tolerance["mu"] * size - tolerance["alpha"]
    margin = np.abs(objective - threshold[:, None]).min()
    assert margin == pytest.approx(case["min_margin"], rel=0.01)


@pytest.mark.parametrize("case", MISSING, ids=lambda case: f"{case['d']}-objectives")
def test_weight_vectors_of_failed_policies_are_still_covered(case: dict[str, Any]) -> None:
    weights = np.array(case["weights"])
    trained = [i for i, value in enumerate(case["values"]) if value is not None]
    assert sorted(set(range(len(weights))) - set(trained)) == case["missing"]
    u = np.array([case["values"][i] for i in trained])
    expected = case["expected"]["best_known"]
    pruning = prune(
        weights=weights,
        utilities=u,
        mu=case["mu_prime"],
        alpha=0.0,
        solver="Exact",
        trained_at=trained,
    )
    np.testing.assert_allclose(pruning.optimum, expected["opt"], atol=1e-11)
    assert len(pruning.indices) == expected["optimal_size"]
    assert expected["uncoverable_weights"] == []
    assert pruning.oracle_regret is not None
    assert pruning.oracle_regret.shape == (len(trained),)


@given(objectives, tolerances, tolerances, tolerances, tolerances)
def test_raising_a_tolerance_only_adds_covered_pairs(
    objective: np.ndarray, mu: float, more_mu: float, alpha: float, more_alpha: float
) -> None:
    before = covers(objective, mu=mu, alpha=alpha)
    after = covers(objective, mu=max(mu, more_mu), alpha=alpha + more_alpha)
    assert (before <= after).all()


@given(objectives, tolerances, tolerances)
def test_the_best_policy_covers_its_weight_vector_also_where_the_optimum_is_negative(
    objective: np.ndarray, mu: float, alpha: float
) -> None:
    matrix = covers(objective, mu=mu, alpha=alpha)
    assert matrix[np.arange(len(objective)), objective.argmax(axis=1)].all()


@given(
    arrays(float, (6, 5), elements=st.floats(0, 10, allow_subnormal=False)), tolerances, tolerances
)
def test_where_optima_are_not_negative_the_rule_is_the_papers(
    objective: np.ndarray, mu: float, alpha: float
) -> None:
    threshold = (1 - mu) * optimum(objective)[:, None] - alpha
    decided = np.abs(objective - threshold) > 1e-9
    printed = objective >= threshold
    assert (covers(objective, mu=mu, alpha=alpha) == printed)[decided].all()


@given(fronts, st.floats(0, 0.5), st.floats(0, 0.2), st.sampled_from(["Exact", "Greedy"]))
def test_a_portfolio_keeps_its_promise_on_every_weight_vector_of_the_grid(
    u: np.ndarray, mu: float, alpha: float, solver: Any
) -> None:
    pruning = prune(weights=GRID, utilities=u, mu=mu, alpha=alpha, solver=solver)
    served = scalarize(weights=GRID, utilities=u[list(pruning.indices)]).max(axis=1)
    assert (served >= (1 - mu) * pruning.optimum - alpha - 1e-11).all()
    assert pruning.delta == pytest.approx((pruning.optimum - served).max(), abs=1e-15)
    assert list(pruning.indices) == sorted(set(pruning.indices))


@given(fronts, st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_larger_tolerance_never_gives_a_larger_exact_portfolio(
    u: np.ndarray, mu: float, more: float
) -> None:
    tight = prune(weights=GRID, utilities=u, mu=mu, alpha=0.0, solver="Exact")
    loose = prune(weights=GRID, utilities=u, mu=max(mu, more), alpha=0.0, solver="Exact")
    assert len(loose.indices) <= len(tight.indices)


@given(fronts, fronts)
def test_another_policy_never_lowers_an_optimum(u: np.ndarray, more: np.ndarray) -> None:
    before = prune(weights=GRID, utilities=u, mu=0.05, alpha=0.0, solver="Exact")
    after = prune(
        weights=GRID, utilities=np.concatenate([u, more]), mu=0.05, alpha=0.0, solver="Exact"
    )
    assert (after.optimum >= before.optimum).all()


@given(fronts, st.randoms(use_true_random=False))
def test_the_order_of_policies_and_weight_vectors_changes_neither_size_nor_optimum(
    u: np.ndarray, random: Any
) -> None:
    rows, columns = list(range(len(GRID))), list(range(len(u)))
    random.shuffle(rows)
    random.shuffle(columns)
    plain = prune(weights=GRID, utilities=u, mu=0.05, alpha=0.0, solver="Exact")
    shuffled = prune(weights=GRID[rows], utilities=u[columns], mu=0.05, alpha=0.0, solver="Exact")
    assert len(shuffled.indices) == len(plain.indices)
    np.testing.assert_array_equal(shuffled.optimum, plain.optimum[rows])


@given(fronts)
def test_of_equal_policies_the_lowest_index_is_kept(u: np.ndarray) -> None:
    plain = prune(weights=GRID, utilities=u, mu=0.02, alpha=0.0, solver="Exact")
    doubled = prune(
        weights=GRID, utilities=np.concatenate([u, u]), mu=0.02, alpha=0.0, solver="Exact"
    )
    assert doubled.indices == plain.indices


def test_epsilon_and_delta_are_the_worst_measured_shortfalls_not_the_tolerances() -> None:
    u = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.6], [0.99, 0.0]])
    weights = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    pruning = prune(weights=weights, utilities=u, mu=0.2, alpha=0.0, solver="Exact")
    assert pruning.indices == (0, 1)
    assert pruning.epsilon == pytest.approx(0.1 / 0.6)
    assert pruning.delta == pytest.approx(0.1)


def test_a_relative_shortfall_means_nothing_where_an_optimum_is_negative() -> None:
    negative = np.array([[1.0, -1.0], [0.9, -1.0]])
    assert (
        prune(weights=np.eye(2), utilities=negative, mu=0.0, alpha=0.2, solver="Exact").epsilon
        is None
    )
    missed_zero = np.array([[0.0, 0.3], [-0.1, 0.4]])
    missed = prune(weights=np.eye(2), utilities=missed_zero, mu=0.0, alpha=0.1, solver="Exact")
    assert missed.indices == (0,)
    assert missed.epsilon == pytest.approx(0.25)
    reverse = prune(
        weights=np.eye(2), utilities=missed_zero[::-1], mu=0.0, alpha=0.1, solver="Exact"
    )
    assert reverse.indices == (0,)
    assert reverse.epsilon is None


def test_oracle_regret_is_what_a_policy_lacks_at_the_weight_vector_it_was_trained_for() -> None:
    u = np.array([[0.9, 0.0], [1.0, 0.8]])
    pruning = prune(
        weights=np.eye(2), utilities=u, mu=0.0, alpha=0.0, solver="Exact", trained_at=[0, 1]
    )
    np.testing.assert_allclose(pruning.oracle_regret, [0.1, 0.0])


@pytest.mark.parametrize("trained_at", [[0], [0, 2], [-1, 0]])
def test_a_wrong_training_index_is_refused(trained_at: list[int]) -> None:
    with pytest.raises(ValueError, match="it must name one of 2 weight vectors for each of 2"):
        prune(
            weights=np.eye(2),
            utilities=np.eye(2),
            mu=0.0,
            alpha=0.0,
            solver="Exact",
            trained_at=trained_at,
        )


def test_deployed_policies_win_ties_only_in_the_exact_solver() -> None:
    u = np.array([[1.0, 1.0], [1.0, 1.0]])
    call = {"weights": np.eye(2), "utilities": u, "mu": 0.0, "alpha": 0.0, "preferred": [1]}
    assert prune(solver="Exact", **call).indices == (1,)
    greedy = prune(solver="Greedy", **call)
    assert greedy.indices == (0,)
    assert greedy.proven  # nothing is smaller than one policy


def test_without_any_policy_every_weight_vector_is_uncovered() -> None:
    with pytest.raises(NoCover) as caught:
        prune(weights=np.eye(3), utilities=np.empty((0, 3)), mu=0.1, alpha=0.0, solver="Exact")
    assert caught.value.weights == (0, 1, 2)


def test_without_any_weight_vector_there_is_nothing_to_prune_for() -> None:
    with pytest.raises(ValueError, match="weights is empty"):
        prune(weights=np.empty((0, 2)), utilities=np.eye(2), mu=0.1, alpha=0.0, solver="Exact")


def test_a_utility_that_is_not_finite_is_refused_by_row_and_column() -> None:
    u = np.array([[1.0, 0.0], [np.nan, 1.0]])
    with pytest.raises(InvalidResult, match="utility in row 1, column 0 is nan"):
        prune(weights=np.eye(2), utilities=u, mu=0.1, alpha=0.0, solver="Greedy")


@pytest.mark.parametrize(
    ("mu", "alpha", "message"),
    [
        (-0.1, 0.0, r"mu is -0.1; .* in \[0, 1\]"),
        (1.1, 0.0, r"mu is 1.1; .* in \[0, 1\]"),
        (float("nan"), 0.0, r"mu is nan; .* in \[0, 1\]"),
        (0.1, -1.0, "alpha is -1.0; .* at least 0"),
        (0.1, float("inf"), "alpha is inf; .* finite"),
    ],
)
def test_tolerances_out_of_range_are_refused_with_the_value(
    mu: float, alpha: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        covers(np.ones((1, 1)), mu=mu, alpha=alpha)


def test_an_optimum_needs_a_policy() -> None:
    with pytest.raises(ValueError, match=r"at least one policy, not \(2, 0\)"):
        optimum(np.empty((2, 0)))


def test_exact_covers_of_a_whole_objective_agree_with_prune() -> None:
    u = GRID / np.linalg.norm(GRID, axis=1, keepdims=True)
    matrix = covers(scalarize(weights=GRID, utilities=u), mu=0.05, alpha=0.0)
    pruning = prune(weights=GRID, utilities=u, mu=0.05, alpha=0.0, solver="Exact")
    assert pruning.indices == minimum_cover(matrix).indices
