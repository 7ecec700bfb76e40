"""How answers are printed: JSON for programs, tables for people."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

Format = Literal["table", "json"]

ROWS_SHOWN = 40


def print_json(answer: Mapping[str, Any]) -> None:
    """Print an object as one JSON document, a key a line (RFC 8259: no NaN, no infinities)."""
    lines = (
        f" {json.dumps(key)}: {_harmless(json.dumps(value, ensure_ascii=False, allow_nan=False))}"
        for key, value in answer.items()
    )
    print("{\n" + ",\n".join(lines) + "\n}", flush=True)


def _harmless(text: str) -> str:
    """Return the same JSON with what a terminal would obey written as an escape sequence."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, total: int) -> None:
    """Print rows below their column names, at most ``ROWS_SHOWN`` of them.

    Args:
        columns: Column names.
        rows: Cells as text; markup in them is shown as it is.
        total: How many rows there are.
    """
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for index, row in enumerate(rows):
        if index == ROWS_SHOWN:
            break
        table.add_row(*(Text(cell) for cell in row))
    console = Console(soft_wrap=not sys.stdout.isatty())
    console.print(table)
    if total > ROWS_SHOWN:
        console.print(Text(f"… and {total - ROWS_SHOWN} more; -o json has all of them"))


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print names and values, one pair a line."""
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        print(f"{name:<{width}}  {value}")


def number(value: float | None, *, digits: int = 4) -> str:
    """Write a number for people; ``-`` for one that there is not."""
    return "-" if value is None else f"{value:.{digits}g}"


def vector(values: Iterable[float]) -> str:
    """Write a weight or reward vector for people."""
    return "(" + ", ".join(f"{value:.4f}" for value in values) + ")"
