"""The paper's comparisons on oracles whose optimum is known: how good for how many oracle calls.

Every method answers with a portfolio; its ε(P) and δ(P) (section 4) are exact, against the true
optimum, and sampled as in the paper. Baselines get as many policies as PALM's portfolio has, as in
Table 1; Uniform-PALM gets PALM's oracle calls and prunes them (B.5.1). The searches have PALM's
guarantee on PALM's grid for fewer oracle calls.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from palm.bounds import lower_bound, upper_bound
from palm.certificate import exact_shortfall, sampled_shortfall
from palm.corners import corner_weights
from palm.grid import construct_grid
from palm.oracles import Oracle
from palm.pruning import prune
from palm.search import Known, SearchMode, Target, run_search
from palm.search.known import bounds_of
from palm.strategies import random_weights, uniform_palm_weights, uniform_weights
from palm.usage import perplexity, policy_usage

Method = Literal["PALM", "Uniform", "Random", "Uniform-PALM", "OLS", "Adaptive", "Propose"]
METHODS: tuple[Method, ...] = get_args(Method)

Vectors = NDArray[np.float64]

# A corner whose gap is below this is resolved; utilities are of size 1.
_RESOLVED = 1e-9


@dataclass(frozen=True)
class Comparison:
    """What is compared.

    Attributes:
        dimension: Number of objectives d, at least 2.
        mu: μ of PALM's grid.
        alpha: α of PALM's grid.
        pruning_mu: μ', in [0, 1).
        pruning_alpha: α', at least 0.
        batch: Oracle calls at once; decides the rounds, and slightly the calls of the searches.
        samples: Weight vectors of the sampled ε and δ, at least 1; the paper draws 15 to 200.
    """

    dimension: int
    mu: Fraction
    alpha: Fraction
    pruning_mu: float
    pruning_alpha: float = 0.0
    batch: int = 1
    samples: int = 200

    @property
    def grid(self) -> Vectors:
        """PALM's weight vectors, shape ``(n, d)``."""
        return construct_grid(self.mu, self.alpha, dimension=self.dimension)

    @property
    def target(self) -> Target:
        """What the searches certify."""
        return Target(mu=self.pruning_mu, alpha=self.pruning_alpha)


@dataclass(frozen=True)
class Outcome:
    """What a method achieves on one oracle.

    Attributes:
        method: Which one.
        size: Policies of its portfolio.
        oracle_calls: Policies trained for it.
        rounds: Batches of oracle calls, one after the other.
        epsilon: Exact ε(P); None where it means nothing.
        delta: Exact δ(P).
        sampled_epsilon: ε(P) over sampled weight vectors, as in the paper; never above ``epsilon``.
        sampled_delta: δ(P) over them.
        perplexity: Of the policy usage: how many policies are effectively in use.
    """

    method: Method
    size: int
    oracle_calls: int
    rounds: int
    epsilon: float | None
    delta: float
    sampled_epsilon: float | None
    sampled_delta: float
    perplexity: float


def compare(
    oracle: Oracle, comparison: Comparison, *, seed: int, methods: Sequence[Method] = METHODS
) -> Iterator[Outcome]:
    """Yield what each method achieves.

    Args:
        oracle: With a known optimum, of ``comparison.dimension`` objectives.
        comparison: What is compared.
        seed: Of the methods that draw, and of the sampled metrics.
        methods: Which ones, in this order.
    """
    everything = _answers(oracle, comparison.grid)
    palm = _pruned(comparison, comparison.grid, everything)
    for method in methods:
        kept, calls = _portfolio(method, oracle, comparison, palm=palm, seed=seed)
        rounds = -(-calls.total // comparison.batch) if calls.rounds is None else calls.rounds
        exact = exact_shortfall(kept, oracle.optimum)
        sampled = sampled_shortfall(kept, oracle.optimum, samples=comparison.samples, seed=seed)
        yield Outcome(
            method=method,
            size=len(kept),
            oracle_calls=calls.total,
            rounds=rounds,
            epsilon=exact.epsilon,
            delta=exact.delta,
            sampled_epsilon=sampled.epsilon,
            sampled_delta=sampled.delta,
            perplexity=perplexity(policy_usage(kept)),
        )


@dataclass(frozen=True)
class _Calls:
    total: int
    rounds: int | None = None  # as many as the batches need


def _portfolio(
    method: Method, oracle: Oracle, comparison: Comparison, *, palm: Vectors, seed: int
) -> tuple[Vectors, _Calls]:
    """Return the utilities of a method's portfolio and what it cost."""
    size, dimension = len(palm), comparison.dimension
    if method == "PALM":
        return palm, _Calls(len(comparison.grid))
    if method in ("Adaptive", "Propose"):
        return _searched(oracle, comparison, "Adaptive" if method == "Adaptive" else "Propose")
    if method == "OLS":
        found = corner_search(oracle, dimension=dimension, count=size)
        return found, _Calls(len(found), rounds=len(found))
    if method == "Uniform-PALM":
        weights = uniform_palm_weights(
            comparison.mu, comparison.alpha, dimension=dimension, seed=seed
        )
        return _pruned(comparison, weights, _answers(oracle, weights)), _Calls(len(weights))
    if method == "Uniform":
        weights = uniform_weights(size, dimension=dimension, seed=seed)
    else:
        weights = random_weights(size, dimension=dimension, seed=seed)
    return _answers(oracle, weights), _Calls(size)


def _searched(oracle: Oracle, comparison: Comparison, mode: SearchMode) -> tuple[Vectors, _Calls]:
    run = run_search(
        oracle,
        grid=comparison.grid,
        dimension=comparison.dimension,
        mode=mode,
        target=comparison.target,
        batch=comparison.batch,
    )
    kept = certified_cover(
        grid=comparison.grid, weights=run.weights, utilities=run.utilities, target=comparison.target
    )
    return run.utilities[list(kept)], _Calls(run.oracle_calls, rounds=run.rounds)


def certified_cover(
    *, grid: Vectors, weights: Vectors, utilities: Vectors, target: Target
) -> tuple[int, ...]:
    """Return a smallest portfolio of searched policies that surely covers the grid.

    Untrained weight vectors are covered up to the upper bound of their optimum, so the cover is one
    whatever their optimum is.

    Args:
        grid: Weight vectors to be covered, shape ``(n, d)``.
        weights: What each policy was trained for, shape ``(m, d)``.
        utilities: Of these policies, shape ``(m, d)``.
        target: What covered means; exact oracles only.

    Returns:
        Rows of ``utilities``, ascending.
    """
    nothing = np.empty((0, grid.shape[1]))
    known = Known(weights=weights, utilities=utilities, in_flight=nothing, failed=nothing)
    return _cover(grid, utilities, target, optimum=bounds_of(known, target).above(grid))


def corner_search(oracle: Oracle, *, dimension: int, count: int) -> Vectors:
    """Return the first policies that Optimistic Linear Support trains (Roijers et al., 2015).

    Extremes first, then the corner weight of the known policies with the largest gap between what
    is known and what is possible.

    Args:
        oracle: Trains a policy for a weight vector.
        dimension: Number of objectives d.
        count: Most policies; fewer where no gap is left.

    Returns:
        Their utilities, shape ``(at most count, d)``.
    """
    weights = np.eye(dimension)[: min(count, dimension)]
    utilities = _answers(oracle, weights)
    while len(utilities) < count:
        corners = corner_weights(utilities)
        possible = upper_bound(weights=weights, values=lower_bound(weights, utilities))(corners)
        gaps = possible - lower_bound(corners, utilities)
        if gaps.max() <= _RESOLVED:
            break
        chosen = corners[int(gaps.argmax())]
        weights = np.vstack([weights, chosen])
        utilities = np.vstack([utilities, oracle(chosen)])
    return utilities


def _pruned(comparison: Comparison, weights: Vectors, utilities: Vectors) -> Vectors:
    return utilities[list(_cover(weights, utilities, comparison.target))]


def _cover(
    weights: Vectors, utilities: Vectors, target: Target, optimum: Vectors | None = None
) -> tuple[int, ...]:
    found = prune(
        weights=weights,
        utilities=utilities,
        mu=target.mu,
        alpha=target.alpha,
        solver="Exact",
        optimum=optimum,
    )
    return found.indices


def _answers(oracle: Oracle, weights: Vectors) -> Vectors:
    return np.stack([oracle(row) for row in weights])
