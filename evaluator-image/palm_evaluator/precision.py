"""How many samples per prompt a standard error takes. Pure.

A mean over P prompts with m samples each has variance B + W/m: prompts differ (B), and so do the
responses to one prompt (W). Samples shrink W/m; only more prompts shrink B.
"""

from collections.abc import Sequence
from math import ceil, inf, sqrt

import numpy as np
from numpy.typing import NDArray

from palm.evaluations import ErrorUnits, Precision, PrecisionReached

_LEAST = 2  # prompts, and samples per prompt, to tell B from W


def error_units(rewards: NDArray[np.float64], units: ErrorUnits) -> list[float | None]:
    """Return what one training unit is of each reward, then of the divergence; None: of no weight.

    Args:
        rewards: Raw rewards, shape (d, prompts, samples).
        units: As the request states them.
    """
    if units.rewards is not None:
        return [*units.rewards, units.divergence]
    spreads = [float(row.std(ddof=1)) if row.size > 1 else 0.0 for row in rewards]
    return [*(spread or None for spread in spreads), units.divergence]


def samples_wanted(
    values: NDArray[np.float64], units: Sequence[float | None], wanted: Precision
) -> tuple[int, PrecisionReached]:
    """Return how many samples per prompt there should be in all, and how exact the means are now.

    Args:
        values: Rewards and divergence, shape (quantities, prompts, samples).
        units: Of each quantity.
        wanted: What is asked for.

    Returns:
        The present number where no more are to be drawn.
    """
    have, most = values.shape[2], wanted.max_samples_per_prompt
    if values.shape[1] < _LEAST:  # prompts differ, and one does not say how much
        return have, _reached(0.0, wanted, "Prompts")
    counted = [(row / unit) for row, unit in zip(values, units, strict=True) if unit]
    error = max((_error(row) for row in counted), default=0.0)
    if error <= wanted.standard_error:
        return have, _reached(error, wanted, "None")
    if have >= most:
        return have, _reached(error, wanted, "Samples")
    if have < _LEAST:
        return min(_LEAST, most), _reached(error, wanted, "None")
    need = max(_need(row, wanted.standard_error) for row in counted)
    if need == inf:
        return have, _reached(error, wanted, "Prompts")
    # The variances are estimates: no more than twice as many before they are estimated again.
    return min(max(have + 1, ceil(need)), 2 * have, most), _reached(error, wanted, "None")


def _need(row: NDArray[np.float64], target: float) -> float:
    """Return the samples per prompt at which a mean's standard error would be the target."""
    prompts, samples = row.shape
    within = float(row.var(axis=1, ddof=1).mean()) / prompts
    between = max(0.0, _error(row) ** 2 - within / samples)
    return within / (target**2 - between) if target**2 > between else inf


def _error(row: NDArray[np.float64]) -> float:
    means = row.mean(axis=1)
    return float(means.std(ddof=1)) / sqrt(len(means)) if len(means) > 1 else 0.0


def _reached(error: float, wanted: Precision, obstacle: str) -> PrecisionReached:
    return PrecisionReached.model_validate(
        {"standard_error": error, "wanted": wanted.standard_error, "obstacle": obstacle}
    )
