"""What is scored: a batch of responses with their prompts and reference answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Responses:
    """A batch of responses, one entry per response in every field."""

    prompts: Sequence[Any]
    """Text or chat messages."""
    texts: Sequence[str]
    """The responses without special tokens."""
    token_counts: Sequence[int]
    """Length of each response in the policy's tokens, its end token included."""
    answers: Sequence[str | None]
    """Reference answer of each prompt; None where the prompts file has none."""
