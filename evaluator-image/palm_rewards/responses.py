"""What is scored: a batch of responses with their prompts and reference answers."""

import hashlib
import json
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

    def at(self, positions: Sequence[int]) -> "Responses":
        """Return the responses at some positions, in that order."""
        return Responses(
            prompts=[self.prompts[i] for i in positions],
            texts=[self.texts[i] for i in positions],
            token_counts=[self.token_counts[i] for i in positions],
            answers=[self.answers[i] for i in positions],
        )

    def keys(self) -> list[bytes]:
        """Return what identifies each response to a reward: equal ones have equal keys."""
        rows = zip(self.prompts, self.texts, self.token_counts, self.answers, strict=True)
        return [hashlib.blake2b(json.dumps(row).encode(), digest_size=16).digest() for row in rows]


def prompt_text(prompt: Any) -> str:
    """Return a prompt as text: the last message's content where it is a list of chat messages."""
    return prompt if isinstance(prompt, str) else str(prompt[-1]["content"])
