"""The best portfolio of limited size, against every subset and against PRUNE."""

import itertools
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from palm.best_portfolio import best_portfolio
from palm.errors import InvalidResult
from palm.grid import construct_grid
from palm.objective import scalarize
from palm.pruning import prune

FOLDER = Path(__file__).parent / "golden"
PRUNE = json.loads((FOLDER / "prune.json").read_text())["cases"]
LINE = construct_grid(Fraction(1, 2), Fraction(1, 5), dimension=2)
PLANE = construct_grid(Fraction(19, 30), Fraction(2, 5), dimension=3)


def fronts(d: int, *, least: float = 0.0) -> st.SearchStrategy[np.ndarray]:
    return arrays(float, (6, d), elements=st.floats(least, 1, allow_subnormal=False))


def needed(
    weights: np.ndarray, u: np.ndarray, chosen: tuple[int, ...], *, alpha: float = 0.0
) -> float:
    """The smallest μ' at which a set covers everything, straight from the cover rule."""
    objective = scalarize(weights=weights, utilities=u)
    best = objective.max(axis=1)
    lacking = np.maximum(best - alpha - objective[:, list(chosen)].max(axis=1), 0.0)
    if (lacking[best == 0] > 0).any():
        return float("inf")
    return float(np.max(lacking[best != 0] / np.abs(best[best != 0]), initial=0.0))


def subsets(policies: int, most: int) -> list[tuple[int, ...]]:
    sizes = range(1, most + 1)
    return [c for size in sizes for c in itertools.combinations(range(policies), size)]


def by_enumeration(
    weights: np.ndarray, u: np.ndarray, most: int, preferred: set[int], alpha: float
) -> tuple[tuple[int, ...], float]:
    """The least μ'; of the sets that need it the one of the least δ, smallest, most preferred."""
    objective = scalarize(weights=weights, utilities=u)
    best = objective.max(axis=1)

    def delta(c: tuple[int, ...]) -> float:
        return float((best - objective[:, list(c)].max(axis=1)).max())

    tried = {c: needed(weights, u, c, alpha=alpha) for c in subsets(len(u), most)}
    least = min(tried.values())
    tied = [c for c, tolerance in tried.items() if tolerance <= least]
    return min(tied, key=lambda c: (delta(c), len(c), -len(preferred & set(c)), c)), least


@pytest.mark.parametrize("grid", [LINE, PLANE], ids=["line", "plane"])
@given(data=st.data())
def test_no_set_of_that_size_needs_less_and_ties_are_decided(
    grid: np.ndarray, data: st.DataObject
) -> None:
    u = data.draw(fronts(grid.shape[1], least=0.0))
    most = data.draw(st.integers(1, 4))
    preferred = data.draw(st.sets(st.integers(0, len(u) - 1)))
    alpha = data.draw(st.sampled_from([0.0, 0.1]))
    chosen, least = by_enumeration(grid, u, most, preferred, alpha)
    if not np.isfinite(least):
        return
    found = best_portfolio(weights=grid, utilities=u, most=most, alpha=alpha, preferred=preferred)
    assert found.measure == "Relative"
    assert found.tolerance == least
    assert found.indices == chosen
    assert found.proven


@given(fronts(3, least=-1.0), st.integers(1, 4))
def test_also_where_an_optimum_is_negative_or_zero(u: np.ndarray, most: int) -> None:
    least = min(needed(PLANE, u, chosen) for chosen in subsets(len(u), most))
    found = best_portfolio(weights=PLANE, utilities=u, most=most)
    assert (found.measure == "Relative") == np.isfinite(least)
    if found.measure == "Relative":
        assert found.tolerance == least
        return
    objective = scalarize(weights=PLANE, utilities=u)
    best = objective.max(axis=1)
    lost = min((best - objective[:, list(c)].max(axis=1)).max() for c in subsets(len(u), most))
    assert found.tolerance == lost == found.delta


@pytest.mark.parametrize("case", PRUNE, ids=lambda case: case["name"])
def test_on_golden_portfolios_it_is_prune_turned_around(case: dict[str, Any]) -> None:
    weights, u = np.array(case["weights"]), np.array(case["values"])
    full = case["optimal_size"]
    tolerance = {"mu": case["mu_prime"], "alpha": case["alpha_prime"]}

    def pruned(mu: float) -> int:
        found = prune(
            weights=weights, utilities=u, mu=mu, alpha=case["alpha_prime"], solver="Exact"
        )
        return len(found.indices)

    enough = best_portfolio(weights=weights, utilities=u, most=full, alpha=tolerance["alpha"])
    assert enough.measure == "Relative"
    assert enough.tolerance <= tolerance["mu"] * (1 + 1e-9) + 1e-12
    if full == 1:
        return
    fewer = best_portfolio(weights=weights, utilities=u, most=full - 1, alpha=tolerance["alpha"])
    assert fewer.proven
    assert len(fewer.indices) < full
    assert fewer.tolerance > tolerance["mu"]
    if fewer.tolerance <= 1:
        assert pruned(fewer.tolerance) <= full - 1
        assert pruned(fewer.tolerance * (1 - 1e-6)) >= full
    if tolerance["alpha"] == 0 and fewer.epsilon is not None:
        assert fewer.epsilon == pytest.approx(fewer.tolerance, rel=1e-12)


@given(fronts(2), st.integers(1, 5))
def test_more_policies_never_need_more(u: np.ndarray, most: int) -> None:
    few = best_portfolio(weights=LINE, utilities=u, most=most)
    more = best_portfolio(weights=LINE, utilities=u, most=most + 1)
    if few.measure == more.measure == "Relative":
        assert more.tolerance <= few.tolerance
    everything = best_portfolio(weights=LINE, utilities=u, most=len(u))
    assert everything.tolerance == 0


def test_an_upper_bound_of_the_optimum_is_what_is_covered() -> None:
    weights = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    u = np.array([[1.0, 0.0], [0.0, 1.0]])
    found = best_portfolio(weights=weights, utilities=u, most=2, optimum=np.array([1.0, 0.8, 1.0]))
    assert found.tolerance == pytest.approx(0.375)
    assert found.epsilon == found.tolerance
    assert found.delta == pytest.approx(0.3)


def random_front(policies: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(5)
    weights = generator.dirichlet(np.ones(3), size=policies)
    return weights, weights / np.linalg.norm(weights, axis=1, keepdims=True)


def test_two_hundred_policies_are_decided_by_integer_programming() -> None:
    weights, u = random_front(200)
    found = best_portfolio(weights=weights, utilities=u, most=4, time_limit=120.0)
    assert found.proven
    assert len(found.indices) <= 4
    tighter = prune(
        weights=weights, utilities=u, mu=found.tolerance * (1 - 1e-6), alpha=0.0, solver="Exact"
    )
    assert len(tighter.indices) > 4


def test_without_time_a_set_of_that_size_is_returned_unproven() -> None:
    weights, u = random_front(60)
    found = best_portfolio(weights=weights, utilities=u, most=4, time_limit=0.0)
    assert not found.proven
    assert len(found.indices) <= 4
    assert needed(weights, u, found.indices) == found.tolerance


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"most": 0}, "at least 1"),
        ({"mu": 1.5}, r"in \[0, 1\]"),
        ({"alpha": -1.0}, "at least 0"),
        ({"utilities": np.empty((0, 2))}, "a policy"),
    ],
)
def test_wrong_arguments_are_refused(wrong: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"weights": LINE, "utilities": np.ones((2, 2)), "most": 1}
    with pytest.raises(ValueError, match=message):
        best_portfolio(**{**arguments, **wrong})


def test_a_utility_that_is_not_finite_is_refused() -> None:
    with pytest.raises(InvalidResult, match="nan"):
        best_portfolio(weights=LINE, utilities=np.array([[1.0, np.nan]]), most=1)
