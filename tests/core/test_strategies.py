"""Weight vectors of the baselines: on the simplex, distinct, in order, the same everywhere."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.grid import GRID_LIMIT
from palm.objective import check_weights
from palm.strategies import (
    explicit_weights,
    random_weights,
    uniform_palm_weights,
    uniform_weights,
    with_extremes,
)


def assert_in_order(weights: np.ndarray) -> None:
    check_weights(weights)
    rows = [tuple(row) for row in weights.tolist()]
    assert rows == sorted(set(rows))


@given(st.integers(2, 40))
def test_two_objectives_are_evenly_spaced_with_both_ends(count: int) -> None:
    weights = uniform_weights(count, dimension=2)
    steps = [k / (count - 1) for k in range(count)]
    np.testing.assert_array_equal(weights, np.column_stack([steps, steps[::-1]]))


@given(st.integers(2, 60), st.integers(2, 5), st.integers(0, 100))
def test_uniform_weights_are_of_the_smallest_lattice_that_has_enough(
    count: int, dimension: int, seed: int
) -> None:
    weights = uniform_weights(count, dimension=dimension, seed=seed)
    assert weights.shape == (count, dimension)
    assert_in_order(weights)
    denominators = [
        m for m in range(1, count + 1) if np.allclose(weights * m, np.rint(weights * m), atol=1e-9)
    ]
    smallest = next(m for m in range(1, count + 1) if len(lattice(m, dimension)) >= count)
    assert smallest in denominators
    np.testing.assert_array_equal(weights, uniform_weights(count, dimension=dimension, seed=seed))


def lattice(m: int, d: int) -> list[tuple[int, ...]]:
    if d == 1:
        return [(m,)]
    return [(k, *rest) for k in range(m + 1) for rest in lattice(m - k, d - 1)]


def test_a_whole_lattice_is_taken_whole() -> None:
    weights = uniform_weights(15, dimension=3, seed=1)
    np.testing.assert_array_equal(weights, np.array(lattice(4, 3)) / 4)


def test_the_papers_random_subset_of_a_lattice_may_leave_out_extremes() -> None:
    subsets = [uniform_weights(4, dimension=3, seed=seed) for seed in range(20)]
    assert len({tuple(map(tuple, s.tolist())) for s in subsets}) > 5
    assert any((s.max(axis=0) < 1).any() for s in subsets)
    for s in subsets:
        completed = with_extremes(s)
        assert (completed.max(axis=0) == 1).all()
        assert_in_order(completed)
        assert {tuple(row) for row in s.tolist()} <= {tuple(row) for row in completed.tolist()}


def test_one_uniform_weight_vector_is_the_centre() -> None:
    np.testing.assert_array_equal(uniform_weights(1, dimension=4), np.full((1, 4), 0.25))
    np.testing.assert_array_equal(uniform_weights(1, dimension=1), [[1.0]])


@given(st.integers(1, 50), st.integers(2, 6), st.integers(0, 100))
def test_random_weights_are_seeded_distinct_and_ordered(
    count: int, dimension: int, seed: int
) -> None:
    weights = random_weights(count, dimension=dimension, seed=seed)
    assert weights.shape == (count, dimension)
    assert_in_order(weights)
    np.testing.assert_array_equal(weights, random_weights(count, dimension=dimension, seed=seed))
    assert not np.array_equal(weights, random_weights(count, dimension=dimension, seed=seed + 1))


def test_random_weights_are_uniform_on_the_simplex() -> None:
    """Dirichlet(1): coordinates have mean 1/d, variance (d-1)/(d²(d+1)), are exchangeable."""
    weights = random_weights(20_000, dimension=3, seed=0)
    np.testing.assert_allclose(weights.mean(axis=0), 1 / 3, atol=0.006)
    np.testing.assert_allclose(weights.var(axis=0), 2 / 36, atol=0.002)
    tail = (weights > 0.5).mean(axis=0)  # (1 - 0.5)^(d-1)
    np.testing.assert_allclose(tail, 0.25, atol=0.01)


def test_random_weights_never_change_between_versions() -> None:
    """Policies are addressed by their weight vectors: another draw would train all of them anew."""
    cuts = [0.13436424411240122, 0.8474337369372327]  # random.Random(1), as documented
    drawn = random_weights(1, dimension=3, seed=1)
    np.testing.assert_array_equal(drawn, [[cuts[0], cuts[1] - cuts[0], 1.0 - cuts[1]]])
    chosen = uniform_weights(3, dimension=3, seed=1)
    np.testing.assert_array_equal(chosen, np.eye(3)[::-1])
    subset = uniform_weights(4, dimension=3, seed=1) * 2
    np.testing.assert_array_equal(subset, [[0, 0, 2], [1, 0, 1], [1, 1, 0], [2, 0, 0]])


def test_uniform_palm_has_as_many_weight_vectors_as_the_grid() -> None:
    for dimension, calls in ((2, 17), (3, 217)):
        weights = uniform_palm_weights(Fraction(16, 30), Fraction(7, 100), dimension=dimension)
        assert len(weights) == calls


def test_explicit_weights_are_exact_and_ordered() -> None:
    third = Fraction(1, 3)
    vectors = [(Fraction("0.5"), Fraction("0.5"), Fraction(0)), (third, third, third)]
    weights = explicit_weights(vectors, dimension=3)
    np.testing.assert_array_equal(weights, [[1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0.0]])
    rounded = [tuple(map(Fraction, ("0.333333", "0.333333", "0.333333")))]
    np.testing.assert_array_equal(explicit_weights(rounded, dimension=3), [[1 / 3, 1 / 3, 1 / 3]])


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([], "there are 0 weight vectors"),
        ([("0.5", "0.5", "0")], r"weight vector 0 is \(1/2, 1/2, 0\); it must have 2 entries"),
        ([("1", "0"), ("1.5", "-0.5")], r"weight vector 1 is \(3/2, -1/2\)"),
        ([("0.5", "0.4")], "sum to 1"),
        ([()], "it must have 2 entries"),
        ([("1", "0"), ("0", "1"), ("1", "0")], r"weight vectors 0 and 2 are both \(1, 0\)"),
        ([("0.5", "0.5"), ("0.4999999", "0.4999999")], r"weight vectors 0 and 1 are both"),
    ],
)
def test_explicit_weights_that_are_none_are_refused_by_index(
    vectors: list[tuple[str, ...]], message: str
) -> None:
    exact = [tuple(map(Fraction, vector)) for vector in vectors]
    with pytest.raises(ValueError, match=message):
        explicit_weights(exact, dimension=2)


def test_explicit_weights_are_bounded() -> None:
    vectors = [(Fraction(k, 9), Fraction(9 - k, 9)) for k in range(10)]
    with pytest.raises(ValueError, match="there are 10 weight vectors; there must be 1 to 9"):
        explicit_weights(vectors, dimension=2, limit=9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"count": 0, "dimension": 2}, "count is 0"),
        ({"count": GRID_LIMIT + 1, "dimension": 2}, "count is 1000001"),
        ({"count": 2, "dimension": 0}, "dimension is 0"),
        ({"count": 2, "dimension": 65}, "dimension is 65"),
        ({"count": 2, "dimension": 1}, "with 1 objective there is one weight vector"),
    ],
)
def test_counts_and_dimensions_out_of_range_are_refused(call: dict[str, Any], message: str) -> None:
    for strategy in (uniform_weights, random_weights):
        with pytest.raises(ValueError, match=message):
            strategy(**call, seed=0)


def test_a_lattice_too_large_to_choose_from_is_refused_before_it_is_built() -> None:
    with pytest.raises(ValueError, match=r"900000 of \d+ evenly spaced .* too many to choose"):
        uniform_weights(900_000, dimension=64)
