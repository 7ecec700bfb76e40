"""One row of a prompts file: the rules that hold for every format. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

ROLES = ("system", "user", "assistant")
MAX_ROW_CHARACTERS = 1024 * 1024
_EXACT = 2**53  # every whole number up to here is a float; beyond, digits would be made up


@dataclass(frozen=True)
class Prompt:
    """One prompt: its text or chat messages, and its reference answer if it has one."""

    prompt: Any
    answer: str | None
    place: str = ""
    """Where it stands, for people: ``line 7``."""


@dataclass(frozen=True)
class Columns:
    """What the columns are called."""

    prompt: str = "prompt"
    answer: str = "answer"


def prompt_of(row: Any, columns: Columns, *, place: str) -> Prompt:
    """Return the prompt of a row.

    Raises:
        ValueError: The row breaks a rule; names the place, what is there and the rule.
    """
    if not isinstance(row, Mapping):
        raise ValueError(f"{place} is {_kind(row)}; it must be an object with {columns.prompt!r}")
    if columns.prompt not in row:
        names = ", ".join(sorted(map(repr, row))[:8]) or "nothing"
        raise ValueError(f"{place} has no {columns.prompt!r}; it has {names}")
    prompt = _prompt(row[columns.prompt], f"{place}, {columns.prompt!r}")
    return Prompt(prompt, _answer(row.get(columns.answer), f"{place}, {columns.answer!r}"), place)


def check_one_kind(prompts: list[Prompt]) -> None:
    """Refuse a mixture of texts and chats: a model is asked in one way.

    Raises:
        ValueError: There is a mixture; names the first row of the other kind.
    """
    first = isinstance(prompts[0].prompt, str)
    for item in prompts:
        if isinstance(item.prompt, str) != first:
            kinds = ("a text", "chat messages") if first else ("chat messages", "a text")
            raise ValueError(
                f"{prompts[0].place} is {kinds[0]} and {item.place} is {kinds[1]}; the prompts "
                "must be of one kind"
            )


def _prompt(value: Any, place: str) -> Any:
    if isinstance(value, str):
        return _text(value, place)
    if not isinstance(value, list):
        raise ValueError(f"{place} is {_kind(value)}; it must be a text or a list of messages")
    if not value:
        raise ValueError(f"{place} is an empty list; at least one message is needed")
    messages = [
        _message(message, f"{place}, message {position}")
        for position, message in enumerate(value, start=1)
    ]
    if messages[-1]["role"] != "user":
        raise ValueError(
            f"{place} ends with a message of {messages[-1]['role']!r}; the last must be of 'user', "
            "for the response answers it"
        )
    return messages


def _message(value: Any, place: str) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{place} is {_kind(value)}; it must be an object with role and content")
    for key in ("role", "content"):
        if not isinstance(value.get(key), str):
            raise ValueError(f"{place} has no text under {key!r}")
    if unknown := sorted(k for k in value if k not in ("role", "content") and value[k] is not None):
        raise ValueError(f"{place} has {unknown[0]!r}; a message has role and content only")
    role = value["role"]
    if role not in ROLES:
        raise ValueError(f"{place} has role {role[:40]!r}; it must be one of {', '.join(ROLES)}")
    return {"role": role, "content": _text(value["content"], place)}


def _text(value: str, place: str) -> str:
    if not value.strip():
        raise ValueError(f"{place} is empty")
    if len(value) > MAX_ROW_CHARACTERS:
        raise ValueError(
            f"{place} has {len(value):,} characters; at most {MAX_ROW_CHARACTERS:,} are taken"
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{place} has half of a surrogate pair, which no encoding has") from None
    return value


def _answer(value: Any, place: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"{place} is {_kind(value)}; it must be a text or a number")
    if isinstance(value, float) and not isfinite(value):
        # What pandas writes where there is none: it would be compared with as the text "nan".
        raise ValueError(f"{place} is {value}; it must be a text or a finite number")
    return _text(_written(value), place)


def _written(value: str | int | float) -> str:
    """Return an answer as people write it: a column of integers with a gap comes as floats."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return str(int(value))
    return str(value)


def _kind(value: Any) -> str:
    names = {type(None): "null", bool: "a boolean", dict: "an object", list: "a list",
             str: "a text", int: "a number", float: "a number"}  # fmt: skip
    return names.get(type(value), type(value).__name__)
