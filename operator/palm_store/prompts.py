"""Prompts files: ``{"prompt": text or chat messages, "answer": text}`` on every line."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

MAX_PROMPTS_BYTES = 256 * 1024 * 1024


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: str
    content: str


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore")

    prompt: str | list[_Message] = Field(min_length=1)
    answer: str | None = None


@dataclass(frozen=True)
class Prompt:
    """One prompt: its text or chat messages, and its reference answer if it has one."""

    prompt: Any
    answer: str | None


_LINE = TypeAdapter(_Line)


def parsed_prompts(content: bytes, limit: int | None) -> list[Prompt]:
    """Return the prompts of a file, the first ``limit`` of them where there is a limit.

    Raises:
        ValueError: A line is not a prompt, the file has none, or texts and chats are mixed.
    """
    lines = [line for line in content.splitlines() if line.strip()]
    prompts = [_prompt(number, line) for number, line in enumerate(lines[:limit], start=1)]
    if not prompts:
        raise ValueError("the prompts file has no prompts; at least one is needed")
    if len({isinstance(item.prompt, str) for item in prompts}) > 1:
        raise ValueError("the prompts file mixes texts and chat messages; one kind is needed")
    return prompts


def _prompt(number: int, line: bytes) -> Prompt:
    try:
        parsed = _LINE.validate_json(line)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the line"
        raise ValueError(f"prompt {number} of the prompts file: {field}: {first['msg']}") from None
    if isinstance(parsed.prompt, str):
        return Prompt(parsed.prompt, parsed.answer)
    return Prompt([message.model_dump() for message in parsed.prompt], parsed.answer)
