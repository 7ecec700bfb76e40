"""Corner weights: where the cells of the best policies meet."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.spatial import QhullError

import palm.corners
from palm.bounds import lower_bound
from palm.corners import corner_weights
from palm.errors import InvalidResult


@st.composite
def fronts(draw: st.DrawFn) -> np.ndarray:
    """Utilities with ties, duplicates and dominated policies among them."""
    d, n = draw(st.integers(1, 5)), draw(st.integers(1, 8))
    entry = st.one_of(st.integers(-2, 2).map(float), st.floats(-2, 2).map(lambda x: round(x, 3)))
    return np.array([draw(st.lists(entry, min_size=d, max_size=d)) for _ in range(n)])


def assert_complete(corners: np.ndarray, front: np.ndarray) -> None:
    """Best values at the corners determine them everywhere: no corner is missing."""
    values = lower_bound(corners, front)
    for w in np.random.default_rng(0).dirichlet(np.ones(front.shape[1]), size=6):
        hull = linprog(values, A_eq=corners.T, b_eq=w, bounds=(0, None), method="highs").fun
        assert hull == pytest.approx(float((front @ w).max()), abs=1e-9)


@given(fronts())
def test_the_best_values_are_the_lower_hull_of_those_at_the_corners(front: np.ndarray) -> None:
    corners = corner_weights(front)
    assert_complete(corners, front)
    assert (corners >= 0).all()
    np.testing.assert_allclose(corners.sum(axis=1), 1.0, atol=1e-15)
    for unit in np.eye(front.shape[1]):
        assert (corners == unit).all(axis=1).any()


@given(fronts())
def test_at_a_corner_inside_a_face_as_many_policies_tie_as_it_has_coordinates(
    front: np.ndarray,
) -> None:
    for w in corner_weights(front):
        values = front @ w
        tied = front[values >= values.max() - 1e-9][:, w > 0]
        assert np.linalg.matrix_rank(tied - tied[0], tol=1e-9) == (w > 0).sum() - 1


@given(fronts(), st.randoms(use_true_random=False))
def test_corners_depend_neither_on_order_nor_on_copies_nor_on_a_common_shift(
    front: np.ndarray, random: st.DataObject
) -> None:
    rows = list(range(len(front))) * 2
    random.shuffle(rows)
    shifted = 3.0 * front[rows] + np.arange(front.shape[1])
    np.testing.assert_allclose(corner_weights(shifted), corner_weights(front), atol=1e-9)


def test_the_corners_of_two_objectives_are_where_the_lead_changes() -> None:
    front = np.array([[1.0, 0.0], [0.0, 1.0], [0.7, 0.7], [0.5, 0.5]])
    expected = [[0.0, 1.0], [0.3, 0.7], [0.7, 0.3], [1.0, 0.0]]
    np.testing.assert_allclose(corner_weights(front), expected, atol=1e-15)


def test_one_policy_leaves_only_the_extremes() -> None:
    for d in (1, 2, 3, 6):
        np.testing.assert_array_equal(corner_weights(np.ones((1, d))), np.eye(d)[::-1])


@pytest.mark.parametrize("d", [6, 7, 8])
def test_many_objectives_with_policies_that_are_nearly_equal(d: int) -> None:
    generator = np.random.default_rng(d)
    front = np.repeat(generator.random((9, d)), 2, axis=0)
    front += 1e-12 * generator.normal(size=front.shape)
    assert_complete(corner_weights(front), front)


def test_where_qhull_gives_up_it_is_asked_with_joggled_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    intersection = palm.corners.HalfspaceIntersection

    def gives_up_once(*arguments: np.ndarray, qhull_options: str | None = None) -> object:
        if qhull_options is None:
            raise QhullError("precision")
        return intersection(*arguments, qhull_options=qhull_options)

    front = np.random.default_rng(0).random((9, 4))
    monkeypatch.setattr(palm.corners, "HalfspaceIntersection", gives_up_once)
    assert_complete(corner_weights(front), front)


def test_what_is_no_front_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one policy"):
        corner_weights(np.empty((0, 3)))
    with pytest.raises(InvalidResult, match="utility in row 0, column 1 is inf"):
        corner_weights(np.array([[0.0, np.inf]]))
