"""The exact sweep for policies that cover intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.cover_matrix import CoverMatrix, cover_matrix
from palm.integer_cover import integer_cover
from palm.interval_cover import intervals
from palm.pruning import prune
from palm.set_cover import Cover, minimum_cover


@st.composite
def interval_matrices(draw: st.DrawFn) -> np.ndarray:
    """Cover matrices whose columns are intervals or empty; every row is covered."""
    points, policies = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    matrix = np.zeros((points, policies), dtype=bool)
    for policy in range(policies):
        first, last = sorted(draw(st.tuples(*[st.integers(0, points - 1)] * 2)))
        matrix[first : last + 1, policy] = draw(st.booleans())
    missing = np.flatnonzero(~matrix.any(axis=1))
    if len(missing):
        whole = np.zeros((points, 1), dtype=bool)
        whole[missing[0] : missing[-1] + 1] = True
        matrix = np.hstack([matrix, whole])
    return matrix


@given(interval_matrices(), st.data())
def test_the_sweep_and_integer_programming_agree_on_size_and_all_ties(
    matrix: np.ndarray, data: st.DataObject
) -> None:
    preferred = data.draw(st.sets(st.integers(0, matrix.shape[1] - 1)))
    liked = np.isin(np.arange(matrix.shape[1]), list(preferred))
    everyone = tuple(np.flatnonzero(matrix.any(axis=0)).tolist())
    expected, proven = integer_cover(matrix, start=everyone, liked=liked, deadline=float("inf"))
    assert proven
    swept = minimum_cover(matrix, preferred=preferred, time_limit=0.0)  # no time for a solver
    assert swept == Cover(indices=expected, proven=True, solver="Exact")


def test_a_column_with_a_gap_is_no_interval() -> None:
    gap = np.array([[1, 1], [0, 1], [1, 0]], dtype=bool)
    assert intervals(CoverMatrix.packed(gap)) is None
    whole = np.array([[0, 1, 0], [0, 1, 1], [0, 0, 1]], dtype=bool)
    np.testing.assert_array_equal(intervals(CoverMatrix.packed(whole)), [[3, 2], [0, 1], [1, 2]])


@pytest.mark.parametrize("order", ["ascending", "shuffled"])
def test_two_objectives_are_covered_exactly_at_sizes_where_integer_programming_gives_up(
    order: str,
) -> None:
    t = np.linspace(0, 1, 5001)
    if order == "shuffled":
        t = np.random.default_rng(0).permutation(t)
    weights = np.column_stack([t, 1 - t])
    circle = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    pruning = prune(weights=weights, utilities=circle, mu=0.001, alpha=0.0, solver="Exact")
    assert pruning.proven
    # A policy at angle a covers the angles within arccos(1 - mu) of it, 90 degrees in all.
    assert len(pruning.indices) == int(np.ceil((np.pi / 2) / (2 * np.arccos(1 - 0.001))))


def test_mixed_signs_may_leave_a_gap_and_are_covered_all_the_same() -> None:
    """Around the change of sign of opt_w the tolerance vanishes: the first policy is too low."""
    t = np.linspace(0, 1, 21)
    weights, front = np.column_stack([t, 1 - t]), np.array([[0.4, -0.6], [0.5, -0.5]])
    matrix, _ = cover_matrix(weights=weights, utilities=front, mu=0.9, alpha=0.0)
    assert intervals(matrix) is None
    assert matrix.columns([0])[[0, 10, 20], 0].tolist() == [True, False, True]
    pruning = prune(weights=weights, utilities=front, mu=0.9, alpha=0.0, solver="Exact")
    assert pruning.indices == (1,)
    assert pruning.proven
