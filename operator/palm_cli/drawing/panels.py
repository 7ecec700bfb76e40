"""The panels that pictures of a portfolio are made of."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from palm.bounds import lower_bound, upper_bound
from palm.usage import best_policy, policy_usage
from palm_cli.drawing import simplex
from palm_cli.drawing.style import FAILED, INK, MUTED, color, ink_on, short
from palm_cli.drawing.view import Array, View

_PREFERENCES = 1001
_COVERED = "#c6dff0"
_LABELLED = 0.03  # share of the simplex above which a cell has room for its policy's name
_BESIDE = 0.05  # edges of the simplex; half the height of a name and of a dot


def draw_curves(axes: Axes, view: View) -> None:
    """Draw J_w over the weight of the first of two objectives: every policy, and the best one.

    What lies between the best trained policy and the upper bound of the optimum is shaded.
    """
    first = np.linspace(0.0, 1.0, _PREFERENCES)
    preferences = np.stack([first, 1 - first], axis=1)
    values = preferences @ view.utilities.T
    axes.plot(first, values[:, view.others], color=MUTED, lw=0.4, alpha=0.5, zorder=1)
    if view.others:
        axes.plot([], [], color=MUTED, lw=0.6, label="pruned")
    for position, index in enumerate(view.kept):
        axes.plot(first, values[:, index], color=color(position), lw=0.8, alpha=0.6, zorder=2)
    served = best_policy(weights=preferences, utilities=view.utilities[list(view.kept)])
    portfolio = values[:, list(view.kept)].max(axis=1)
    for position in range(len(view.kept)):
        piece = np.where(served == position, portfolio, np.nan)
        axes.plot(first, piece, color=color(position), lw=2.2, zorder=3, solid_capstyle="butt")
    best = values.max(axis=1)
    possible = upper_bound(weights=view.weights, values=lower_bound(view.weights, view.utilities))(
        preferences
    )
    axes.fill_between(
        first, best, possible, where=np.isfinite(possible), color=MUTED, alpha=0.35, lw=0,
        label="not ruled out", zorder=1,
    )  # fmt: skip
    axes.plot(first, best, color=INK, lw=0.8, ls=(0, (2, 2)), zorder=4, label="best trained")
    room = float(best.max() - portfolio.min()) or 1.0
    axes.set_ylim(portfolio.min() - 0.25 * room, best.max() + 0.08 * room)
    axes.set_xlim(0, 1)
    axes.set_ylabel("objective $J_w$")
    # The envelope is convex: below its ends the middle is free.
    middle = best[len(best) // 2] < min(best[0], best[-1])
    axes.legend(loc="upper center" if middle else "best", borderaxespad=0.0)


def draw_band(axes: Axes, view: View) -> None:
    """Draw who serves which mix of two objectives as one band, and where policies were trained."""
    shares = policy_usage(view.utilities[list(view.kept)])
    middle = np.full(len(view.kept), np.nan)
    first = np.linspace(0.0, 1.0, _PREFERENCES)
    served = best_policy(
        weights=np.stack([first, 1 - first], axis=1), utilities=view.utilities[list(view.kept)]
    )
    for position in range(len(view.kept)):
        mine = first[served == position]
        if not mine.size:
            continue
        middle[position] = mine.mean()
        axes.axvspan(mine[0], mine[-1], color=color(position), lw=0)
    for position, index in enumerate(view.kept):
        if shares[position] > 0.022 * len(short(view.names[index])):
            axes.text(
                middle[position], 0.62, short(view.names[index]), ha="center", va="center",
                fontsize=7, color=ink_on(color(position)),
            )  # fmt: skip
    axes.plot(view.weights[:, 0], np.full(len(view.weights), 0.16), "|", color=INK, ms=3, mew=0.5)
    own = view.weights[list(view.kept), 0]
    axes.plot(
        own, np.full(len(own), 0.16), "o", ms=3.2, mfc="white", mec=INK, mew=0.7, clip_on=False
    )
    if len(view.failed):
        axes.plot(
            view.failed[:, 0],
            np.full(len(view.failed), 0.16),
            "x",
            color=FAILED,
            ms=3.5,
            clip_on=False,
        )
    axes.set(xlim=(0, 1), ylim=(0, 1), yticks=[])
    axes.set_xlabel(f"weight of {short(view.objectives[0])} (rest: {short(view.objectives[1])})")
    axes.spines[["left", "bottom"]].set_visible(False)


def draw_triangle(axes: Axes, view: View) -> None:
    """Draw who serves which mix of three objectives, and where policies were trained."""
    kept = list(view.kept)
    for position, corners in enumerate(simplex.serving_cells(view.utilities[kept])):
        share = simplex.area(corners)
        if share <= 0:
            continue
        simplex.draw_polygon(
            axes, corners, facecolor=color(position), edgecolor="white", linewidth=0.8
        )
        if share > _LABELLED:
            _label(axes, corners, view, position)
    others = simplex.to_plane(view.weights[view.others])
    axes.plot(*others.T, "o", ms=1.6, color=INK, mew=0, zorder=6)
    own = simplex.to_plane(view.weights[kept])
    axes.plot(*own.T, "o", ms=4, mfc="white", mec=INK, mew=0.8, zorder=7, clip_on=False)
    if len(view.failed):
        axes.plot(*simplex.to_plane(view.failed).T, "x", color=FAILED, ms=4, zorder=7)
    simplex.draw_frame(axes, view.objectives)


def _label(axes: Axes, corners: Array, view: View, position: int) -> None:
    """Write a policy's name into its cell, beside its own weight vector, readable over dots."""
    x, y = simplex.centroid(corners)
    own_x, own_y = simplex.to_plane(view.weights[[view.kept[position]]])[0]
    if abs(own_x - x) < _BESIDE and abs(own_y - y) < _BESIDE:
        y = own_y + _BESIDE
    text = axes.text(x, y, short(view.names[view.kept[position]]), ha="center", va="center")
    text.set(fontsize=7, zorder=8, path_effects=[withStroke(linewidth=1.6, foreground="white")])


def draw_front(axes: Axes, view: View) -> None:
    """Draw the reward vectors of two objectives: kept, not kept, base policy."""
    points, errors = view.shown, view.errors
    axes.plot(*points[view.others].T, "o", ms=3, color=MUTED, mew=0, label="pruned", zorder=2)
    if errors is not None:
        axes.errorbar(
            points[:, 0], points[:, 1], xerr=errors[:, 0], yerr=errors[:, 1], fmt="none",
            ecolor=MUTED, lw=0.6, zorder=1,
        )  # fmt: skip
    for position, index in enumerate(view.kept):
        axes.plot(*points[index], "o", ms=5, color=color(position), mec=INK, mew=0.5, zorder=3)
    if view.base is not None:
        axes.plot(*view.base, "x", color=INK, ms=5, label="base policy", zorder=3)
    axes.set(xlabel=short(view.objectives[0]), ylabel=short(view.objectives[1]))
    axes.margins(0.08)
    if view.others or view.base is not None:
        axes.legend(loc="lower left", handletextpad=0.2, borderaxespad=0.1)


def draw_parallel(axes: Axes, view: View) -> None:
    """Draw the utilities of policies over any number of objectives, one line each."""
    ticks = np.arange(len(view.objectives))
    for index in view.others:
        axes.plot(ticks, view.utilities[index], color=MUTED, lw=0.4, alpha=0.45, zorder=1)
    for position, index in enumerate(view.kept):
        axes.plot(
            ticks,
            view.utilities[index],
            "-o",
            color=color(position),
            lw=1.3,
            ms=3.2,
            mec=INK,
            mew=0.4,
        )
    axes.set_xticks(ticks, [short(name) for name in view.objectives])
    axes.set_xlim(-0.15, len(ticks) - 0.85)
    axes.set_ylabel("utility")
    axes.grid(axis="x", lw=0.4, color=MUTED, alpha=0.6)


def draw_usage(axes: Axes, view: View) -> None:
    """Draw the share of uniformly distributed preferences that each policy serves best."""
    shares = 100 * policy_usage(view.utilities[list(view.kept)])
    rows = range(len(shares))
    axes.barh(rows, shares, color=[color(i) for i in rows], height=0.75, ec=INK, lw=0.4)
    for row, share in zip(rows, shares.tolist(), strict=True):
        axes.text(share + 0.02 * shares.max(), row, f"{share:.0f} %", va="center", fontsize=7)
    axes.set_yticks(rows, [short(view.names[index]) for index in view.kept])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * shares.max())
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("preferences served, %")


def draw_cells(
    axes: Axes, weights: Array, objectives: tuple[str, ...], *, epsilon: float, delta: float
) -> None:
    """Draw weight vectors of three objectives and the cell that each approximates."""
    outline = (*color(0), min(0.4, 15 / len(weights)))  # many of them must not hide the tint
    for row in weights:
        corners = simplex.near_cell(row, epsilon=epsilon, delta=delta)
        # One opaque tint for the union; outlines on top show which cell is whose.
        simplex.draw_polygon(axes, corners, facecolor=_COVERED, linewidth=0)
        simplex.draw_polygon(
            axes, corners, facecolor="none", edgecolor=outline, linewidth=0.35, zorder=3
        )
    axes.plot(*simplex.to_plane(weights).T, "o", ms=2.2, color=INK, mew=0, zorder=6, clip_on=False)
    simplex.draw_frame(axes, objectives)


def draw_intervals(
    axes: Axes, weights: Array, objectives: tuple[str, ...], *, epsilon: float, delta: float
) -> None:
    """Draw weight vectors of two objectives and the interval that each approximates."""
    for index, row in enumerate(weights[np.argsort(weights[:, 0], kind="stable")]):
        # Each coordinate bounds v_i from both sides; the second one speaks of 1 - v.
        low = np.maximum((row - delta) / (1 + epsilon), 0.0)
        high = np.minimum((row + delta) / max(1 - epsilon, 1e-9), 1.0)
        begin, end = max(low[0], 1 - high[1]), min(high[0], 1 - low[1])
        axes.broken_barh(
            [(begin, end - begin)], (0.1 + 0.4 * (index % 2), 0.35),
            facecolor=(*color(0), 0.4), edgecolor=color(0), lw=0.4,
        )  # fmt: skip
    axes.plot(weights[:, 0], np.full(len(weights), 0.5), "o", ms=2.2, color=INK, mew=0)
    axes.set(xlim=(-0.01, 1.01), ylim=(0, 1), yticks=[])
    axes.set_xlabel(f"weight of {short(objectives[0])} (rest: {short(objectives[1])})")
    axes.spines["left"].set_visible(False)
