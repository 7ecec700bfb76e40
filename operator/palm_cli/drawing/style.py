"""One look for all pictures: a paper's column widths, colours that colour-blind people tell apart.

Colours are Okabe and Ito's; beyond eight policies they return lighter, then darker, so labels say
which is which wherever a picture has room for them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

COLUMN = 3.4
"""Width of one column, inches."""
PAGE = 7.0
"""Width of two columns, inches."""

INK = "#222222"
MUTED = "#9a9a9a"
"""What was trained and not kept."""
FAILED = "#b3001b"

_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#7f7f7f")
_WHITE, _BLACK = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)
_DOTS_PER_INCH = 300
_NAME_LENGTH = 14

_SETTINGS: dict[str, object] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.0,
    "svg.hashsalt": "palm",  # the same picture is the same file
    "pdf.fonttype": 42,
}


def color(index: int) -> tuple[float, float, float]:
    """Return the colour of the policy at this position of a portfolio."""
    red, green, blue = to_rgb(_COLORS[index % len(_COLORS)])
    other, amount = ((_WHITE, 0.0), (_WHITE, 0.5), (_BLACK, 0.35))[index // len(_COLORS) % 3]
    return (
        red + amount * (other[0] - red),
        green + amount * (other[1] - green),
        blue + amount * (other[2] - blue),
    )


def ink_on(background: tuple[float, float, float]) -> str:
    """Return black or white, whichever is read better on a colour."""
    red, green, blue = background
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else "white"


def short(name: str) -> str:
    """Return a name that fits beside a picture, and that is not read as mathematics."""
    cut = name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 1] + "…"
    return cut.replace("$", r"\$")


@contextmanager
def look() -> Iterator[None]:
    """Draw with these settings, whatever the user's matplotlib is set to."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)  # type: ignore[arg-type]
        yield


def save(figure: Figure, target: Path) -> None:
    """Write a figure in the format that the target's ending names; no date: equal in, equal out."""
    metadata: dict[str, str | None] = {"Date": None} if target.suffix == ".svg" else {}
    if target.suffix == ".pdf":
        metadata = {"CreationDate": None}
    with look():
        figure.savefig(target, dpi=_DOTS_PER_INCH, metadata=metadata)
