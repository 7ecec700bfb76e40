"""A whole search over an oracle: for experiments, benchmarks and the command line."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from palm.search.known import Known, Target
from palm.search.mode import next_weights
from palm.search.next import SearchMode

Oracle = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class SearchRun:
    """What a search trained, and whether that suffices.

    Attributes:
        weights: Weight vectors in the order they were trained, shape ``(n, d)``.
        utilities: u(π) of their policies, shape ``(n, d)``.
        rounds: Batches, one after the other.
        uncovered: Weight vectors that stay uncertified, shape ``(u, d)``; empty on success.
        gap: The largest by which one of them is short; at most 0 on success.
    """

    weights: NDArray[np.float64]
    utilities: NDArray[np.float64]
    rounds: int
    uncovered: NDArray[np.float64]
    gap: float

    @property
    def oracle_calls(self) -> int:
        """Return how many policies were trained."""
        return len(self.weights)


def run_search(
    oracle: Oracle,
    *,
    grid: NDArray[np.float64] | None,
    dimension: int,
    mode: SearchMode,
    target: Target,
    batch: int = 1,
    limit: int | None = None,
    off_grid: bool = False,
) -> SearchRun:
    """Train until everything is certified or nothing is left to train.

    Args:
        oracle: Answers a weight vector, shape ``(d,)``, with the utilities of its policy.
        grid: What is to be certified, shape ``(n, d)``; None for the whole simplex.
        dimension: Number of objectives d.
        mode: Which weight vectors are trained.
        target: What is to be certified.
        batch: Most oracle calls at once.
        limit: Most oracle calls; None for no limit (a grid is one itself).
        off_grid: See ``next_weights``.
    """
    nothing = np.empty((0, dimension))
    weights, utilities, rounds = nothing, nothing, 0
    while True:
        known = Known(weights=weights, utilities=utilities, in_flight=nothing, failed=nothing)
        free = batch if limit is None else min(batch, limit - len(weights))
        step = next_weights(
            known, grid=grid, mode=mode, target=target, size=max(free, 1), off_grid=off_grid
        )
        if step.is_complete or free <= 0:
            return SearchRun(weights, utilities, rounds, step.uncovered, step.gap)
        answers = np.array([oracle(row) for row in step.weights])
        weights, utilities = np.vstack([weights, step.weights]), np.vstack([utilities, answers])
        rounds += 1
