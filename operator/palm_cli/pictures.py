"""Writing a picture in the format that its file's ending names."""

from pathlib import Path
from typing import TYPE_CHECKING

from palm_cli.failures import InvalidInput

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDINGS = (".svg", ".pdf", ".png", ".html")


def check_ending(target: Path, option: str) -> None:
    """Refuse a file whose ending names no format, before any work is done."""
    if target.suffix.lower() not in ENDINGS:
        raise InvalidInput(f"{option} is {target}; it must end in one of {', '.join(ENDINGS)}")


def write_figure(figure: "Figure", target: Path, *, title: str, page: str = "") -> None:
    """Write a figure.

    Args:
        figure: What was drawn.
        target: File whose ending is checked.
        title: Of the HTML page.
        page: HTML to write instead of one with the figure alone.
    """
    # matplotlib takes a second to import.
    from palm_cli.drawing.page import figure_page
    from palm_cli.drawing.style import save

    if target.suffix.lower() == ".html":
        target.write_text(page or figure_page(figure, title=title), encoding="utf-8")
    else:
        save(figure, target)
