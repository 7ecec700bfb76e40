"""Benchmarks of the pure core: ``make bench``.

Each line compares a function with a bound or a peer measured in the same run, so the ratio means
something on any machine: ``x 1.0`` is as quick as the bound.
"""

import time
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from palm.grid import construct_grid
from palm.objective import scalarize
from palm.pruning import covers, prune
from palm.usage import best_policy

_REPEATS = 5


def seconds(work: Callable[[], object]) -> float:
    """Return the quickest of a few runs, in seconds."""
    times = []
    for _ in range(_REPEATS):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def line(name: str, measured: float, bound_name: str, bound: float) -> None:
    """Print one comparison."""
    print(
        f"{name:<44} {1e3 * measured:10.2f} ms   {bound_name:<32} {1e3 * bound:10.2f} ms"
        f"   x {measured / bound:.1f}"
    )


def grid() -> None:
    """CONSTRUCTGRID against the one pass over its result that nothing can avoid."""
    mu, alpha = Fraction(1, 50), Fraction(1, 50)
    weights = construct_grid(mu, alpha, dimension=3)
    line(
        f"construct_grid, {len(weights):,} weight vectors",
        seconds(lambda: construct_grid(mu, alpha, dimension=3)),
        "lexsort and row sums of the result",
        seconds(lambda: (np.lexsort(weights.T[::-1]), weights.sum(axis=1))),
    )


def objective() -> None:
    """J_w for all pairs against the bare matrix product."""
    random = np.random.default_rng(0)
    weights = random.dirichlet(np.ones(3), size=10_000)
    utilities = random.random((200, 3))
    line(
        "scalarize, 10,000 weights x 200 policies",
        seconds(lambda: scalarize(weights=weights, utilities=utilities)),
        "bare matrix product",
        seconds(lambda: weights @ utilities.T),
    )
    line(
        "best_policy, 1,000,000 preferences x 7",
        seconds(
            lambda: best_policy(weights=np.resize(weights, (1_000_000, 3)), utilities=utilities[:7])
        ),
        "bare product and argmax",
        seconds(lambda: (np.resize(weights, (1_000_000, 3)) @ utilities[:7].T).argmax(axis=1)),
    )


def pruning() -> None:
    """Exact PRUNE against the paper's greedy one on the largest grid of the paper."""
    weights = construct_grid(Fraction(19, 30), Fraction(1, 5), dimension=3)
    front = weights / np.linalg.norm(weights, axis=1, keepdims=True)

    def run(solver: str) -> int:
        return len(
            prune(weights=weights, utilities=front, mu=0.05, alpha=0.0, solver=solver).indices
        )

    line(
        f"prune Exact, {len(weights)} weights -> {run('Exact')} policies",
        seconds(lambda: run("Exact")),
        f"Greedy -> {run('Greedy')} policies",
        seconds(lambda: run("Greedy")),
    )
    values = scalarize(weights=weights, utilities=front)
    line(
        "covers, 91 x 91",
        seconds(lambda: covers(values, mu=0.05, alpha=0.0)),
        "bare comparison",
        seconds(lambda: values >= 0.95 * values.max(axis=1)[:, None]),
    )


if __name__ == "__main__":
    for benchmark in (grid, objective, pruning):
        benchmark()
