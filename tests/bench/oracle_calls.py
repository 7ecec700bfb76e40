"""Benchmark of the search: oracle calls at the same guarantee on the same grid. ``make bench``.

Every number is a mean over seeds and six random oracles, as a share of the oracle calls of the
full grid. Searches are compared with ``largest gap first``, the rule of Optimistic Linear Support:
the default, which assumes nothing, and the one that may assume that utilities are at least 0 (it
gives the assumption up where results refute it) and may train outside the grid. Each run is checked
against the true optimum; one broken promise fails the benchmark.
"""

import argparse
import itertools
import statistics
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from measuring import machine
from numpy.typing import NDArray

from palm.grid import construct_grid
from palm.oracles import Oracle
from palm.pruning import covers, prune
from palm.random_oracles import RANDOM_ORACLES
from palm.search import Known, SearchRun, Target, run_search
from palm.search.known import bounds_of
from palm.set_cover import minimum_cover

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """A grid and a tolerance of the published experiments."""

    dimension: int
    mu: str
    alpha: str
    tolerance: float

    @property
    def grid(self) -> Array:
        """Return the weight vectors."""
        return construct_grid(Fraction(self.mu), Fraction(self.alpha), dimension=self.dimension)

    @property
    def target(self) -> Target:
        """Return what is to be certified, without assumptions."""
        return Target(mu=self.tolerance, alpha=0.0)


TWO = [
    Setting(2, mu, alpha, tolerance)
    for mu, alpha in (
        ("8/30", "1/5"),
        ("14/30", "7/100"),
        ("16/30", "7/100"),
        ("16/30", "5/100"),
        ("16/30", "2/100"),
        ("16/30", "1/100"),
    )
    for tolerance in (0.01, 0.05, 0.10)
]
THREE = [Setting(3, "19/30", "1/5", tolerance) for tolerance in (0.05, 0.10)]
FOUR = [Setting(4, "19/30", "2/5", 0.10)]


def largest_gap_first(oracle: Oracle, setting: Setting) -> SearchRun:
    """The peer: extreme policies, then always the weight vector with the largest gap."""
    grid, target = setting.grid, setting.target
    nothing = np.empty((0, setting.dimension))
    weights = np.eye(setting.dimension)
    utilities = np.array([oracle(w) for w in weights])
    while True:
        gaps = bounds_of(Known(weights, utilities, nothing, nothing), target).gaps(grid)
        worst = int(gaps.argmax())
        if gaps[worst] <= 0:
            return SearchRun(weights, utilities, len(weights), nothing, float(gaps[worst]))
        weights = np.vstack([weights, grid[worst]])
        utilities = np.vstack([utilities, oracle(grid[worst])])


def default(oracle: Oracle, setting: Setting, batch: int = 1) -> SearchRun:
    """Adaptive as the operator runs it: nothing assumed, weight vectors of the grid only."""
    return run_search(
        oracle,
        grid=setting.grid,
        dimension=setting.dimension,
        mode="Adaptive",
        target=setting.target,
        batch=batch,
    )


def batches_of_four(oracle: Oracle, setting: Setting) -> SearchRun:
    """The default, four oracle calls at once."""
    return default(oracle, setting, batch=4)


def with_floor(oracle: Oracle, setting: Setting) -> SearchRun:
    """Adaptive that assumes utilities of at least 0 and may train outside the grid."""
    target = Target(mu=setting.tolerance, alpha=0.0, floor=0.0)
    return run_search(
        oracle,
        grid=setting.grid,
        dimension=setting.dimension,
        mode="Adaptive",
        target=target,
        off_grid=True,
    )


SEARCHES: dict[str, Callable[[Oracle, Setting], SearchRun]] = {
    "largest gap first": largest_gap_first,
    "default": default,
    "default, 4 at once": batches_of_four,
    "floor 0, off grid": with_floor,
}


def fewest_possible(oracle: Oracle, setting: Setting) -> int:
    """Return what a clairvoyant search without a floor needs on a grid of two objectives.

    It knows every answer beforehand and still has to train what proves the bound: a shortest path
    over the grid, since between neighbours only their chord bounds a convex optimum.
    """
    grid = setting.grid[np.argsort(setting.grid[:, 0])]
    policies = np.array([oracle(w) for w in grid])
    optimum, t = (grid * policies).sum(axis=1), grid[:, 0]
    calls = [1.0] + [np.inf] * (len(grid) - 1)
    for i, j in sorted(itertools.combinations(range(len(grid)), 2), key=lambda pair: pair[1]):
        inside = np.arange(i + 1, j)
        chord = optimum[i] + (t[inside] - t[i]) / (t[j] - t[i]) * (optimum[j] - optimum[i])
        worth = np.maximum(grid[inside] @ policies[i], grid[inside] @ policies[j])
        if (setting.target.required(chord) <= worth).all():
            calls[j] = min(calls[j], calls[i] + 1)
    return int(calls[-1])


def calls_of(task: tuple[str, str, int, Setting]) -> tuple[float, bool]:
    """Return the calls of one search as a share of its grid, and whether its promise is true."""
    search, name, seed, setting = task
    oracle = RANDOM_ORACLES[name](setting.dimension, seed)
    grid = setting.grid
    if search == "fewest possible":
        return fewest_possible(oracle, setting) / len(grid), True
    run = SEARCHES[search](oracle, setting)
    optimum = oracle.optimum(grid)
    worth = (grid @ run.utilities.T).max(axis=1)
    kept = bool((worth >= setting.target.required(optimum) - 1e-9).all())
    return run.oracle_calls / len(grid), kept


def proposed(task: tuple[str, int, Setting]) -> tuple[float, int, int]:
    """Return Propose's share of the calls, its portfolio's size, and that of the whole grid."""
    name, seed, setting = task
    oracle, grid, target = (
        RANDOM_ORACLES[name](setting.dimension, seed),
        setting.grid,
        setting.target,
    )
    run = run_search(
        oracle, grid=grid, dimension=setting.dimension, mode="Propose", target=target, batch=1
    )
    nothing = np.empty((0, setting.dimension))
    possible = bounds_of(Known(run.weights, run.utilities, nothing, nothing), target).above(grid)
    small = prune(
        weights=grid,
        utilities=run.utilities,
        mu=setting.tolerance,
        alpha=0.0,
        solver="Exact",
        optimum=possible,
    )
    everything = np.array([oracle(w) for w in grid])
    whole = minimum_cover(covers(grid @ everything.T, mu=setting.tolerance, alpha=0.0))
    return run.oracle_calls / len(grid), len(small.indices), len(whole.indices)


def adaptive(pool: ProcessPoolExecutor, seeds: int) -> bool:
    """Print Adaptive / Grid for every dimension; say whether every promise was kept."""
    all_kept = True
    for settings, goal in ((TWO, 0.28), (THREE, 0.17), (FOUR, 0.165)):
        dimension = settings[0].dimension
        searches = [*SEARCHES, *(["fewest possible"] if dimension == 2 else [])]
        for search in searches:
            tasks = [
                (search, name, seed, s)
                for s in settings
                for name in RANDOM_ORACLES
                for seed in range(seeds)
            ]
            results = list(pool.map(calls_of, tasks, chunksize=4))
            share = statistics.fmean(share for share, _ in results)
            broken = sum(not kept for _, kept in results)
            all_kept &= not broken
            aim = f" (goal {goal}: {'kept' if share <= goal else 'not kept'})"
            print(
                f"oracle calls / grid, d = {dimension}, {search}: {share:.4f}"
                f"{aim if search == 'floor 0, off grid' else ''}; {len(results)} searches, "
                f"{broken} broken promises",
                flush=True,
            )
    return all_kept


def propose(pool: ProcessPoolExecutor, seeds: int) -> None:
    """Print the size of Propose's portfolio and what it cost."""
    tasks = [(name, seed, THREE[0]) for name in RANDOM_ORACLES for seed in range(seeds)]
    results = list(pool.map(proposed, tasks))
    share = statistics.fmean(result[0] for result in results)
    size = statistics.fmean(small / whole for _, small, whole in results)
    print(
        f"propose, d = 3, 91 weight vectors, tolerance 0.05: size {size:.3f} x that of the whole "
        f"grid (goal 1.10: {'kept' if size <= 1.10 else 'not kept'}) with {share:.3f} x its calls "
        f"(goal 0.40: {'kept' if share <= 0.40 else 'not kept'})",
        flush=True,
    )


def main(arguments: Iterable[str]) -> int:
    """Run everything; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="per oracle and setting")
    seeds = parser.parse_args(list(arguments)).seeds
    print(f"{seeds} seeds x {len(RANDOM_ORACLES)} oracles per setting; {machine()}")
    with ProcessPoolExecutor() as pool:
        kept = adaptive(pool, seeds)
        propose(pool, seeds)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
