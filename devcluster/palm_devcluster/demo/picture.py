"""The picture of a portfolio: what was trained, what was kept, and who is served by what."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000")
_PRUNED = "#b0b0b0"
_PREFERENCES = 401


def draw(manifest: Mapping[str, Any], target: Path) -> None:
    """Draw a Portfolio's manifest as PNG.

    Left: mean reward vectors with standard errors, survivors in colour. Right, for two objectives:
    the best value over all policies and over the portfolio for every preference, shaded by the
    policy that serves it; for more: the share of preferences each survivor serves.
    """
    figure = Figure(figsize=(11.5, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    names = [reward["name"] for reward in manifest["inputs"]["rewards"]]
    colors = _survivor_colors(manifest)
    if len(names) == 2:
        _draw_rewards(left, manifest, names, colors)
        _draw_envelope(right, manifest, names, colors)
    else:
        _draw_parallel(left, manifest, names, colors)
        _draw_usage(right, manifest, colors)
    guarantee, identity = manifest["guarantee"], manifest["portfolio"]
    figure.suptitle(
        f"{identity['namespace']}/{identity['name']}: {len(colors)} of "
        f"{len(manifest['policies'])} policies kept; over the {guarantee['scope'].lower()} "
        f"ε = {_decimal(guarantee['epsilon'])}, δ = {_decimal(guarantee['delta'])}"
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=150)


def _decimal(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _survivor_colors(manifest: Mapping[str, Any]) -> dict[str, str]:
    kept = manifest["cover"]["policies"]
    return {name: _COLORS[i % len(_COLORS)] for i, name in enumerate(kept)}


def _means(entry: Mapping[str, Any]) -> list[float]:
    return [reward["mean"] for reward in entry["rewards"]]


def _draw_rewards(
    axes: Axes, manifest: Mapping[str, Any], names: Sequence[str], colors: Mapping[str, str]
) -> None:
    for entry in manifest["policies"]:
        x, y = _means(entry)
        errors = [reward["standardError"] for reward in entry["rewards"]]
        color = colors.get(entry["name"], _PRUNED)
        axes.errorbar(x, y, xerr=errors[0], yerr=errors[1], fmt="o", color=color, ms=7, capsize=2)
        if entry["name"] in colors:
            label = f"{entry['name'].split('-')[0]} ({_weights(entry)})"
            axes.annotate(label, (x, y), xytext=(7, 7), textcoords="offset points", fontsize=8)
    axes.plot(*_means(manifest["base"]), "kx", ms=8, label="base policy")
    axes.plot([], [], "o", color=_PRUNED, label="trained, pruned")
    axes.set(xlabel=f"mean {names[0]}", ylabel=f"mean {names[1]}", title="Reward vectors")
    axes.margins(x=0.35, y=0.15)
    axes.legend(fontsize=8, loc="lower left")
    axes.grid(alpha=0.3)


def _weights(entry: Mapping[str, Any]) -> str:
    return ", ".join(f"{weight:.2f}" for weight in entry["weights"])


def _draw_envelope(
    axes: Axes, manifest: Mapping[str, Any], names: Sequence[str], colors: Mapping[str, str]
) -> None:
    first = np.linspace(0.0, 1.0, _PREFERENCES)
    preferences = np.stack([first, 1 - first], axis=1)
    utilities = np.array([entry["utilities"] for entry in manifest["policies"]])
    order = [entry["name"] for entry in manifest["policies"]]
    kept = utilities[[order.index(name) for name in colors]]
    values: NDArray[np.float64] = preferences @ kept.T
    best = values.argmax(axis=1)
    axes.plot(first, (preferences @ utilities.T).max(axis=1), "k--", lw=1, label="best trained")
    axes.plot(first, values.max(axis=1), "k-", lw=1.5, label="portfolio")
    for index, (name, color) in enumerate(colors.items()):
        axes.fill_between(
            first, 0, values.max(axis=1), where=best == index, color=color, alpha=0.35,
            label=name.split("-")[0],
        )  # fmt: skip
    axes.set(
        xlabel=f"weight of {names[0]} (the rest is {names[1]})",
        ylabel="normalized objective J_w",
        title="Who serves which preference",
        xlim=(0, 1),
        ylim=(0, None),
    )
    axes.legend(fontsize=8, loc="lower center", ncols=3)
    axes.grid(alpha=0.3)


def _draw_parallel(
    axes: Axes, manifest: Mapping[str, Any], names: Sequence[str], colors: Mapping[str, str]
) -> None:
    for entry in manifest["policies"]:
        color = colors.get(entry["name"], _PRUNED)
        axes.plot(entry["utilities"], "-o", color=color, lw=1 + (entry["name"] in colors))
    axes.set_xticks(range(len(names)), names)
    axes.set(ylabel="normalized utility", title="Policies")
    axes.grid(alpha=0.3)


def _draw_usage(axes: Axes, manifest: Mapping[str, Any], colors: Mapping[str, str]) -> None:
    shares = [100 * share for share in manifest["cover"]["usage"]]
    axes.barh(list(colors), shares, color=list(colors.values()))
    axes.set(xlabel="share of preferences served, %", title="Who serves how many")
