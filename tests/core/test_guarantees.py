"""A-priori statements: true wherever they are shown, and what is wrong with the printed ones."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.bounds import lower_bound
from palm.corners import corner_weights
from palm.grid import construct_grid, grid_levels, grid_size
from palm.guarantees import (
    Setting,
    sharper,
    sharper_for_rewards,
    size_bound,
    statements,
    theorem_3_4,
    theorem_3_4_corrected,
)
from palm.pruning import prune

accuracies = st.fractions(min_value=Fraction(1, 5), max_value=1, max_denominator=40)
EVERYTHING = {
    "mu": Fraction(1, 10),
    "alpha": Fraction(1, 20),
    "dimension": 2,
    "pruning_mu": 0.1,
    "pruning_alpha": 0.0,
    "total_reward": 2.0,
    "largest_regularizer": 0.0,
    "rewards_nonnegative": True,
    "regularizer_nonnegative": True,
    "utilities_nonnegative": True,
}


@st.composite
def instances(draw: st.DrawFn, *, regularized: bool) -> tuple[Setting, np.ndarray, np.ndarray]:
    """A setting, and the rewards and regularizers of policies that meet its assumptions.

    Rewards are heavy-tailed and often zero: the steeper a policy, the more a grid can miss.
    """
    mu, alpha = draw(accuracies), draw(accuracies)
    d = draw(st.integers(2, 3))
    if grid_size(mu, alpha, d) > 400:
        d = 2
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    rewards = generator.exponential(size=(40, d)) ** draw(st.sampled_from([0.2, 1.0, 4.0]))
    rewards *= generator.random(rewards.shape) < draw(st.sampled_from([0.5, 1.0]))
    if draw(st.booleans()):  # on one front, so that every policy is best somewhere
        rewards /= np.maximum(np.linalg.norm(rewards, axis=1, keepdims=True), 1e-9)
    regularizer = np.zeros(len(rewards))
    if regularized:
        regularizer = generator.random(len(rewards)) * rewards.sum(axis=1)
        regularizer[0] = 0.0  # the base policy
    setting = Setting(
        mu=mu,
        alpha=alpha,
        dimension=d,
        pruning_mu=draw(st.sampled_from([0.0, 0.05, 0.3])),
        pruning_alpha=draw(st.sampled_from([0.0, 0.1])),
        total_reward=float(rewards.sum(axis=1).max()),
        largest_regularizer=float(regularizer.max()),
        rewards_nonnegative=True,
        regularizer_nonnegative=True,
        utilities_nonnegative=not regularized,
        spacing=draw(st.sampled_from(["Descending", "Even"])),
    )
    return setting, rewards, regularizer


def assert_kept(setting: Setting, rewards: np.ndarray, regularizer: np.ndarray) -> None:
    """Run PALM with an exact oracle; check every statement shown at every corner weight."""
    u = rewards - regularizer[:, None]
    grid = construct_grid(
        setting.mu, setting.alpha, dimension=setting.dimension, spacing=setting.spacing
    )
    trained = u[(grid @ u.T).argmax(axis=1)]
    pruning = prune(
        weights=grid,
        utilities=trained,
        mu=setting.pruning_mu,
        alpha=setting.pruning_alpha,
        solver="Greedy",
    )
    portfolio = trained[list(pruning.indices)]
    corners = corner_weights(portfolio)
    optimum, served = lower_bound(corners, u), lower_bound(corners, portfolio)
    shown = statements(setting)
    assert shown
    for statement in shown:
        promised = (1 - statement.epsilon) * optimum - statement.delta
        assert (served >= promised - 1e-9).all(), statement.name


@given(instances(regularized=False))
def test_every_statement_shown_is_kept_without_a_regularizer(
    instance: tuple[Setting, np.ndarray, np.ndarray],
) -> None:
    assert_kept(*instance)


@given(instances(regularized=True))
def test_every_statement_shown_is_kept_with_a_regularizer(
    instance: tuple[Setting, np.ndarray, np.ndarray],
) -> None:
    assert_kept(*instance)


@given(instances(regularized=False))
def test_the_sharper_statement_is_never_weaker_than_the_printed_theorem(
    instance: tuple[Setting, np.ndarray, np.ndarray],
) -> None:
    setting, _, _ = instance
    printed, ours = theorem_3_4(setting), sharper(setting)
    if printed.holds:
        assert ours.epsilon <= printed.epsilon
        assert ours.delta <= printed.delta


@given(st.fractions(Fraction(1, 50), 1), st.integers(1, 12), st.integers(0, 10**6))
def test_between_neighbours_of_two_objectives_hardly_anything_is_lost(
    mu: Fraction, level: int, seed: int
) -> None:
    """T2: with all policies kept, at most (1 - (1+μ)^-½)/2 between positive levels."""
    generator = np.random.default_rng(seed)
    u = generator.exponential(size=(60, 2)) ** generator.choice([0.3, 1.0, 3.0])
    neighbours = np.array([[1.0, float((1 + mu) ** -k)] for k in (level - 1, level)])
    neighbours /= neighbours.sum(axis=1, keepdims=True)
    kept = u[(neighbours @ u.T).argmax(axis=1)]
    between = np.linspace(neighbours[0], neighbours[1], 101)
    lost = 1 - lower_bound(between, kept) / lower_bound(between, u)
    assert lost.max() <= (1 - float(1 + mu) ** -0.5) / 2 + 1e-12


@pytest.mark.parametrize("mu", [0.1, 8 / 15, 1.0])
def test_that_loss_is_attained(mu: float) -> None:
    """By one policy for either coordinate, and one that all but ties with both at the ends."""
    q = np.sqrt(1 + mu)
    ends = np.array([[1.0, 1.0], [1.0, 1.0 + mu]])
    u = np.array([[q, 0.0], [0.0, 1.0], [q**2 / (q + 1), q / (q + 1)]])
    u[2] *= 1 - 1e-12
    assert (ends @ u.T).argmax(axis=1).tolist() == [0, 1]
    crossing = np.array([1.0, q])
    lost = 1 - (u[:2] @ crossing).max() / (u @ crossing).max()
    assert lost == pytest.approx((1 - 1 / q) / 2)


@given(accuracies, accuracies, st.integers(1, 6))
def test_the_safe_size_bound_is_safe(mu: Fraction, alpha: Fraction, dimension: int) -> None:
    bound = size_bound(mu, alpha, dimension)
    assert bound.oracle_calls == grid_size(mu, alpha, dimension) <= bound.safe
    assert bound.printed_holds == (bound.oracle_calls <= bound.printed)


@pytest.mark.parametrize(
    ("dimension", "mu", "alpha", "calls", "printed"),
    [(2, "1", "0.99", 5, 4.04), (3, "1", "0.95", 19, 13.26), (4, "1", "0.9", 65, 43.2)],
)
def test_the_printed_size_bound_is_not(
    dimension: int, mu: str, alpha: str, calls: int, printed: float
) -> None:
    bound = size_bound(Fraction(mu), Fraction(alpha), dimension)
    assert bound.oracle_calls == calls
    assert bound.printed == pytest.approx(printed, rel=2e-3)
    assert not bound.printed_holds


@pytest.mark.parametrize("mu", ["8/30", "14/30", "16/30", "18/30", "19/30"])
def test_in_every_setting_of_the_paper_the_printed_theorem_is_vacuous(mu: str) -> None:
    setting = Setting(**{**EVERYTHING, "mu": Fraction(mu)})
    assert theorem_3_4(setting).vacuous
    assert not sharper(setting).vacuous


def test_statements_are_shown_only_where_their_assumptions_hold() -> None:
    def shown(**change: Any) -> list[str]:
        return [s.name for s in statements(Setting(**{**EVERYTHING, **change}))]

    everything = ["Theorem 3.4", "Theorem 3.4, corrected", "T1", "T1, rewards"]
    assert shown() == everything
    assert shown(utilities_nonnegative=False) == [n for n in everything if n != "T1"]
    assert shown(rewards_nonnegative=False) == ["T1"]
    assert shown(regularizer_nonnegative=False) == ["T1"]
    assert shown(rewards_nonnegative=False, utilities_nonnegative=False) == []
    assert shown(pruning_mu=0.2) == everything[1:]
    assert shown(pruning_alpha=0.01) == everything[1:]
    hidden = theorem_3_4(Setting(**{**EVERYTHING, "rewards_nonnegative": False}))
    assert not hidden.holds
    assert "all expected rewards are at least 0" in hidden.assumptions


def test_the_formulas_are_those_of_the_paper_and_of_the_documentation() -> None:
    setting = Setting(
        **{**EVERYTHING, "dimension": 3, "largest_regularizer": 0.5, "pruning_alpha": 0.01}
    )
    printed = theorem_3_4(setting)
    assert printed.epsilon == pytest.approx(0.4)
    assert printed.delta == pytest.approx(2 * (3 * 0.05 * 2 + 0.1 * 0.5))
    corrected = theorem_3_4_corrected(setting)
    assert corrected.epsilon == pytest.approx(0.3)
    assert corrected.delta == pytest.approx(printed.delta + 0.01)
    alpha = grid_levels(setting.mu, setting.alpha)[-2]
    assert alpha < 0.05
    ours = sharper(setting)
    assert ours.epsilon == pytest.approx(0.2 / 1.1)
    assert ours.delta == pytest.approx(alpha * 2 / 1.1 + 0.01 * (1 + 2 * alpha / 1.1))
    rewards = sharper_for_rewards(setting)
    assert rewards.delta == pytest.approx(ours.delta + (0.1 + 2 * alpha) * 0.5 / 1.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pruning_mu": 1.5}, r"pruning_mu is 1\.5"),
        ({"total_reward": -1.0}, r"total_reward is -1\.0"),
        ({"largest_regularizer": float("inf")}, "largest_regularizer is inf"),
        ({"mu": Fraction(2)}, "mu is 2"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        statements(Setting(**{**EVERYTHING, **change}))


def test_lemma_3_3_fails_for_rewards_of_mixed_signs() -> None:
    a, b = np.array([11.0, -9.0]), np.array([1.9, 1.9])
    v, w, epsilon = np.array([0.5, 0.5]), np.array([0.55, 0.45]), 0.1
    assert (np.abs(w - v) <= epsilon * v + 1e-12).all()  # w covers v, with δ' = 0
    optimum = max(a @ v, b @ v)
    assert w @ a > w @ b  # so A is the policy of w
    assert min(max(a @ x, b @ x) for x in np.linspace([0, 1], [1, 0], 101)) >= 1.9
    assert v @ a == pytest.approx(1.0)
    assert v @ a < (1 - 2 * epsilon) * optimum  # the lemma claims at least 1.52


def test_theorem_3_4_fails_for_rewards_of_mixed_signs_although_every_optimum_is_positive() -> None:
    """Between two neighbours of the grid, one flat policy is the best, and neither finds it."""
    mu, alpha = Fraction(1, 10), Fraction(1, 10**9)
    grid = construct_grid(mu, alpha, dimension=2)
    place = int(np.flatnonzero(grid[:, 0] == 0.5)[0])
    left, right = grid[place, 0], grid[place + 1, 0]
    middle = (left + right) / 2
    slope = 4.0 / (middle - left)

    def line(at: float, value: float, rise: float) -> list[float]:
        return [value + rise * (1 - at), value - rise * at]  # utilities at w = (1, 0) and (0, 1)

    u = np.array([line(left, 5.0 + 1e-9, -slope), line(right, 5.0 + 1e-9, slope), [5.0, 5.0]])
    assert lower_bound(np.linspace([0, 1], [1, 0], 1001), u).min() >= 5.0
    trained = u[(grid @ u.T).argmax(axis=1)]
    assert not (trained == u[2]).all(axis=1).any()
    setting = Setting(
        **{
            **EVERYTHING,
            "alpha": alpha,
            "total_reward": float(np.abs(u).sum(axis=1).max()),
            "rewards_nonnegative": False,
            "utilities_nonnegative": False,
        }
    )
    printed = theorem_3_4(setting)
    v = np.array([[middle, 1 - middle]])
    assert lower_bound(v, trained)[0] == pytest.approx(1.0, abs=1e-6)  # not even pruned
    assert (1 - printed.epsilon) * 5.0 - printed.delta == pytest.approx(3.0, abs=1e-5)
    assert statements(setting) == ()


def test_the_proof_of_lemma_a_1_fails_but_its_repair_holds() -> None:
    """It claims |w'| ≤ |v'| + αd; rounding up by the factor 1+μ is more than that."""
    mu, alpha = 16 / 30, 0.01
    v, w = np.array([1.0, (1 + mu) ** -1 + 1e-4]), np.array([1.0, 1.0])
    assert w.sum() > v.sum() + alpha * 2
    assert w.sum() <= (1 + mu) * v.sum() + (2 - 1) * alpha


@given(accuracies, accuracies, st.integers(2, 5), st.integers(0, 10**6))
def test_the_repaired_lemma_a_1_holds(
    mu: Fraction, alpha: Fraction, dimension: int, seed: int
) -> None:
    levels = grid_levels(mu, alpha)[::-1]
    generator = np.random.default_rng(seed)
    v = generator.random((50, dimension)) ** generator.choice([0.5, 1.0, 5.0])
    v /= v.max(axis=1, keepdims=True)
    w = levels[np.searchsorted(levels, v)]  # rounded up
    m, a = float(mu), float(alpha)
    assert (w.sum(axis=1) <= (1 + m) * v.sum(axis=1) + (dimension - 1) * a + 1e-12).all()
    on_simplex = [x / x.sum(axis=1, keepdims=True) for x in (v, w)]
    near = m * on_simplex[0] + a * dimension
    assert (np.abs(on_simplex[1] - on_simplex[0]) <= near + 1e-12).all()
