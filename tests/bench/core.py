"""Benchmarks of the pure core: ``make bench``.

Each line compares a function with a bound or a peer measured in the same run, so the ratio means
something on any machine, and with the goal of two plain cores.
"""

import statistics
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
from measuring import line, machine, seconds
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, HalfspaceIntersection

from palm.certificate import certify
from palm.cover_matrix import CoverMatrix, cover_matrix
from palm.grid import construct_grid
from palm.objective import objective_blocks, scalarize
from palm.pruning import prune
from palm.set_cover import greedy_cover, minimum_cover, reverse_delete
from palm.usage import best_policy

LARGE = 10_000
PUBLISHED = construct_grid(Fraction(19, 30), Fraction(1, 5), dimension=3)  # 91 weight vectors


def sphere(count: int, dimension: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weight vectors, the extremes first, and their policies on a smooth front."""
    random = np.random.default_rng(0).dirichlet(np.ones(dimension), size=count - dimension)
    weights = np.vstack([np.eye(dimension), random])
    return weights, weights / np.linalg.norm(weights, axis=1, keepdims=True)


def grid() -> None:
    """CONSTRUCTGRID against the one pass over its result that nothing can avoid."""
    mu, alpha = Fraction(1, 50), Fraction(1, 40)
    weights = construct_grid(mu, alpha, dimension=3)
    line(
        f"construct_grid, {len(weights):,} weight vectors",
        seconds(lambda: construct_grid(mu, alpha, dimension=3)),
        "lexsort and row sums of the result",
        seconds(lambda: (np.lexsort(weights.T[::-1]), weights.sum(axis=1))),
        goal=0.060,
    )


def large_covers() -> None:
    """Cover matrix and greedy cover of 10,000 weight vectors by as many policies."""
    weights, front = sphere(LARGE, 3)

    def objectives_only() -> None:
        for _ in objective_blocks(weights=weights, utilities=front):
            pass

    line(
        f"cover_matrix, {LARGE:,} x {LARGE:,}, d = 3",
        seconds(lambda: cover_matrix(weights=weights, utilities=front, mu=0.01, alpha=0.0)),
        "the bare objectives, not even kept",
        seconds(objectives_only),
        goal=0.3,
    )
    everything = np.arange(LARGE)
    for mu in (0.01, 0.0005):
        matrix, _ = cover_matrix(weights=weights, utilities=front, mu=mu, alpha=0.0)
        line(
            f"greedy_cover, {LARGE:,} x {LARGE:,}, {len(greedy_cover(matrix))} policies",
            seconds(lambda matrix=matrix: greedy_cover(matrix)),  # type: ignore[misc]
            "one count over the matrix",
            seconds(lambda matrix=matrix: matrix.counts(everything)),  # type: ignore[misc]
            goal=1.5,
        )


def interval_covers() -> None:
    """The exact sweep for two objectives against the greedy cover of the same matrix."""
    weights, front = sphere(LARGE, 2)
    order = np.argsort(weights[:, 0])
    matrix, _ = cover_matrix(weights=weights[order], utilities=front, mu=0.001, alpha=0.0)
    line(
        f"minimum_cover, d = 2, {LARGE:,} x {LARGE:,}, {len(minimum_cover(matrix).indices)} of "
        f"greedy's {len(greedy_cover(matrix))} policies, proven",
        seconds(lambda: minimum_cover(matrix)),
        "greedy_cover",
        seconds(lambda: greedy_cover(matrix)),
        goal=0.5,
    )


def published_covers() -> None:
    """Exact covers of the paper's largest grid, ties included, over fronts and tolerances."""
    times, peers, sizes, greedy_sizes, unproven = [], [], [], [], 0
    for utilities in fronts(PUBLISHED):
        for mu in (0.02, 0.05, 0.10):
            matrix, _ = cover_matrix(weights=PUBLISHED, utilities=utilities, mu=mu, alpha=0.0)
            cover = minimum_cover(matrix)
            times.append(seconds(lambda matrix=matrix: minimum_cover(matrix)))  # type: ignore[misc]
            peers.append(seconds(lambda matrix=matrix: trimmed(matrix)))  # type: ignore[misc]
            sizes.append(len(cover.indices))
            greedy_sizes.append(len(trimmed(matrix)))
            unproven += not cover.proven
    line(
        f"minimum_cover, |W| = {len(PUBLISHED)}, median of {len(times)} covers (slowest "
        f"{1e3 * max(times):.0f} ms, {unproven} not proven; {statistics.mean(sizes):.2f} policies "
        f"to greedy's {statistics.mean(greedy_sizes):.2f})",
        statistics.median(times),
        "greedy_cover and reverse_delete",
        statistics.median(peers),
        goal=0.2,
    )


def trimmed(matrix: CoverMatrix) -> tuple[int, ...]:
    return reverse_delete(matrix, cover=greedy_cover(matrix))


def fronts(weights: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return the policies of exact oracles at weight vectors: smooth, faceted and entropic."""
    sized = weights * np.array([1.0, 0.7, 0.5])
    found = [
        weights / np.linalg.norm(weights, axis=1, keepdims=True),
        sized * np.array([1.0, 0.7, 0.5]) / np.linalg.norm(sized, axis=1, keepdims=True),
    ]
    for seed in range(3):
        points = np.random.default_rng(seed).random((40, 3))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        found.append(points[(weights @ points.T).argmax(axis=1)])
    rewards = np.random.default_rng(1).random((40, 48, 3))  # prompts, responses, objectives
    for beta in (0.02, 0.1, 0.5):
        tilted = np.exp((np.einsum("prd,wd->wpr", rewards, weights) - 1.0) / beta)
        policy = tilted / tilted.sum(axis=2, keepdims=True)
        divergence = np.where(policy > 0, policy * np.log(np.maximum(policy, 1e-300) * 48), 0.0)
        expected = np.einsum("wpr,prd->wd", policy, rewards) / 40
        found.append(expected - beta * divergence.sum(axis=2).mean(axis=1)[:, None])
    return found


def certificates() -> None:
    """A certificate over the whole simplex against the two Qhull calls that it needs."""
    trained = 100
    for dimension in (2, 3, 4, 5):
        weights, front = sphere(trained, dimension)
        portfolio = range(0, trained, 5)
        kept, free = front[::5], dimension - 1
        points = np.column_stack([weights[:, :free], (weights * front).sum(axis=1)])
        above = np.column_stack(
            [kept[:, :free] - kept[:, free:], -np.ones(len(kept)), kept[:, free]]
        )
        walls = np.column_stack([-np.eye(free), np.zeros((free, 2))])
        rest = np.array([[*np.ones(free), 0.0, -1.0], [*np.zeros(free), 1.0, -2.0]])
        halfspaces = np.vstack([above, walls, rest])
        inner = np.append(np.full(free, 1.0 / dimension), 1.5)

        def hulls(
            points: NDArray[np.float64] = points,
            halfspaces: NDArray[np.float64] = halfspaces,
            inner: NDArray[np.float64] = inner,
        ) -> None:
            ConvexHull(points)
            HalfspaceIntersection(halfspaces, inner)

        line(
            f"certify, {trained} trained policies, {len(portfolio)} kept, d = {dimension}",
            seconds(
                lambda w=weights, u=front, p=portfolio: certify(  # type: ignore[misc]
                    weights=w, utilities=u, portfolio=p
                )
            ),
            "two bare Qhull calls",
            seconds(hulls),
            goal=0.1,
        )


def routing() -> None:
    """A million preferences against the bare product and argmax; all pairs against the product."""
    weights = np.random.default_rng(0).dirichlet(np.ones(3), size=1_000_000)
    utilities = np.random.default_rng(1).random((200, 3))
    line(
        "best_policy, 1,000,000 preferences x 7 policies",
        seconds(lambda: best_policy(weights=weights, utilities=utilities[:7])),
        "the bare product and argmax",
        seconds(lambda: (weights @ utilities[:7].T).argmax(axis=1)),
        goal=0.15,
    )
    few = weights[:LARGE]
    line(
        f"scalarize, {LARGE:,} weight vectors x 200 policies",
        seconds(lambda: scalarize(weights=few, utilities=utilities)),
        "the bare product",
        seconds(lambda: few @ utilities.T),
    )


def memory() -> None:
    """Peak memory of pruning at 10,000 x 10,000, in a process of its own."""
    child = subprocess.run(
        [sys.executable, __file__, "--memory"], check=True, capture_output=True, text=True
    )
    used = float(child.stdout) / 1024
    bits, dense = LARGE * LARGE / 8 / 2**20, LARGE * LARGE * 8 / 2**20
    print(
        f"prune, {LARGE:,} x {LARGE:,}, peak memory: {used:.0f} MiB (bound {bits:.0f} MiB of bits; "
        f"the objectives alone would be {dense:.0f} MiB; {machine()})"
    )


def peak_of_pruning() -> int:
    """Return what pruning adds to the peak resident set, in KiB (Linux)."""
    weights, front = sphere(LARGE, 3)
    before = peak()
    prune(weights=weights, utilities=front, mu=0.0005, alpha=0.0, solver="Exact")
    return peak() - before


def peak() -> int:
    # Not getrusage: a child's peak there begins with its parent's.
    rows = Path("/proc/self/status").read_text().splitlines()
    return int(next(row for row in rows if row.startswith("VmHWM")).split()[1])


if __name__ == "__main__":
    if "--memory" in sys.argv:
        print(peak_of_pruning())
        sys.exit()
    for benchmark in (
        grid,
        large_covers,
        interval_covers,
        published_covers,
        certificates,
        routing,
        memory,
    ):
        benchmark()
