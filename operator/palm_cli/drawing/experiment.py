"""The picture of an experiment: what each method costs, and how good its portfolio is."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from palm_cli.drawing.style import INK, MUTED, PAGE, color, look

_COLUMNS = (
    ("oracle_calls", "oracle calls"),
    ("size", "policies"),
    ("epsilon", r"multiplicative gap $\epsilon(P)$"),
    ("delta", r"additive gap $\delta(P)$"),
)
_TICKS = [factor * 10**power for power in range(5) for factor in (1, 2, 5)]
_JITTER = 0.22  # of a row; shows runs of equal value


def experiment_figure(
    means: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]]
) -> Figure:
    """Return the picture of a comparison, two columns wide: a row a method, a dot a run.

    Args:
        means: One row a method: ``method``, ``oracle_calls``, ``size``, ``epsilon``, ``delta``;
            a gap that means nothing is None.
        runs: The same for every run.
    """
    with look():
        figure = Figure(figsize=(PAGE, 0.7 + 0.24 * len(means)), layout="constrained")
        panels = figure.subplots(1, len(_COLUMNS), sharey=True)
        for axes, (key, label) in zip(panels, _COLUMNS, strict=True):
            _draw(axes, means, runs, key)
            axes.set_xlabel(label)
            axes.grid(axis="x", lw=0.4, color=MUTED, alpha=0.5)
            axes.tick_params(axis="y", length=0)
        _logarithmic(panels[0])
        panels[0].set_yticks(range(len(means)), [mean["method"] for mean in means])
        panels[0].set_ylim(len(means) - 0.5, -0.5)
    return figure


def _draw(
    axes: Axes, means: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]], key: str
) -> None:
    generator = np.random.default_rng(0)
    for row, mean in enumerate(means):
        own = [run[key] for run in runs if run["method"] == mean["method"] and run[key] is not None]
        rows = row + generator.uniform(-_JITTER, _JITTER, size=len(own))
        axes.plot(own, rows, "o", ms=2.2, color=color(row), alpha=0.45, mew=0, zorder=2)
        if mean[key] is not None:
            axes.plot(mean[key], row, "D", ms=5, color=color(row), mec=INK, mew=0.6, zorder=3)
    axes.set_xlim(left=0)


def _logarithmic(axes: Axes) -> None:
    values = np.concatenate([np.ravel(line.get_xdata()) for line in axes.lines])
    axes.set_xscale("log")
    axes.set_xlim(0.8 * values.min(), 1.25 * values.max())
    axes.xaxis.set_major_locator(FixedLocator(_TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
