"""Random instances of the oracles, by seed, for tests, benchmarks and experiments.

Objectives conflict, and utilities are given in fixed units, as the operator gives them: by default
those that the optimal policies of 200 weight vectors span, so that utilities are at least 0 but for
a little and at most about 1. ``payoff_units`` knows the extreme policies only, as the operator
does; for three or more objectives an optimum in between may then be clearly below 0 in one.
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from palm.objective import Normalization, payoff_normalization
from palm.oracles import Ellipsoid, FiniteFront, KLBandit, Normalized, Oracle, Vector

Units = Callable[[Oracle], Normalization]

_PROMPTS, _RESPONSES = 40, 48  # of a bandit
_POINTS = 40  # of a hull
_REGIMES, _VARIANTS = 6, 8  # clusters, and policies in each
_PROBES = 200
_PROBE_SEED = 20260102  # fixed: the units are part of the instance


def payoff_units(oracle: Oracle) -> Normalization:
    """Return the units that the payoff table of the d extreme policies fixes."""
    return payoff_normalization(_answers(oracle, np.eye(oracle.dimension)))


def spanned_units(oracle: Oracle) -> Normalization:
    """Return the units in which the policies of 200 weight vectors and the extremes span [0, 1]."""
    dimension = oracle.dimension
    probes = np.random.default_rng(_PROBE_SEED).dirichlet(np.ones(dimension), size=_PROBES)
    utilities = _answers(oracle, np.concatenate([np.eye(dimension), probes]))
    lowest = utilities.min(axis=0)
    return Normalization(offset=lowest, scale=utilities.max(axis=0) - lowest)


def random_bandit(
    dimension: int, seed: int, *, beta: float = 0.1, units: Units = spanned_units
) -> Oracle:
    """Return a KL bandit with conflicting objectives: what one response gains, another loses."""
    generator = np.random.default_rng(seed)
    draws = generator.normal(0.0, 0.2, size=(_PROMPTS, _RESPONSES, dimension))
    conflicting = 0.5 + draws - draws.mean(axis=2, keepdims=True)
    reference = generator.dirichlet(np.ones(_RESPONSES), size=_PROMPTS)
    reference = (reference + 1e-6) / (reference + 1e-6).sum(axis=1, keepdims=True)
    bandit = KLBandit(rewards=conflicting.clip(0.0, 1.0), reference=reference, beta=beta)
    return Normalized(bandit, units(bandit))


def random_ellipsoid(dimension: int, seed: int, *, units: Units = spanned_units) -> Oracle:
    """Return a smooth front in which pairs of objectives conflict more or less."""
    generator = np.random.default_rng(seed)
    # Positive correlations keep every utility of the front above its payoff table's lowest.
    factor = np.eye(dimension) + generator.uniform(0.0, 0.2, size=(dimension, dimension))
    factor /= np.linalg.norm(factor, axis=1, keepdims=True)
    ellipsoid = Ellipsoid(center=np.ones(dimension), shape=factor @ factor.T)
    return Normalized(ellipsoid, units(ellipsoid))


def random_hull(dimension: int, seed: int, *, units: Units = spanned_units) -> Oracle:
    """Return finitely many policies near a sphere; some lie inside the hull of the others."""
    generator = np.random.default_rng(seed)
    return _finite(_on_sphere(generator, _POINTS, dimension, lowest_radius=0.9), units)


def random_regimes(dimension: int, seed: int, *, units: Units = spanned_units) -> Oracle:
    """Return a few clusters of similar policies: behaviour that jumps between regimes."""
    generator = np.random.default_rng(seed)
    centers = _on_sphere(generator, max(_REGIMES - dimension, 1), dimension, lowest_radius=0.85)
    # One regime serves each objective alone, or the payoff table would show no trade-off.
    centers = np.concatenate([0.05 + 0.9 * np.eye(dimension), centers])
    spread = generator.normal(0.0, 0.01, size=(_VARIANTS, len(centers), dimension))
    return _finite((centers + spread).reshape(-1, dimension), units)


RANDOM_ORACLES: Mapping[str, Callable[[int, int], Oracle]] = {
    "bandit-0.02": partial(random_bandit, beta=0.02),
    "bandit-0.1": partial(random_bandit, beta=0.1),
    "bandit-0.5": partial(random_bandit, beta=0.5),
    "ellipsoid": random_ellipsoid,
    "hull": random_hull,
    "regimes": random_regimes,
}
"""Instances for experiments by name: ``(dimension, seed) -> oracle``, at least two objectives."""


def _finite(points: Vector, units: Units) -> Oracle:
    """Return a finite front in other units; equal to ``Normalized``, quicker."""
    return FiniteFront(units(FiniteFront(points)).apply(points))


def _answers(oracle: Oracle, weights: Vector) -> Vector:
    return np.stack([oracle(row) for row in weights])


def _on_sphere(
    generator: np.random.Generator, count: int, dimension: int, *, lowest_radius: float
) -> Vector:
    directions = np.abs(generator.normal(size=(count, dimension)))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    points: Vector = directions * generator.uniform(lowest_radius, 1.0, size=(count, 1))
    return points
