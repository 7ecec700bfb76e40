"""Packed cover matrices: the same decisions as the boolean rule, at a bit per pair."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from palm.cover_matrix import CoverMatrix, cover_matrix
from palm.errors import InvalidResult
from palm.objective import scalarize
from palm.pruning import covers

matrices = st.tuples(st.integers(1, 20), st.integers(1, 20)).flatmap(lambda s: arrays(bool, s))


@given(matrices)
def test_packing_loses_nothing(matrix: np.ndarray) -> None:
    packed = CoverMatrix.packed(matrix)
    assert packed.shape == matrix.shape
    everything = np.arange(len(matrix))
    np.testing.assert_array_equal(packed.boolean(), matrix)
    np.testing.assert_array_equal(packed.columns(range(matrix.shape[1])), matrix)
    np.testing.assert_array_equal(packed.rows(everything[::2]), matrix[::2])
    np.testing.assert_array_equal(packed.counts(everything), matrix.sum(axis=0))
    np.testing.assert_array_equal(packed.uncovered(), np.flatnonzero(~matrix.any(axis=1)))


@given(st.integers(0, 10**6), st.floats(0, 0.3), st.floats(0, 0.1))
def test_blocks_decide_as_the_rule_does_on_everything_at_once(
    seed: int, mu: float, alpha: float
) -> None:
    generator = np.random.default_rng(seed)
    d = int(generator.integers(1, 5))
    weights = generator.dirichlet(np.ones(d), size=int(generator.integers(1, 300)))
    u = generator.normal(size=(int(generator.integers(1, 900)), d))
    matrix, observed = cover_matrix(weights=weights, utilities=u, mu=mu, alpha=alpha)
    objective = scalarize(weights=weights, utilities=u)
    np.testing.assert_array_equal(observed, objective.max(axis=1))
    np.testing.assert_array_equal(matrix.boolean(), covers(objective, mu=mu, alpha=alpha))


@given(st.integers(0, 10**6), st.floats(0, 0.3))
def test_a_higher_optimum_only_removes_covered_pairs_and_a_lower_one_changes_nothing(
    seed: int, mu: float
) -> None:
    generator = np.random.default_rng(seed)
    weights, u = generator.dirichlet(np.ones(3), size=30), generator.random((10, 3))
    plain, observed = cover_matrix(weights=weights, utilities=u, mu=mu, alpha=0.0)
    call = {"weights": weights, "utilities": u, "mu": mu, "alpha": 0.0}
    higher, _ = cover_matrix(optimum=observed + generator.random(30) / 5, **call)
    assert (higher.boolean() <= plain.boolean()).all()
    lower, _ = cover_matrix(optimum=observed - 1.0, **call)
    np.testing.assert_array_equal(lower.bits, plain.bits)


def test_more_than_a_byte_of_covered_rows_are_counted() -> None:
    matrix = np.ones((1000, 3), dtype=bool)
    matrix[::2, 1] = False
    assert CoverMatrix.packed(matrix).counts(np.arange(1000)).tolist() == [1000, 500, 1000]


def test_an_optimum_that_is_not_finite_or_does_not_fit_is_refused() -> None:
    call = {"weights": np.eye(2), "utilities": np.eye(2), "mu": 0.0, "alpha": 0.0}
    for wrong in (np.zeros(3), np.array([0.0, np.inf])):
        with pytest.raises(ValueError, match=r"optimum must have shape \(2,\) and be finite"):
            cover_matrix(optimum=wrong, **call)
    with pytest.raises(ValueError, match="there must be a policy"):
        cover_matrix(**{**call, "utilities": np.empty((0, 2))})
    with pytest.raises(InvalidResult, match="row 0, column 1 is nan"):
        cover_matrix(**{**call, "utilities": np.array([[0.0, np.nan]])})
