"""The picture of a portfolio: what was trained, what was kept, and who is served by what."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palm_cli.drawing.figures import portfolio_figure
from palm_cli.drawing.style import save
from palm_cli.ledger_file import view_of


def draw(manifest: Mapping[str, Any], target: Path) -> None:
    """Draw a Portfolio's manifest, as ``palm plot`` does; the target's ending is the format."""
    view, title = view_of(manifest, "portfolio.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    save(portfolio_figure(view, title=title), target)
