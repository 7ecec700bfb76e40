"""CONSTRUCTGRID: published counts, golden grids, Lemma A.1."""

import itertools
import json
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from palm.grid import (
    construct_grid,
    effective_accuracies,
    grid_levels,
    grid_size,
    level_count,
    one_dimensional_grid,
)

GOLDEN_GRIDS = json.loads((Path(__file__).parent / "golden" / "grids.json").read_text())["cases"]

# Tables 5 and 6 of the paper: dimension, mu, alpha, oracle calls.
PUBLISHED_ORACLE_CALLS = [
    (2, "14/30", "0.07", 17),
    (2, "16/30", "0.07", 17),
    (2, "16/30", "0.05", 19),
    (2, "16/30", "0.02", 23),
    (2, "16/30", "0.01", 25),
    (3, "18/30", "0.8", 19),
    (3, "19/30", "0.4", 37),
    (3, "18/30", "0.3", 61),
    (3, "19/30", "0.2", 91),
]

accuracies = st.fractions(min_value=Fraction(1, 10), max_value=1, max_denominator=60)


@pytest.mark.parametrize(("dimension", "mu", "alpha", "oracle_calls"), PUBLISHED_ORACLE_CALLS)
def test_grid_has_the_published_number_of_oracle_calls(
    dimension: int, mu: str, alpha: str, oracle_calls: int
) -> None:
    weights = construct_grid(Fraction(mu), Fraction(alpha), dimension=dimension)
    assert len(weights) == oracle_calls
    assert grid_size(Fraction(mu), Fraction(alpha), dimension) == oracle_calls


def test_the_published_13_oracle_calls_of_rlvr_gsm_are_17() -> None:
    """13 is what levels for k = 0…5 and zero give, but then the lowest level exceeds α."""
    mu, alpha = Fraction("8/30"), Fraction("0.2")
    assert grid_size(mu, alpha, 2) == 17
    truncated = [(1 + mu) ** -k for k in range(6)]
    assert 2 * (len(truncated) + 1) - 1 == 13
    assert truncated[-1] > alpha


@pytest.mark.parametrize("case", GOLDEN_GRIDS, ids=lambda c: f"{c['d']}-{c['mu']}-{c['alpha']}")
def test_golden_grids_are_reproduced(case: dict[str, Any]) -> None:
    mu, alpha, dimension = Fraction(case["mu"]), Fraction(case["alpha"]), case["d"]
    assert level_count(mu, alpha) == case["n"]
    assert ((1 + mu) ** case["n"] == 1 / alpha) == case["exact"]
    levels = [float(level) for level in one_dimensional_grid(mu, alpha)]
    np.testing.assert_allclose(levels[::-1], case["onedim"], rtol=1e-14)
    np.testing.assert_array_equal(grid_levels(mu, alpha), levels)
    even = grid_levels(mu, alpha, spacing="Even")
    np.testing.assert_allclose(even[::-1], case["onedim_respaced"], rtol=1e-11)
    weights = construct_grid(mu, alpha, dimension=dimension)
    assert weights.shape == (case["count"], dimension)
    assert weights.dtype == np.float64
    # The file was sorted with rounding errors; equal coordinates are equal here.
    expected = sorted(case["weights_sorted"], key=lambda row: [round(x, 12) for x in row])
    np.testing.assert_allclose(weights, expected, atol=1e-14)
    np.testing.assert_allclose(weights.sum(axis=0), case["sum_of_w"], rtol=1e-10)
    np.testing.assert_allclose((weights**2).sum(), case["sum_of_squares"], rtol=1e-10)
    np.testing.assert_allclose(weights[weights > 0].min(), case["min_positive"], rtol=1e-10)


@given(mu=accuracies, alpha=accuracies, dimension=st.integers(1, 4))
def test_the_grid_is_that_of_exact_arithmetic_in_its_order(
    mu: Fraction, alpha: Fraction, dimension: int
) -> None:
    if grid_size(mu, alpha, dimension) > 1500:
        dimension = 2
    levels = one_dimensional_grid(mu, alpha)
    vectors = (v for v in itertools.product(levels, repeat=dimension) if max(v) == 1)
    exact = sorted({tuple(x / sum(v) for x in v) for v in vectors})
    weights = construct_grid(mu, alpha, dimension=dimension)
    assert weights.shape == (len(exact), dimension)
    np.testing.assert_allclose(weights, [[float(x) for x in w] for w in exact], atol=1e-15)


@given(mu=accuracies, alpha=accuracies)
def test_level_count_is_the_smallest_by_exact_multiplication(mu: Fraction, alpha: Fraction) -> None:
    power, count = Fraction(1), 0
    while power < 1 / alpha:
        power, count = power * (1 + mu), count + 1
    assert level_count(mu, alpha) == count


@given(mu=accuracies, exponent=st.integers(1, 30), side=st.sampled_from([-1, 0, 1]))
def test_level_count_is_exact_at_and_beside_exact_powers(
    mu: Fraction, exponent: int, side: int
) -> None:
    alpha = (1 + mu) ** -exponent * (1 + side * Fraction(1, 10**40))
    assert level_count(mu, alpha) == exponent + (side == -1)


@given(
    mu=accuracies,
    alpha=st.fractions(min_value=Fraction(1, 50), max_value=1, max_denominator=60),
    preference=st.lists(st.integers(1, 10_000), min_size=2, max_size=3),
)
def test_every_preference_has_a_weight_vector_as_near_as_lemma_a1_says(
    mu: Fraction, alpha: Fraction, preference: list[int]
) -> None:
    v = np.array(preference) / sum(preference)
    grid = construct_grid(mu, alpha, dimension=len(v))
    allowed = float(mu) * v + len(v) * float(alpha)
    assert (np.abs(grid - v) <= allowed + 1e-12).all(axis=1).any()


def test_permuting_the_coordinates_of_a_grid_gives_the_same_grid_to_the_last_bit() -> None:
    weights = construct_grid(Fraction(19, 30), Fraction(1, 5), dimension=3)
    rows = {tuple(w) for w in weights.tolist()}
    for order in itertools.permutations(range(3)):
        assert {tuple(w) for w in weights[:, order].tolist()} == rows


def test_weights_come_from_the_floats_nearest_to_the_exact_levels() -> None:
    mu, alpha = Fraction(1, 3), Fraction(1, 10**8)
    weights = construct_grid(mu, alpha, dimension=2)
    levels = np.array([float(level) for level in one_dimensional_grid(mu, alpha)])
    expected = levels[::-1] / (1 + levels[::-1])
    np.testing.assert_array_equal(weights[: len(levels), 0], expected)


def test_one_objective_has_one_weight_vector() -> None:
    weights = construct_grid(Fraction(1, 1000), Fraction(1, 1000), dimension=1)
    np.testing.assert_array_equal(weights, [[1.0]])
    assert grid_size(Fraction(1, 1000), Fraction(1, 1000), 1) == 1


def test_a_grid_above_the_limit_is_refused_with_its_count() -> None:
    with pytest.raises(ValueError, match=r"3 objectives has 91 weight vectors; at most 90 are"):
        construct_grid(Fraction(19, 30), Fraction(1, 5), dimension=3, limit=90)
    assert len(construct_grid(Fraction(19, 30), Fraction(1, 5), dimension=3, limit=91)) == 91


def test_too_many_levels_are_refused_with_their_count() -> None:
    with pytest.raises(ValueError, match=r"mu=0.000001 .* give 6907761 levels; at most 10000"):
        one_dimensional_grid(Fraction(1, 10**6), Fraction(1, 1000))


@pytest.mark.parametrize("mu", ["1e-9", "1e-99", "3333333333333333333333/10000000000000000000000"])
@pytest.mark.parametrize("alpha", ["1", "0.99999999999999999999999", "1e-99"])
@pytest.mark.parametrize("dimension", [2, 64])
def test_hostile_accuracies_are_counted_or_refused_at_once(
    mu: str, alpha: str, dimension: int
) -> None:
    start = time.monotonic()
    count = grid_size(Fraction(mu), Fraction(alpha), dimension)
    if count > 1_000_000:
        with pytest.raises(ValueError, match="at most 1000000 are allowed"):
            construct_grid(Fraction(mu), Fraction(alpha), dimension=dimension)
    else:
        assert len(construct_grid(Fraction(mu), Fraction(alpha), dimension=dimension)) == count
    assert time.monotonic() - start < 1


@pytest.mark.parametrize(
    ("mu", "alpha", "message"),
    [
        (Fraction(0), Fraction(1, 2), r"mu is 0; it must be in \(0, 1\]"),
        (Fraction(-1, 2), Fraction(1, 2), r"mu is -0.5; it must be in \(0, 1\]"),
        (Fraction(3, 2), Fraction(1, 2), r"mu is 1.5; it must be in \(0, 1\]"),
        (Fraction(1, 2), Fraction(0), r"alpha is 0; it must be in \(0, 1\]"),
        (Fraction(1, 2), Fraction(10**999), r"alpha is 1E\+999; it must be in \(0, 1\]"),
    ],
)
def test_accuracies_out_of_range_are_refused_with_the_value(
    mu: Fraction, alpha: Fraction, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        construct_grid(mu, alpha, dimension=2)


@pytest.mark.parametrize("dimension", [-1, 0, 65])
def test_a_dimension_out_of_range_is_refused_with_the_value(dimension: int) -> None:
    with pytest.raises(ValueError, match=f"dimension is {dimension}; it must be from 1 to 64"):
        grid_size(Fraction(1, 2), Fraction(1, 2), dimension)


@given(mu=accuracies, alpha=accuracies)
def test_both_spacings_keep_the_promise_of_their_accuracies(mu: Fraction, alpha: Fraction) -> None:
    """1 is a level, neighbours differ by at most 1+μ, and the lowest is at most α (Lemma A.1)."""
    for spacing in ("Descending", "Even"):
        levels = grid_levels(mu, alpha, spacing=spacing)
        attained_mu, attained_alpha = effective_accuracies(mu, alpha, spacing=spacing)
        assert levels[0] == 1.0
        assert levels[-1] == 0.0
        assert len(levels) == level_count(mu, alpha) + 2
        positive = levels[:-1]
        assert (positive[:-1] / positive[1:] <= 1 + attained_mu + 1e-12).all()
        assert positive[-1] <= attained_alpha * (1 + 1e-12)
        assert attained_mu <= mu + 1e-12
        assert attained_alpha <= alpha + 1e-12


def precedes(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    """Lexicographic order of rows whose equal entries may differ by their rounding."""
    differs = np.abs(first - second) > 1e-12
    return bool(differs.any() and first[differs][0] < second[differs][0])


@given(mu=accuracies, alpha=accuracies, dimension=st.integers(2, 3))
def test_an_evenly_spaced_grid_has_as_many_weight_vectors_and_the_same_faces(
    mu: Fraction, alpha: Fraction, dimension: int
) -> None:
    if grid_size(mu, alpha, dimension) > 1500:
        dimension = 2
    even = construct_grid(mu, alpha, dimension=dimension, spacing="Even")
    plain = construct_grid(mu, alpha, dimension=dimension)
    assert len({tuple(row) for row in even}) == len(even) == len(plain)
    assert all(precedes(*rows) for rows in itertools.pairwise(even))
    np.testing.assert_array_equal((even == 0).sum(axis=0), (plain == 0).sum(axis=0))


def test_where_the_levels_come_out_even_both_spacings_are_one() -> None:
    mu, alpha = Fraction(1, 2), Fraction(8, 27)
    np.testing.assert_array_equal(
        construct_grid(mu, alpha, dimension=3),
        construct_grid(mu, alpha, dimension=3, spacing="Even"),
    )
