"""The upper bound under a floor of utilities, checked against linear programs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from palm.bounds import upper_bound
from palm.floored import floored_upper_bound


def by_linear_program(
    w: np.ndarray, known: np.ndarray, values: np.ndarray, floor: np.ndarray
) -> float:
    """The definition: the best utilities above the floor that no known optimum rules out."""
    result = linprog(-w, A_ub=known, b_ub=values, bounds=[(f, None) for f in floor], method="highs")
    return -result.fun if result.status == 0 else np.inf


@st.composite
def fronts(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weight vectors, optima of some policies there, and a floor that these policies respect."""
    d, n = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = random.dirichlet(np.full(d, 0.5), size=n).round(3)
    weights[weights.sum(axis=1) == 0] = 1.0
    weights /= weights.sum(axis=1, keepdims=True)
    floor = random.uniform(-1, 1, size=d).round(2)
    policies = floor + random.uniform(0, 1, size=(5, d)) * random.choice([0.0, 1.0], size=(5, d))
    return weights, (weights @ policies.T).max(axis=1), floor


@given(fronts(), st.integers(0, 2**32 - 1))
def test_the_bound_is_the_linear_program(
    front: tuple[np.ndarray, np.ndarray, np.ndarray], seed: int
) -> None:
    weights, values, floor = front
    d = weights.shape[1]
    asked = np.vstack([np.eye(d), np.random.default_rng(seed).dirichlet(np.ones(d), size=10)])

    bound = floored_upper_bound(weights=weights, values=values, floor=floor)(asked)

    exact = np.array([by_linear_program(w, weights, values, floor) for w in asked])
    assert (np.isinf(bound) == np.isinf(exact)).all()
    finite = np.isfinite(exact)
    assert (bound[finite] >= exact[finite] - 1e-9).all()
    # A policy on the floor leaves no inside; the bound is raised by 1e-9 of its size for it, which
    # the smallest weight, 0.0005, may magnify.
    assert bound[finite] == pytest.approx(exact[finite], abs=1e-5)


def test_it_is_finite_where_the_hull_is_not() -> None:
    weights, values = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0.9, 0.85])
    extreme = np.array([[1.0, 0.0]])

    assert np.isinf(upper_bound(weights=weights, values=values)(extreme)).all()
    floored = floored_upper_bound(weights=weights, values=values, floor=np.zeros(2))
    assert floored(extreme) == pytest.approx(1.0)  # 0.9 / 0.9: all of the value in one objective


def test_without_any_policy_nothing_is_bounded() -> None:
    bound = floored_upper_bound(weights=np.empty((0, 3)), values=np.empty(0), floor=np.zeros(3))
    assert np.isinf(bound(np.eye(3))).all()


def test_an_optimum_below_the_floor_is_refused() -> None:
    with pytest.raises(ValueError, match="the floor alone is worth"):
        floored_upper_bound(
            weights=np.array([[0.5, 0.5]]), values=np.array([0.4]), floor=np.array([0.5, 0.5])
        )
