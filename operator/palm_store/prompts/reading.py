"""From the bytes of a prompts file to prompts. Pure."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from palm_store.prompts.rows import Columns, Prompt, check_one_kind, prompt_of

MAX_PROMPTS_BYTES = 256 * 1024 * 1024
MAX_PROMPTS = 1_000_000
MAX_LINE_BYTES = 4 * 1024 * 1024

_WRONG_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_UTF8_BOM = b"\xef\xbb\xbf"
_PARQUET, _GZIP, _ZIP = b"PAR1", b"\x1f\x8b", b"PK\x03\x04"


def parsed_prompts(
    content: bytes, limit: int | None, columns: Columns | None = None, *, name: str = ""
) -> list[Prompt]:
    """Return the prompts of one file, the first ``limit`` of them where there is a limit.

    Args:
        content: The file: Parquet where it begins as such a file does, else JSON lines in UTF-8.
        limit: How many prompts to take at most; what follows is not looked at.
        columns: What the columns are called.
        name: What the file is called, where there are several.

    Raises:
        ValueError: The file is of no known format, a row breaks a rule, there is no prompt, there
            are too many, or texts and chats are mixed.
    """
    named = columns or Columns()
    rows = _parquet_rows(content, named) if content[:4] == _PARQUET else _lines(content)
    where = f"{name}, " if name else ""
    found = (prompt_of(row, named, place=f"{where}{place}") for place, row in rows)
    return checked(list(islice(found, limit if limit is not None else MAX_PROMPTS + 1)))


def checked(prompts: list[Prompt]) -> list[Prompt]:
    """Return the prompts of a file, or of several together.

    Raises:
        ValueError: There is none, there are too many, or they are not of one kind.
    """
    if not prompts:
        raise ValueError("there are no prompts; at least one is needed")
    if len(prompts) > MAX_PROMPTS:
        raise ValueError(f"there are more than {MAX_PROMPTS:,} prompts; set a limit")
    check_one_kind(prompts)
    return prompts


def check_answers(prompts: Sequence[Prompt], rewards: Sequence[str]) -> None:
    """Refuse prompts without the reference answers that rewards compare with.

    Raises:
        ValueError: A reward needs an answer and a prompt has none; names both.
    """
    lacking = [item for item in prompts if item.answer is None]
    if lacking and rewards:
        others = f", nor have {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise ValueError(
            f"{lacking[0].place} has no answer{others}; reward {rewards[0]!r} compares with one"
        )


def _lines(content: bytes) -> Iterator[tuple[str, Any]]:
    for mark, encoding in _WRONG_BOMS.items():
        if content.startswith(mark):
            raise ValueError(f"the file is {encoding}; it must be UTF-8")
    if content.startswith((_GZIP, _ZIP)):
        raise ValueError("the file is compressed; it must be JSON lines or Parquet")
    for number, line in enumerate(content.removeprefix(_UTF8_BOM).splitlines(), start=1):
        if line.strip():
            yield f"line {number}", _json(line, f"line {number}")


def _json(line: bytes, place: str) -> Any:
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"{place} has {len(line):,} bytes; at most {MAX_LINE_BYTES:,} are taken")
    try:
        return json.loads(line.decode())
    except UnicodeDecodeError as problem:
        byte = line[problem.start]
        raise ValueError(
            f"{place} is not UTF-8: byte 0x{byte:02x} at position {problem.start + 1}"
        ) from None
    except json.JSONDecodeError as problem:
        raise ValueError(f"{place} is not JSON: {problem.msg} at column {problem.colno}") from None
    except ValueError:  # Python reads no longer integers
        raise ValueError(f"{place} has a number of more than 4,300 digits") from None
    except RecursionError:
        raise ValueError(f"{place} is nested too deeply") from None


def _parquet_rows(content: bytes, columns: Columns) -> Iterator[tuple[str, Any]]:
    # Only for Parquet: pyarrow takes a second to import.
    from palm_store.prompts.parquet import parquet_rows

    return parquet_rows(content, columns)
