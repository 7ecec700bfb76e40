"""The best portfolio of limited size: at most k policies, the smallest tolerance that they need.

PRUNE of Algorithm 1 turned around: it is given a tolerance and finds the fewest policies; here the
number of policies is given. Of several sets that need the same tolerance, the one with the least
δ is the best. With ``α' = 0`` the tolerance is ε itself over the weight vectors, so
no set of at most k policies has a smaller ε there. Every tolerance worth trying is the shortfall
of one policy at one weight vector; bisection finds the smallest of them at which k policies cover
everything, each question being a set cover (``palm.set_cover``), so the answer is exact.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from time import monotonic
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from palm.bounds import lower_bound
from palm.cover_matrix import CoverMatrix
from palm.integer_cover import cover_within
from palm.interval_cover import interval_cover, intervals
from palm.objective import check_pairs, objective_blocks
from palm.pruning import worst_relative
from palm.set_cover import EXACT_LIMIT, greedy_cover, minimum_cover, reverse_delete

Measure = Literal["Relative", "Absolute"]


@dataclass(frozen=True, eq=False)
class BestPortfolio:
    """The set of at most k policies that needs the smallest tolerance to cover everything.

    Attributes:
        indices: Policies of the set, ascending.
        measure: ``Relative``: the tolerance is a μ', given α'. ``Absolute``: it is an α', given
            μ'; only where no finite μ' is enough, because some opt_w is 0.
        tolerance: The smallest at which at most k policies cover every weight vector.
        proven: Whether no set of at most k policies needs less, nor as much with a smaller δ.
        epsilon: Largest relative shortfall over the weight vectors; None where it means nothing.
        delta: Largest absolute shortfall over the weight vectors.
    """

    indices: tuple[int, ...]
    measure: Measure
    tolerance: float
    proven: bool
    epsilon: float | None
    delta: float


def best_portfolio(
    *,
    weights: NDArray[np.float64],
    utilities: NDArray[np.float64],
    most: int,
    mu: float = 0.0,
    alpha: float = 0.0,
    preferred: Collection[int] = (),
    optimum: NDArray[np.float64] | None = None,
    time_limit: float = 10.0,
) -> BestPortfolio:
    """Return the at most ``most`` policies that cover all weight vectors within the least μ'.

    Ties: the least δ first, then the fewest policies, then the most ``preferred``, then the
    lexicographically smallest index set.

    Memory: a bit per weight vector and policy, and a few megabytes.

    Args:
        weights: Weight vectors on the simplex, shape ``(weights, d)``, at least one.
        utilities: Normalized u(π), shape ``(policies, d)``, at least one, higher is better.
        most: k, at least 1.
        mu: μ' that is granted where the tolerance is absolute, in [0, 1].
        alpha: α' that is granted where it is relative, finite and at least 0.
        preferred: Policies to keep where it costs nothing.
        optimum: As for ``palm.pruning.prune``.
        time_limit: Seconds, as for ``minimum_cover``; afterwards the best set found is returned,
            not proven.

    Raises:
        InvalidResult: A utility is NaN or infinite, with its row (policy) and column (objective).
    """
    if most < 1:
        raise ValueError(f"most is {most}; at least 1 policy must be allowed")
    if not (0 <= mu <= 1 and alpha >= 0 and np.isfinite(alpha)):
        raise ValueError(f"mu is {mu} and alpha {alpha}; they must be in [0, 1] and at least 0")
    check_pairs(weights=weights, utilities=utilities)
    if not len(weights) or not len(utilities):
        raise ValueError("there must be a weight vector and a policy")
    best = lower_bound(weights, utilities)
    best = best if optimum is None else np.maximum(best, optimum)
    order = np.arange(len(weights))
    if weights.shape[1] == 2:  # along the line, where policies cover intervals
        order = np.argsort(weights[:, 0], kind="stable")
    along, top = weights[order], best[order]
    size = np.abs(top)
    one, deadline = np.ones_like(size), monotonic() + time_limit
    measure: Measure = "Relative"
    shortfalls = _Shortfalls(along, utilities, required=top - alpha, unit=size)
    found = _tightest(shortfalls, most=most, deadline=deadline)
    if found is None:
        measure = "Absolute"
        shortfalls = _Shortfalls(along, utilities, required=top - mu * size, unit=one)
        found = _tightest(shortfalls, most=most, deadline=deadline)
    if found is None:
        raise ValueError("optimum must be finite")
    best_set, tolerance, proven = found
    among = _Shortfalls(along, utilities, top, one, within=(shortfalls, tolerance))
    second = _tightest(among, most=most, deadline=deadline)
    delta = among.needed(best_set) if second is None else second[1]
    best_set = best_set if second is None else second[0]
    left = max(deadline - monotonic(), 0.0)
    tied = minimum_cover(among.covers(delta), preferred=preferred, time_limit=left)
    indices = tied.indices if len(tied.indices) <= most else tuple(sorted(best_set))
    proven = proven and second is not None and second[2]
    lacking = best - lower_bound(weights, utilities[list(indices)])
    return BestPortfolio(
        indices=indices,
        measure=measure,
        tolerance=tolerance,
        proven=proven,
        epsilon=worst_relative(lacking, best=best),
        delta=float(lacking.max()),
    )


@dataclass(frozen=True, eq=False)
class _Shortfalls:
    """How much tolerance each policy needs at each weight vector, computed anew when asked.

    Attributes:
        weights: Shape ``(weights, d)``; with two objectives in the order along the line.
        utilities: Shape ``(policies, d)``.
        required: What is to be reached, shape ``(weights,)``.
        unit: What a tolerance of 1 gives away, shape ``(weights,)``, at least 0.
        within: Other shortfalls, and the tolerance beyond which nothing is covered anyhow.
    """

    weights: NDArray[np.float64]
    utilities: NDArray[np.float64]
    required: NDArray[np.float64]
    unit: NDArray[np.float64]
    within: "tuple[_Shortfalls, float] | None" = None

    def blocks(
        self, utilities: NDArray[np.float64] | None = None
    ) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Yield rows and their shortfalls, shape ``(rows, policies)``; infinite: never covered."""
        asked = self.utilities if utilities is None else utilities
        if self.within is not None:
            other, tolerance = self.within
            for (rows, needed), (_, already) in zip(
                replace(self, within=None).blocks(asked), other.blocks(asked), strict=True
            ):
                yield rows, np.where(already <= tolerance, needed, np.inf)
            return
        for rows, objective in objective_blocks(weights=self.weights, utilities=asked):
            lacking = np.maximum(self.required[rows, None] - objective, 0.0)
            nothing = np.where(lacking > 0, np.inf, 0.0)
            unit = np.broadcast_to(self.unit[rows, None], lacking.shape)
            yield rows, np.divide(lacking, unit, out=nothing, where=unit > 0)

    def covers(self, tolerance: float) -> CoverMatrix:
        """Return which policy covers which weight vector at a tolerance."""
        policies = len(self.utilities)
        bits = np.empty((len(self.weights), -(-policies // 8)), dtype=np.uint8)
        for rows, needed in self.blocks():
            bits[rows] = np.packbits(needed <= tolerance, axis=1, bitorder="little")
        return CoverMatrix(bits=bits, policies=policies)

    def needed(self, indices: Collection[int]) -> float:
        """Return the tolerance that a set of policies needs."""
        chosen = self.utilities[sorted(indices)]
        return max(float(block.min(axis=1).max()) for _, block in self.blocks(chosen))

    def above(self, tolerance: float) -> float:
        """Return the next larger shortfall, infinite if there is none."""
        return min(
            float(block[block > tolerance].min(initial=np.inf)) for _, block in self.blocks()
        )

    def middle(self, lower: float, upper: float) -> float:
        """Return a shortfall from ``lower``, which is one, to below ``upper``: about the median."""
        medians = []
        for _, block in self.blocks():
            inside = block[(block >= lower) & (block < upper)]
            if inside.size:
                half = (inside.size - 1) // 2
                medians.append(float(np.partition(inside, half)[half]))
        return sorted(medians)[(len(medians) - 1) // 2]

    def largest(self) -> float:
        """Return the largest finite shortfall."""
        return max(float(block[np.isfinite(block)].max(initial=0.0)) for _, block in self.blocks())


def _tightest(
    shortfalls: _Shortfalls, *, most: int, deadline: float
) -> tuple[tuple[int, ...], float, bool] | None:
    """Return a set that needs the least, how much that is, and whether none needs less.

    None where no finite tolerance is known to be enough.
    """
    everything = range(len(shortfalls.utilities))
    lower, upper = shortfalls.needed(everything), shortfalls.largest()
    if lower > upper:
        return None
    # Below `lower` nothing is enough; `best` needs `upper`. Both are shortfalls.
    probe, proven = lower, True
    best: tuple[int, ...] = ()
    while True:
        chosen, decided = _within(shortfalls.covers(probe), most=most, deadline=deadline)
        if chosen is not None:
            best, upper = chosen, shortfalls.needed(chosen)
        else:
            proven = proven and decided
            lower = shortfalls.above(probe)
        if best and (lower >= upper or monotonic() > deadline):
            break
        if not best and probe >= upper:
            return None
        probe = shortfalls.middle(lower, upper) if best else upper
    return best, upper, proven and lower >= upper


def _within(
    covers: CoverMatrix, *, most: int, deadline: float
) -> tuple[tuple[int, ...] | None, bool]:
    """Return a cover of at most so many policies, and whether it is decided that there is none."""
    if len(covers.uncovered()):
        return None, True
    ends = intervals(covers)
    if ends is not None:
        liked = np.zeros(covers.policies, dtype=np.bool_)
        swept = interval_cover(ends, points=len(covers.bits), liked=liked)
        return (swept, True) if len(swept) <= most else (None, True)
    greedy = reverse_delete(covers, cover=greedy_cover(covers))
    if len(greedy) <= most:
        return greedy, True
    if max(covers.shape) > EXACT_LIMIT:
        return None, False
    return cover_within(covers.boolean(), most=most, deadline=deadline)
