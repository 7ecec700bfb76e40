"""Reading what a stranger wrote: bounded bytes, UTF-8, JSON without surprises."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from palm_cli.failures import InvalidInput

STANDARD_INPUT = "-"
MEBIBYTE = 1 << 20
ABSENT: Any = object()
"""The value of a field that is not there, or that its rule names itself."""

_LONGEST_NUMBER = 64
_LONGEST_SHOWN = 60


def read_text(source: str, *, limit: int) -> str:
    """Return the text of a file, or of standard input for ``-``.

    Args:
        source: Path or ``-``.
        limit: Most bytes to read.

    Raises:
        InvalidInput: It cannot be read, is larger, or is not UTF-8.
    """
    try:
        content = _read(source, limit + 1)
    except OSError as error:
        raise InvalidInput(f"{shown_name(source)}: {error.strerror or error}") from None
    if len(content) > limit:
        raise InvalidInput(
            f"{shown_name(source)} is larger than {limit // MEBIBYTE} MiB, the most that is read"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{shown_name(source)}: byte {error.start} is {content[error.start]:#04x}; "
            "the file must be UTF-8"
        ) from None


def parse_json(text: str, source: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        InvalidInput: It is not JSON (RFC 8259: no NaN, no infinities), repeats a key, or holds a
            number of more than 64 characters.
    """

    def refuse(what: str) -> NoReturn:
        raise InvalidInput(f"{shown_name(source)}: {what}")

    def constant(token: str) -> NoReturn:
        refuse(f"{token} is not a number; results must be finite (a failed policy has null)")

    def integer(digits: str) -> float:
        if len(digits) > _LONGEST_NUMBER:
            refuse(f"{digits[:20]}… has {len(digits)} digits; at most {_LONGEST_NUMBER} are read")
        return int(digits)

    def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            refuse(f"key {shown(twice)} is there twice in one object")
        return found

    try:
        return json.loads(
            text, parse_constant=constant, parse_int=integer, object_pairs_hook=unique
        )
    except json.JSONDecodeError as error:
        refuse(f"line {error.lineno}, column {error.colno}: {error.msg}; the file must be JSON")
    except RecursionError:
        refuse("is nested too deeply")


def shown(value: Any) -> str:
    """Write a value of any size and content in one short line without control characters."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=repr)
    except (ValueError, RecursionError):
        text = f"<{type(value).__name__}>"
    text = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[: 4 * _LONGEST_SHOWN])
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"


def shown_name(source: str) -> str:
    """Write the name of a source for a message."""
    if source == STANDARD_INPUT:
        return "standard input"
    return "".join(c if c.isprintable() else "?" for c in source)


def printable(text: str) -> str:
    """Return a model's text without what would move the cursor or colour the terminal."""
    return "".join(c for c in text if c.isprintable() or c in "\n\t")


def first_error(error: ValidationError, source: str, *, root: str = "") -> InvalidInput:
    """Return pydantic's first complaint as field, value, rule.

    Args:
        error: What pydantic found.
        source: File it is about.
        root: Path of the validated value in the file.
    """
    details = error.errors(include_url=False)
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return InvalidInput(f"{shown_name(source)}: {_complaint(details[0], root)}{more}")


def complaints(error: ValidationError, *, root: str = "") -> Iterator[tuple[str, Any, str]]:
    """Yield all that pydantic complains of: field, value (or ABSENT) and rule."""
    for details in error.errors(include_url=False):
        yield _parts(details, root)


def _parts(details: ErrorDetails, root: str) -> tuple[str, Any, str]:
    path = root
    for part in details["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    rule = details["msg"].removeprefix("Value error, ")
    rule = rule[:1].lower() + rule[1:]
    # A rule about several entries says itself which.
    is_group = details["type"] == "value_error" and isinstance(details["input"], dict)
    is_silent = is_group or details["type"] in ("missing", "extra_forbidden")
    return path, ABSENT if is_silent else details["input"], rule


def _complaint(details: ErrorDetails, root: str) -> str:
    path, value, rule = _parts(details, root)
    if value is not ABSENT:
        return f"{path or 'the file'} is {shown(value)}: {rule}"
    if details["type"] == "value_error":
        return f"{path}: {rule}" if path else rule
    return f"{path or 'the file'}: {rule}"


def _read(source: str, count: int) -> bytes:
    if source == STANDARD_INPUT:
        return sys.stdin.buffer.read(count)
    with Path(source).open("rb") as file:
        return file.read(count)
