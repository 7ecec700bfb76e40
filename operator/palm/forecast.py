"""How many oracle calls a search is likely to need, before there is anything to search.

Nothing can be known of rewards that nobody has measured. What can be said is how the search does
on random fronts of many kinds (`palm.random_oracles`); a real one may need more, never more than
the grid has weight vectors.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from palm.random_oracles import RANDOM_ORACLES
from palm.search import SearchMode, Target, run_search


@dataclass(frozen=True)
class Simulated:
    """One search on one random front."""

    oracle: str
    seed: int
    oracle_calls: int
    rounds: int


def simulate(
    grid: NDArray[np.float64],
    *,
    mode: SearchMode,
    target: Target,
    batch: int = 1,
    limit: int | None = None,
    seeds: int = 1,
) -> Iterator[Simulated]:
    """Yield a search on each random front of as many objectives.

    Args:
        grid: Weight vectors to be covered, shape ``(n, d)``, d at least 2.
        mode: How the next weight vectors are chosen.
        target: What is to be certified.
        batch: Oracle calls at once.
        limit: Most oracle calls.
        seeds: Fronts of each kind.
    """
    for seed in range(seeds):
        for name, make in RANDOM_ORACLES.items():
            run = run_search(
                make(grid.shape[1], seed),
                grid=grid,
                dimension=grid.shape[1],
                mode=mode,
                target=target,
                batch=batch,
                limit=limit,
            )
            yield Simulated(name, seed, run.oracle_calls, run.rounds)
