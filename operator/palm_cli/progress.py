"""Progress of long work on standard error, for people who watch it."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")


def watched(items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
    """Yield the items and show how many there were; nothing is shown but on a terminal.

    Args:
        items: What takes long.
        total: How many there will be.
        what: What is counted, in the plural.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield from items
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        yield from progress.track(items, total=total, description=what)
