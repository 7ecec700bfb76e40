"""Tiny models whose every response can be listed: probabilities without any sampling."""

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest

END, PAD = 0, 1
VOCABULARY = 5
LONGEST = 3
PROMPTS = [[2, 3], [4], [3, 3, 2]]  # of different lengths, so that padding matters


@cache
def tiny_model(seed: int) -> Any:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
        initializer_range=1.0,
        bos_token_id=None,
        eos_token_id=END,
        pad_token_id=PAD,
    )
    return Qwen2ForCausalLM(config).eval()


class TokenTokenizer:
    """Writes token ids as text, so that prompts are ids."""

    eos_token_id = END
    pad_token_id = PAD
    chat_template = None

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [int(word) for word in text.split()]}

    def decode(self, ids: Any, skip_special_tokens: bool) -> str:
        return " ".join(str(int(token)) for token in ids if token != END)


def responses() -> Iterator[tuple[int, ...]]:
    """Every response of at most LONGEST tokens: it ends with END, or it was cut."""
    for length in range(1, LONGEST + 1):
        for tokens in product(range(VOCABULARY), repeat=length):
            if END not in tokens[:-1] and (tokens[-1] == END or length == LONGEST):
                yield tokens


def log_probability(model: Any, prompt: list[int], response: tuple[int, ...]) -> float:
    return sum(
        float(token_log_probabilities(model, [*prompt, *response[:position]])[token])
        for position, token in enumerate(response)
    )


def token_log_probabilities(model: Any, tokens: list[int]) -> Any:
    """log π of every token after the given ones, in double precision."""
    return _after(model, tuple(tokens))


@cache
def _after(model: Any, tokens: tuple[int, ...]) -> Any:
    import torch

    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([tokens])).logits[0, -1].double()
    return logits.log_softmax(dim=-1).numpy()


def enumerated_divergence(policy: Any, base: Any, prompt: list[int]) -> float:
    total, mass = 0.0, 0.0
    for response in responses():
        log_policy = log_probability(policy, prompt, response)
        total += np.exp(log_policy) * (log_policy - log_probability(base, prompt, response))
        mass += np.exp(log_policy)
    assert mass == pytest.approx(1.0, abs=1e-6)  # the responses are all there are
    return total
