"""The seam to sampling: prompts in, responses with their divergence from the base policy out."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Sampling:
    """How responses are drawn: at temperature 1 from the whole distribution, or greedily."""

    samples_per_prompt: int
    max_completion_tokens: int
    seed: int
    first: int = 0
    """Number of the first sample of each prompt: further ones have seeds of their own."""
    greedy: bool = False
    """The likeliest token every time; the divergence is then not estimated, and 0."""

    def seeds(self, prompt: int) -> list[int]:
        """Return the seed of each of a prompt's responses."""
        numbers = range(self.first, self.first + self.samples_per_prompt)
        return [response_seed(self.seed, prompt=prompt, sample=number) for number in numbers]


@dataclass(frozen=True)
class Sampled:
    """One response: text without special tokens, length with its end token, and divergence."""

    text: str
    tokens: int
    divergence: float
    """This response's estimate of KL(policy || base policy) in nats.

    It is NaN where log-probabilities are not finite."""
    k3: float = 0.0
    """k3 of this response: a diagnostic."""


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


def response_seed(seed: int, *, prompt: int, sample: int) -> int:
    """Return one response's own seed, the same for every policy.

    A seed that prompts share would give all of them one stream of random numbers.
    """
    digest = hashlib.sha256(f"{seed}/{prompt}/{sample}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 2


def generation_ids(tokenizer: Any, prompt: Any) -> list[int]:
    """Return a prompt's token ids, ready for the response; chats go through the template."""
    if isinstance(prompt, str):
        return list(tokenizer(prompt)["input_ids"])
    text = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    # The template has written the special tokens already.
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def end_tokens(declared: int | list[int] | None, tokenizer: Any) -> list[int]:
    """Return every token that ends a response, as the trainer sees it.

    Args:
        declared: ``eos_token_id`` of the model's generation configuration.
        tokenizer: Whose end token ends a response too.
    """
    tokens = declared if isinstance(declared, list) else [declared]
    return sorted({token for token in [*tokens, tokenizer.eos_token_id] if token is not None})
