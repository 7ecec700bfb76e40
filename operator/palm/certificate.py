"""How far from optimal a portfolio can be, for any preference: ε and δ.

``δ(P) = sup_w opt_w - max_P J_w`` and ``ε(P) = sup_w 1 - max_P J_w / opt_w`` (section 4 of the
paper, which estimates both by sampling and hence from below). Here opt_w is replaced by its upper
bound from the trained policies, so the certified values are never too small; and both suprema are
attained at the corner weights of the portfolio, so no sampling is left:

* on a cell of the simplex where one policy of P is the best, max_P J_w is linear and the upper
  bound convex, so ``UB - max_P J`` and, for 0 ≤ ε ≤ 1, ``(1-ε)·UB - max_P J`` are convex there;
* a convex function on a polytope is the largest at a vertex.

With noise, all that is claimed assumes ``|w·û - w·u| ≤ η`` for every policy and w (``η`` from
``palm.noise``) and ``J_w(π_w) ≥ opt_w - τ`` for every policy trained. Then
``opt_w ≤ UB_û + η + τ`` and ``max_P J_w ≥ max_P Ĵ_w - η``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from palm.bounds import lower_bound, missing_extremes, upper_bound
from palm.corners import corner_weights
from palm.errors import NoCertificate
from palm.floored import floored_upper_bound

Optimum = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""opt_w of weight vectors, shape ``(m, d)`` to ``(m,)``: convex in w, as any optimum is."""

# Zero up to rounding, in units of the largest value.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Shortfall:
    """How much a portfolio lacks, at worst.

    Attributes:
        epsilon: Largest relative shortfall, from 0 to 1: the portfolio is (ε, 0)-approximate. None
            where it means nothing, because the portfolio's value is negative somewhere.
        delta: Largest absolute shortfall: the portfolio is (0, δ)-approximate.
        argmax_epsilon: Weight vector at which epsilon is attained; None where epsilon is.
        argmax_delta: Weight vector at which delta is attained.
    """

    epsilon: float | None
    delta: float
    argmax_epsilon: tuple[float, ...] | None
    argmax_delta: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Certificate(Shortfall):
    """Upper bounds of a portfolio's shortfall, given what the oracle and the evaluation lack.

    Attributes:
        scope: Whether it holds for the whole simplex, or for the given weight vectors only.
        eta: Largest error of an evaluated objective that it allows for.
        tau: Largest suboptimality of training, J_w(π_w) ≥ opt_w - τ, that it allows for.
    """

    scope: Literal["Simplex", "Grid"]
    eta: float
    tau: float


def certify(
    *,
    weights: NDArray[np.float64],
    utilities: NDArray[np.float64],
    portfolio: Sequence[int],
    eta: float = 0.0,
    tau: float = 0.0,
    floor: float | None = None,
) -> Certificate:
    """Return ε and δ of a portfolio over the whole simplex, exact for what is known.

    No smaller value is true of every convex optimum that fits the trained policies.

    Args:
        weights: What each policy was trained for, on the simplex, shape ``(n, d)``; without a floor
            the unit vectors are among them.
        utilities: Evaluated û(π), shape ``(n, d)``, higher is better.
        portfolio: Rows of the policies that are kept, at least one.
        eta: η, largest error of an evaluated objective, at least 0.
        tau: τ, largest suboptimality of training, at least 0.
        floor: Assumed lower bound of the utilities of all optimal policies (``palm.floored``), none
            of the evaluated ones being below it; None assumes nothing.

    Raises:
        NoCertificate: An extreme policy is missing, and no floor bounds the optimum near it.
        InvalidResult: A utility is NaN or infinite.
    """
    kept = _portfolio(weights, utilities, portfolio)
    return _certificate(
        corner_weights(kept), "Simplex", weights, utilities, kept, eta=eta, tau=tau, floor=floor
    )


def certify_grid(
    *,
    grid: NDArray[np.float64],
    weights: NDArray[np.float64],
    utilities: NDArray[np.float64],
    portfolio: Sequence[int],
    eta: float = 0.0,
    tau: float = 0.0,
) -> Certificate:
    """Return ε and δ of a portfolio at the given weight vectors only.

    Args:
        grid: Weight vectors, on the simplex, shape ``(m, d)``, at least one.
        weights: As for ``certify``; unit vectors may be missing where the grid does not need them.
        utilities: As for ``certify``.
        portfolio: As for ``certify``.
        eta: As for ``certify``.
        tau: As for ``certify``.

    Raises:
        NoCertificate: A weight vector is outside the hull of those trained for.
        InvalidResult: A utility is NaN or infinite.
    """
    if not len(grid):
        raise ValueError("grid is empty; there must be a weight vector to certify")
    kept = _portfolio(weights, utilities, portfolio)
    return _certificate(grid, "Grid", weights, utilities, kept, eta=eta, tau=tau)


def exact_shortfall(portfolio_utilities: NDArray[np.float64], optimum: Optimum) -> Shortfall:
    """Return ε(P) and δ(P) of section 4 exactly, where the optimum is known (experiments).

    Args:
        portfolio_utilities: u(π) of the portfolio, shape ``(policies, d)``, at least one.
        optimum: The true opt_w.
    """
    corners = corner_weights(portfolio_utilities)
    return _shortfall(corners, optimum(corners), lower_bound(corners, portfolio_utilities))


def sampled_shortfall(
    portfolio_utilities: NDArray[np.float64], optimum: Optimum, *, samples: int, seed: int
) -> Shortfall:
    """Return the paper's estimate of ε(P) and δ(P): the largest over sampled weight vectors.

    Never above ``exact_shortfall``; the paper draws 15 to 200 from Dirichlet(1) (B.2, B.3).

    Args:
        portfolio_utilities: u(π) of the portfolio, shape ``(policies, d)``, at least one.
        optimum: The true opt_w.
        samples: How many weight vectors, at least 1.
        seed: Of the generator.
    """
    if samples < 1:
        raise ValueError(f"samples is {samples}; there must be at least 1")
    dimension = portfolio_utilities.shape[1]
    weights = np.random.default_rng(seed).dirichlet(np.ones(dimension), size=samples)
    return _shortfall(weights, optimum(weights), lower_bound(weights, portfolio_utilities))


def _portfolio(
    weights: NDArray[np.float64], utilities: NDArray[np.float64], portfolio: Sequence[int]
) -> NDArray[np.float64]:
    if weights.ndim != 2 or weights.shape != utilities.shape:
        raise ValueError(
            f"weights and utilities must both have shape (n, d), not {weights.shape} and "
            f"{utilities.shape}"
        )
    rows = np.asarray(portfolio, dtype=np.intp)
    if not rows.size or (rows < 0).any() or (rows >= len(utilities)).any():
        raise ValueError(
            f"portfolio is {list(portfolio)}; it must name at least one of {len(utilities)} "
            "policies"
        )
    return utilities[rows]


def _certificate(
    asked: NDArray[np.float64],
    scope: Literal["Simplex", "Grid"],
    weights: NDArray[np.float64],
    utilities: NDArray[np.float64],
    kept: NDArray[np.float64],
    *,
    eta: float,
    tau: float,
    floor: float | None = None,
) -> Certificate:
    for name, value in (("eta", eta), ("tau", tau)):
        if not (value >= 0 and np.isfinite(value)):
            raise ValueError(f"{name} is {value}; it must be finite and at least 0")
    # The best known policy at w_i may not be the one trained there: training is approximate.
    known = lower_bound(weights, utilities) + eta + tau
    if floor is None:
        possible = upper_bound(weights=weights, values=known)(asked)
    else:
        lowest = np.full(weights.shape[1], floor - eta)
        possible = floored_upper_bound(weights=weights, values=known, floor=lowest)(asked)
    if np.isinf(possible).any():
        raise NoCertificate(missing_extremes(weights))
    shortfall = _shortfall(asked, possible, lower_bound(asked, kept) - eta)
    return Certificate(**vars(shortfall), scope=scope, eta=eta, tau=tau)


def _shortfall(
    weights: NDArray[np.float64], possible: NDArray[np.float64], served: NDArray[np.float64]
) -> Shortfall:
    """Return the largest shortfalls over weight vectors; ties go to the first."""
    lacking = np.maximum(possible - served, 0.0)
    worst = int(lacking.argmax())
    delta, argmax_delta = float(lacking[worst]), tuple(weights[worst].tolist())
    zero = _ROUNDING * max(float(np.abs(possible).max()), float(np.abs(served).max()))
    if (served < -zero).any():
        return Shortfall(None, delta, None, argmax_delta)
    # Where nothing is possible, nothing is lacking.
    relative = np.divide(lacking, possible, out=np.zeros_like(lacking), where=possible > zero)
    worst = int(relative.argmax())
    epsilon = min(float(relative[worst]), 1.0)
    return Shortfall(epsilon, delta, tuple(weights[worst].tolist()), argmax_delta)
