"""The search over the weight vectors of a grid by their index, as the operator asks for it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from palm.search.known import Known, Target, is_among
from palm.search.mode import next_weights
from palm.search.next import SearchMode


@dataclass(frozen=True)
class SearchStep:
    """What to train next, by index in the grid.

    Attributes:
        batch: Weight vectors to train, most urgent first; none while what is in flight may suffice.
        is_complete: Whether the search has ended: everything is certified, or nothing is left that
            could be trained.
        uncovered: Weight vectors not certified by what is evaluated, ascending.
        gap: The largest by which one of them is short, in units of utility; at most 0 when all are
            certified, infinite where nothing bounds the optimum yet.
    """

    batch: tuple[int, ...]
    is_complete: bool
    uncovered: tuple[int, ...]
    gap: float


def next_batch(
    *,
    weights: NDArray[np.float64],
    utilities: Mapping[int, Sequence[float]],
    in_flight: Collection[int] = (),
    failed: Collection[int] = (),
    mode: SearchMode,
    target: Target,
    size: int,
) -> SearchStep:
    """Return the next oracle calls; a pure function of what is known, the same for the same.

    Args:
        weights: The grid, on the simplex, shape ``(n, d)``.
        utilities: u(π) of the evaluated policies by the index of their weight vector, each of
            length d. A policy that is evaluated is neither in flight nor failed.
        in_flight: Weight vectors being trained or evaluated.
        failed: Weight vectors whose oracle call failed; they are not proposed again, and stay
            uncovered unless other policies cover them.
        mode: Which weight vectors are trained.
        target: What is to be certified.
        size: Most weight vectors to propose, at least 1.

    Raises:
        ValueError: An index is not of the grid, or a vector has another length than d.
        InvalidResult: A utility is NaN or infinite.
    """
    count, dimension = weights.shape
    for name, indices in (("utilities", utilities), ("in_flight", in_flight), ("failed", failed)):
        for index in indices:
            if not 0 <= index < count:
                raise ValueError(f"{name} names weight vector {index}; the grid has {count}")
    for index, vector in utilities.items():
        if len(vector) != dimension:
            raise ValueError(
                f"utilities of weight vector {index} have length {len(vector)}, not {dimension}"
            )
    evaluated = sorted(utilities)
    under_way = sorted(set(in_flight) - set(evaluated))
    broken = sorted(set(failed) - set(evaluated) - set(in_flight))
    known = Known(
        weights=weights[evaluated],
        utilities=np.array([utilities[i] for i in evaluated], dtype=np.float64).reshape(
            -1, dimension
        ),
        in_flight=weights[under_way],
        failed=weights[broken],
    )
    step = next_weights(known, grid=weights, mode=mode, target=target, size=size)
    return SearchStep(
        batch=tuple(_index(weights, row) for row in step.weights),
        is_complete=step.is_complete,
        uncovered=tuple(np.flatnonzero(is_among(weights, step.uncovered)).tolist()),
        gap=step.gap,
    )


def _index(grid: NDArray[np.float64], weight: NDArray[np.float64]) -> int:
    return int(np.abs(grid - weight).max(axis=1).argmin())
