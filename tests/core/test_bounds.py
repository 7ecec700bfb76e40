"""Bounds of opt_w between known weight vectors, checked against linear programs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.spatial import QhullError

import palm.lower_hull
from palm.bounds import lower_bound, upper_bound
from palm.errors import InvalidResult


def by_linear_program(w: np.ndarray, known: np.ndarray, values: np.ndarray) -> float:
    """The definition: the least convex combination of known optima; infinite if there is none."""
    result = linprog(values, A_eq=known.T, b_eq=w, bounds=(0, None), method="highs")
    return result.fun if result.status == 0 else np.inf


@st.composite
def known_optima(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Weight vectors (often on faces, repeated or in one hyperplane) and any values there."""
    d, n = draw(st.integers(1, 5)), draw(st.integers(1, 12))
    counts = draw(
        st.lists(
            st.lists(st.integers(0, 4), min_size=d, max_size=d).filter(any), min_size=n, max_size=n
        )
    )
    weights = np.array(counts, dtype=float)
    if draw(st.booleans()):
        weights = np.vstack([np.eye(d), weights])
    weights /= weights.sum(axis=1, keepdims=True)
    values = st.floats(-4, 4).map(lambda x: round(x, 3))
    return weights, np.array(draw(st.lists(values, min_size=len(weights), max_size=len(weights))))


@given(known_optima(), st.randoms(use_true_random=False))
def test_the_upper_bound_is_the_linear_program_and_never_below_it(
    known: tuple[np.ndarray, np.ndarray], random: st.DataObject
) -> None:
    weights, values = known
    generator = np.random.default_rng(random.randint(0, 2**32))
    anywhere = generator.dirichlet(np.ones(weights.shape[1]), size=4)
    inside = generator.dirichlet(np.ones(len(weights)), size=4) @ weights
    asked = np.vstack([anywhere, inside, weights])
    expected = np.array([by_linear_program(w, weights, values) for w in asked])
    bound = upper_bound(weights=weights, values=values)
    assert bound.points is None  # Qhull managed
    actual = bound(asked)
    np.testing.assert_allclose(actual, expected, atol=1e-9)
    assert (actual >= expected - 1e-11)[np.isfinite(expected)].all()


@given(known_optima())
def test_the_pieces_are_all_of_the_bound_where_the_unit_vectors_are_known(
    known: tuple[np.ndarray, np.ndarray],
) -> None:
    weights, values = known
    d = weights.shape[1]
    bound = upper_bound(
        weights=np.vstack([np.eye(d), weights]), values=np.concatenate([np.full(d, 2.0), values])
    )
    assert bound.walls.shape == (0, d)
    np.testing.assert_array_equal(bound(weights), (weights @ bound.pieces.T).max(axis=1))
    assert (bound(weights) <= values + 1e-9).all()


@given(known_optima())
def test_the_bounds_enclose_an_optimum_that_is_convex(
    known: tuple[np.ndarray, np.ndarray],
) -> None:
    weights, values = known
    generator = np.random.default_rng(len(values))
    front = generator.normal(size=(20, weights.shape[1]))
    optimum = upper_bound(weights=weights, values=lower_bound(weights, front))
    asked = generator.dirichlet(np.ones(weights.shape[1]), size=50)
    true = lower_bound(asked, front)
    assert (lower_bound(asked, front[:3]) <= true).all()
    assert (true <= optimum(asked) + 1e-9).all()


def test_outside_the_known_weight_vectors_there_is_no_upper_bound() -> None:
    weights = np.array([[0.2, 0.8], [0.6, 0.4]])
    bound = upper_bound(weights=weights, values=np.array([1.0, 2.0]))
    asked = np.array([[0.1, 0.9], [0.2, 0.8], [0.4, 0.6], [0.6, 0.4], [1.0, 0.0]])
    np.testing.assert_allclose(bound(asked), [np.inf, 1.0, 1.5, 2.0, np.inf])


def test_without_any_known_optimum_nothing_is_bounded() -> None:
    bound = upper_bound(weights=np.empty((0, 3)), values=np.empty(0))
    assert np.isinf(bound(np.eye(3))).all()


def test_of_equal_weight_vectors_the_lower_value_counts() -> None:
    weights = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    bound = upper_bound(weights=weights, values=np.array([3.0, 2.0, 1.0]))
    np.testing.assert_allclose(bound(np.array([[1.0, 0.0], [0.5, 0.5]])), [2.0, 1.5])


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_the_bound_scales_with_the_values(scale: float) -> None:
    weights = np.vstack([np.eye(3), np.full((1, 3), 1 / 3)])
    values = np.array([1.0, 1.0, 1.0, 0.5])
    asked = np.array([[0.5, 0.5, 0.0], [0.5, 0.3, 0.2]])
    bound = upper_bound(weights=weights, values=scale * values)
    np.testing.assert_allclose(bound(asked), [scale, scale * 0.7], rtol=1e-12)


@given(known_optima())
def test_where_qhull_gives_up_linear_programs_answer(known: tuple[np.ndarray, np.ndarray]) -> None:
    weights, values = known

    def gives_up(*_: object, **__: object) -> None:
        raise QhullError("precision")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(palm.lower_hull, "ConvexHull", gives_up)
        bound = upper_bound(weights=weights, values=values)
    asked = np.random.default_rng(0).dirichlet(np.ones(weights.shape[1]), size=4)
    expected = np.array([by_linear_program(w, weights, values) for w in asked])
    np.testing.assert_allclose(bound(asked), expected, atol=1e-9)
    for piece in bound.pieces:  # the chords of the extremes, if anything, are upper bounds too
        if bound.points is not None:
            assert (asked @ piece >= expected - 1e-9)[np.isfinite(expected)].all()


def test_facets_that_do_not_cover_everything_are_not_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = palm.lower_hull.ConvexHull

    class Loses:
        def __init__(self, points: np.ndarray, **options: str) -> None:
            hull = whole(points, **options)
            self.volume, self.equations, self.simplices = (
                hull.volume,
                hull.equations,
                hull.simplices,
            )
            if options:
                lower = np.flatnonzero(hull.equations[:, -2] < -1e-10)[0]
                self.equations = np.delete(hull.equations, lower, axis=0)
                self.simplices = np.delete(hull.simplices, lower, axis=0)

    monkeypatch.setattr(palm.lower_hull, "ConvexHull", Loses)
    weights = np.vstack([np.eye(3), np.full((1, 3), 1 / 3)])
    values = np.array([1.0, 1.0, 1.0, 0.5])
    bound = upper_bound(weights=weights, values=values)
    assert bound.points is not None
    asked = np.array([[0.5, 0.5, 0.0], [0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    np.testing.assert_allclose(bound(asked), [1.0, 0.7, 0.85])


def test_the_lower_bound_is_the_best_policy_also_in_many_blocks() -> None:
    generator = np.random.default_rng(1)
    weights, front = generator.dirichlet(np.ones(3), size=1000), generator.random((700, 3))
    expected = (weights @ front.T).max(axis=1)
    np.testing.assert_allclose(lower_bound(weights, front), expected, atol=1e-15)


def test_an_optimum_that_is_not_finite_is_refused() -> None:
    with pytest.raises(InvalidResult, match="value 1 is nan"):
        upper_bound(weights=np.eye(2), values=np.array([1.0, np.nan]))


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shapes \(n, d\) and \(n,\), not \(2, 2\) and \(3,\)"):
        upper_bound(weights=np.eye(2), values=np.zeros(3))
    with pytest.raises(ValueError, match=r"must have shape \(m, 2\), not \(3, 3\)"):
        upper_bound(weights=np.eye(2), values=np.zeros(2))(np.eye(3))
    with pytest.raises(ValueError, match="at least one policy"):
        lower_bound(np.eye(2), np.empty((0, 2)))
