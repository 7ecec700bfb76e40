"""Whole pictures: panels on a page."""

from matplotlib.figure import Figure

from palm_cli.drawing import coverage, panels
from palm_cli.drawing.style import COLUMN, PAGE, look
from palm_cli.drawing.view import Array, View


def portfolio_figure(view: View, *, title: str = "") -> Figure:
    """Return the picture of a portfolio, two columns wide.

    Two objectives: the objectives of all policies with the band of who serves whom (the paper's
    Figure 3), the reward front, usage. Three: the simplex in cells (its Figure 1), rewards, usage.
    More: rewards and usage.
    """
    with look():
        tall = max(2.5, 0.9 + 0.19 * len(view.kept))
        figure = Figure(figsize=(PAGE, tall), layout="constrained")
        if len(view.objectives) == 2:
            grid = figure.add_gridspec(2, 3, width_ratios=[1.5, 1, 0.8], height_ratios=[5, 1])
            curves = figure.add_subplot(grid[0, 0])
            panels.draw_curves(curves, view)
            curves.tick_params(labelbottom=False)
            panels.draw_band(figure.add_subplot(grid[1, 0], sharex=curves), view)
            panels.draw_front(figure.add_subplot(grid[:, 1]), view)
            panels.draw_usage(figure.add_subplot(grid[:, 2]), view)
        elif len(view.objectives) == 3:
            grid = figure.add_gridspec(1, 3, width_ratios=[1.5, 1.1, 0.75])
            panels.draw_triangle(figure.add_subplot(grid[0]), view)
            panels.draw_parallel(figure.add_subplot(grid[1]), view)
            panels.draw_usage(figure.add_subplot(grid[2]), view)
        else:
            left, right = figure.subplots(1, 2, width_ratios=[1.6, 1])
            panels.draw_parallel(left, view)
            panels.draw_usage(right, view)
        if title:
            figure.suptitle(title, fontsize=8)
    return figure


def weights_figure(
    weights: Array, objectives: tuple[str, ...], *, epsilon: float, delta: float
) -> Figure:
    """Return the picture of weight vectors and of what each approximates (the paper's Figure 1).

    Args:
        weights: Weight vectors, shape ``(n, 2)`` or ``(n, 3)``.
        objectives: Names, length 2 or 3.
        epsilon: ε' of the cell ``|w_i - v_i| ≤ ε'·v_i + δ'`` around each.
        delta: δ' of it.
    """
    covered = coverage.covered_share(weights, epsilon=epsilon, delta=delta)
    with look():
        flat = len(objectives) == 2
        figure = Figure(figsize=(COLUMN, 1.0 if flat else 3.1), layout="constrained")
        axes = figure.add_subplot()
        draw = panels.draw_intervals if flat else panels.draw_cells
        draw(axes, weights, objectives, epsilon=epsilon, delta=delta)
        axes.set_title(
            f"{len(weights)} weight vectors cover {_percent(covered)} % "
            rf"within $\epsilon'$ = {epsilon:.3g}, $\delta'$ = {delta:.3g}"
        )
    return figure


def _percent(share: float) -> str:
    """Write a share so that 100 means all of it."""
    return "100" if share == 1.0 else f"{min(100 * share, 99.9):.3g}"
