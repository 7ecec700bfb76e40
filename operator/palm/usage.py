"""Who is served by which policy: routing, policy usage and its perplexity (paper, section 4)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from palm.objective import check_pairs

USAGE_SAMPLES = 100_000
"""Preferences sampled for three or more objectives; the standard error of a share is < 0.0016."""

_SEED = 20260101  # fixed: the same policies always have the same shares
_CHUNK = 16_384  # rows; larger blocks leave the processor's cache
_SHARE_TOLERANCE = 1e-6


def best_policy(
    *, weights: NDArray[np.float64], utilities: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Return the policy that serves each weight vector best: argmax of J_w(π).

    Args:
        weights: Weight vectors on the simplex, shape ``(weights, d)``.
        utilities: u(π) of the portfolio, shape ``(policies, d)``, at least one, higher is better.

    Returns:
        Indices of policies, shape ``(weights,)``; ties go to the lower index.

    Raises:
        InvalidResult: A utility is NaN or infinite.
    """
    _check_utilities(utilities)
    check_pairs(weights=weights, utilities=utilities)
    assigned = np.zeros(len(weights), dtype=np.intp)
    for start in range(0, len(weights), _CHUNK):
        columns = np.ascontiguousarray(weights[start : start + _CHUNK].T)
        served = assigned[start : start + _CHUNK]
        best = _objective(columns, utilities[0])
        for policy in range(1, len(utilities)):
            objective = _objective(columns, utilities[policy])
            served[objective > best] = policy
            np.maximum(best, objective, out=best)
    return assigned


def policy_usage(utilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of uniformly distributed preferences that each policy serves best.

    Exact for one and two objectives; for more, of ``USAGE_SAMPLES`` weight vectors drawn uniformly
    from the simplex (Dirichlet(1)) with a fixed seed.

    Args:
        utilities: u(π) of the portfolio, shape ``(policies, d)``, at least one, higher is better.

    Returns:
        Shares, shape ``(policies,)``, summing to 1; of equal policies the lower index has all.

    Raises:
        InvalidResult: A utility is NaN or infinite.
    """
    _check_utilities(utilities)
    policies, dimension = utilities.shape
    extremes = best_policy(weights=np.eye(dimension), utilities=utilities)
    if dimension == 1:
        return np.bincount(extremes, minlength=policies).astype(np.float64)
    if dimension == 2:
        return _envelope_shares(utilities)
    generator = np.random.default_rng(_SEED)
    counts = np.zeros(policies)
    for start in range(0, USAGE_SAMPLES, _CHUNK):
        size = min(_CHUNK, USAGE_SAMPLES - start)
        weights = generator.dirichlet(np.ones(dimension), size=size)
        served = best_policy(weights=weights, utilities=utilities)
        counts += np.bincount(served, minlength=policies)
    shares: NDArray[np.float64] = counts / USAGE_SAMPLES
    return shares


def perplexity(shares: ArrayLike) -> float:
    """Return exp(entropy) of the usage shares: how many policies are effectively in use.

    Args:
        shares: Shape ``(policies,)``, at least 0, summing to 1.

    Returns:
        From 1 (one policy serves everybody) to the number of policies (all serve equally many).
    """
    vector = np.asarray(shares, dtype=np.float64)
    if not ((vector >= 0).all() and abs(vector.sum() - 1.0) <= _SHARE_TOLERANCE):
        raise ValueError(f"shares are {vector.tolist()}; they must be at least 0 and sum to 1")
    used = vector[vector > 0]
    return float(np.exp(-(used * np.log(used)).sum()))


def _objective(columns: NDArray[np.float64], utility: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return J_w of one policy for weight vectors given by coordinate, shape ``(d, weights)``."""
    objective: NDArray[np.float64] = columns[0] * utility[0]
    for column, value in zip(columns[1:], utility[1:], strict=True):
        objective += column * value
    return objective


def _envelope_shares(utilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lengths of the upper envelope's pieces over w = (t, 1-t), t from 0 to 1."""
    start, slope = utilities[:, 1], utilities[:, 0] - utilities[:, 1]
    shares = np.zeros(len(utilities))
    # At t = 0 the steepest of the best leads; lexsort is stable, so the lower index breaks ties.
    current = int(np.lexsort((-slope, -start))[0])
    t = 0.0
    while t < 1.0:
        steeper = np.flatnonzero(slope > slope[current])
        crossings = (start[current] - start[steeper]) / (slope[steeper] - slope[current])
        order = np.lexsort((-slope[steeper], crossings))
        end = float(min(crossings[order[0]], 1.0)) if len(order) else 1.0
        shares[current] += max(end - t, 0.0)
        t = max(end, t)
        if len(order):
            current = int(steeper[order[0]])
    return shares


def _check_utilities(utilities: NDArray[np.float64]) -> None:
    if utilities.ndim != 2 or not utilities.size:
        raise ValueError(
            "utilities must have shape (policies, d) with at least one policy, not "
            f"{utilities.shape}"
        )
