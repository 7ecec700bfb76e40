"""The seam to sampling: prompts in, responses with their divergence from the base policy out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Sampling:
    """How responses are drawn, always at temperature 1 from the whole distribution."""

    samples_per_prompt: int
    max_completion_tokens: int
    seed: int


@dataclass(frozen=True)
class Sampled:
    """One response: text without special tokens, length with its end token, and divergence."""

    text: str
    tokens: int
    divergence: float
    """This response's estimate of KL(policy || base policy) in nats."""


class Generator(Protocol):
    """One policy beside the base policy."""

    @property
    def engine(self) -> Literal["vLLM", "Transformers"]:
        """What samples."""

    @property
    def estimator(self) -> Literal["k1", "exact"]:
        """How a response's divergence is estimated."""

    def sampled(self, prompts: Sequence[Any], sampling: Sampling) -> list[list[Sampled]]:
        """Return ``samples_per_prompt`` responses for each prompt, in the prompts' order."""


def generation_ids(tokenizer: Any, prompt: Any) -> list[int]:
    """Return a prompt's token ids, ready for the response; chats go through the template."""
    if isinstance(prompt, str):
        return list(tokenizer(prompt)["input_ids"])
    text = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    # The template has written the special tokens already.
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
