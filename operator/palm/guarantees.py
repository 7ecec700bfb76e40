"""What is promised before anything is trained, and when the promise is one.

The statements are about every preference and every set of policies that meets their assumptions.
They are therefore loose; what a trained portfolio really lacks is a certificate's business. With
grid accuracies μ, α and pruning tolerances μ', α', rewards r, regularizer f, utilities u = r - f,
``R = max Σ_i |r_i|`` and ``f_max = max |f|`` over all policies (``docs/algorithm.md`` has proofs):

* Theorem 3.4 as printed: ε = 4μ, δ = 2(dαR + μ·f_max). Its proof needs rewards that are not
  negative, which it does not say; and it prunes with μ' ≤ μ, α' = 0.
* Corrected for any pruning: ε = 2μ + μ', δ = 2(dαR + μ·f_max) + α'.
* T1, with utilities that are not negative: ε = (μ+μ')/(1+μ),
  δ = αR/(1+μ) + α'·(1 + (d-1)α/(1+μ)).
* T1 with rewards and f that are not negative: the same and (μ + (d-1)α)·f_max/(1+μ) more in δ.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from palm.grid import Spacing, effective_accuracies, grid_size

Name = Literal["Theorem 3.4", "Theorem 3.4, corrected", "T1", "T1, rewards"]


@dataclass(frozen=True)
class Setting:
    """What is known before training.

    Attributes:
        mu: Multiplicative accuracy μ of the grid, in (0, 1].
        alpha: Additive accuracy α of the grid, in (0, 1].
        dimension: Number of objectives d.
        pruning_mu: μ', in [0, 1].
        pruning_alpha: α', at least 0.
        total_reward: R, at least 0; d if every reward is normalized to [0, 1].
        largest_regularizer: f_max, at least 0.
        rewards_nonnegative: Whether all expected rewards of all policies are at least 0.
        regularizer_nonnegative: Whether f is at least 0 and 0 for the base policy, as any
            divergence is.
        utilities_nonnegative: Whether all utilities of all policies are at least 0.
        spacing: How the levels of the grid are spaced.
    """

    mu: Fraction
    alpha: Fraction
    dimension: int
    pruning_mu: float
    pruning_alpha: float
    total_reward: float
    largest_regularizer: float
    rewards_nonnegative: bool
    regularizer_nonnegative: bool
    utilities_nonnegative: bool
    spacing: Spacing = "Descending"


@dataclass(frozen=True)
class SizeBound:
    """How many policies the grid can cost.

    Attributes:
        oracle_calls: |W|, exactly.
        safe: d·(3 + (2/μ)·ln(1/α))^(d-1), never below |W|.
        printed: Theorem 3.4's d·(2 + (2/μ)·ln(1/α))^(d-1), which forgets that the number of levels
            is rounded up.
        printed_holds: Whether that is at least |W| here.
    """

    oracle_calls: int
    safe: float
    printed: float
    printed_holds: bool


@dataclass(frozen=True)
class Statement:
    """An (ε, δ)-approximation of every preference, if its assumptions hold.

    Attributes:
        name: Which theorem.
        epsilon: Multiplicative term ε.
        delta: Additive term δ.
        assumptions: What it assumes beyond an exact oracle, in words.
        holds: Whether the setting meets the assumptions; only then is it a promise.
    """

    name: Name
    epsilon: float
    delta: float
    assumptions: tuple[str, ...]
    holds: bool

    @property
    def vacuous(self) -> bool:
        """Say whether it promises nothing beyond δ, as 4μ ≥ 1 does in all of the paper's runs."""
        return self.epsilon >= 1.0


def size_bound(mu: Fraction, alpha: Fraction, dimension: int) -> SizeBound:
    """Return the size bound of Theorem 3.4, safe and as printed.

    Args:
        mu: Multiplicative accuracy μ, in (0, 1].
        alpha: Additive accuracy α, in (0, 1].
        dimension: Number of objectives d, from 1 to 64.
    """
    calls = grid_size(mu, alpha, dimension)
    levels = 2.0 / float(mu) * math.log(1.0 / float(alpha))
    printed = dimension * (2.0 + levels) ** (dimension - 1)
    safe = dimension * (3.0 + levels) ** (dimension - 1)
    return SizeBound(oracle_calls=calls, safe=safe, printed=printed, printed_holds=calls <= printed)


def statements(setting: Setting) -> tuple[Statement, ...]:
    """Return the statements that hold in a setting; none may."""
    _check(setting)
    return tuple(
        statement
        for statement in (
            theorem_3_4(setting),
            theorem_3_4_corrected(setting),
            sharper(setting),
            sharper_for_rewards(setting),
        )
        if statement.holds
    )


def theorem_3_4(setting: Setting) -> Statement:
    """Return Theorem 3.4 as printed, with the assumptions that its proof needs."""
    mu, alpha = float(setting.mu), float(setting.alpha)
    spread = setting.dimension * alpha * setting.total_reward
    return Statement(
        name="Theorem 3.4",
        epsilon=4.0 * mu,
        delta=2.0 * (spread + mu * setting.largest_regularizer),
        assumptions=(*_REWARDS, "pruned with μ' ≤ μ and α' = 0"),
        holds=_rewards(setting) and setting.pruning_mu <= mu and setting.pruning_alpha == 0,
    )


def theorem_3_4_corrected(setting: Setting) -> Statement:
    """Return Theorem 3.4 with what pruning really adds: μ' and α', once."""
    mu, alpha = float(setting.mu), float(setting.alpha)
    spread = setting.dimension * alpha * setting.total_reward
    return Statement(
        name="Theorem 3.4, corrected",
        epsilon=2.0 * mu + setting.pruning_mu,
        delta=2.0 * (spread + mu * setting.largest_regularizer) + setting.pruning_alpha,
        assumptions=_REWARDS,
        holds=_rewards(setting),
    )


def sharper(setting: Setting) -> Statement:
    """Return T1 for utilities that are not negative."""
    epsilon, delta = _t1(setting)
    return Statement(
        name="T1",
        epsilon=epsilon,
        delta=delta,
        assumptions=("all utilities are at least 0",),
        holds=setting.utilities_nonnegative,
    )


def sharper_for_rewards(setting: Setting) -> Statement:
    """Return T1 for rewards and a regularizer that are not negative."""
    epsilon, delta = _t1(setting)
    mu, alpha = effective_accuracies(setting.mu, setting.alpha, spacing=setting.spacing)
    more = (mu + (setting.dimension - 1) * alpha) * setting.largest_regularizer / (1.0 + mu)
    return Statement(
        name="T1, rewards",
        epsilon=epsilon,
        delta=delta + more,
        assumptions=_REWARDS,
        holds=_rewards(setting),
    )


_REWARDS = (
    "all expected rewards are at least 0",
    "the regularizer is at least 0, and 0 for the base policy, which is a candidate",
)


def _rewards(setting: Setting) -> bool:
    return setting.rewards_nonnegative and setting.regularizer_nonnegative


def _t1(setting: Setting) -> tuple[float, float]:
    mu, alpha = effective_accuracies(setting.mu, setting.alpha, spacing=setting.spacing)
    epsilon = (mu + setting.pruning_mu) / (1.0 + mu)
    once = 1.0 + (setting.dimension - 1) * alpha / (1.0 + mu)
    return epsilon, alpha * setting.total_reward / (1.0 + mu) + setting.pruning_alpha * once


def _check(setting: Setting) -> None:
    if not 0 <= setting.pruning_mu <= 1:
        raise ValueError(f"pruning_mu is {setting.pruning_mu}; it must be in [0, 1]")
    for name in ("pruning_alpha", "total_reward", "largest_regularizer"):
        value = getattr(setting, name)
        if not (value >= 0 and math.isfinite(value)):
            raise ValueError(f"{name} is {value}; it must be finite and at least 0")
