"""Several policies as one, mixed token by token at decoding (MOD; paper B.3, Shi et al. 2024).

Each policy π_i is the best for its own reward under β·KL to the same base policy π_ref. Then
π_ref·Π_i (π_i/π_ref)^(w_i) is the best for Σ_i w_i·r_i, and as the weights sum to 1, π_ref cancels:
the logits of the next token are Σ_i w_i·log π_i(·|y_<t). It is exact over whole responses; over
tokens, where it is normalized at every position, it is an approximation.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

import torch


class Expert(Protocol):
    """A language model of transformers, or one that a mixture calls like it."""

    def __call__(self, **inputs: Any) -> Any:
        """Return ``logits`` and, where wanted, ``past_key_values``."""


class Adapted:
    """One of several LoRA adapters that share the parameters of their base model."""

    def __init__(self, shared: Any, name: str) -> None:
        """Take a ``PeftModel`` and the name of one of its adapters."""
        self._shared = shared
        self._name = name

    def __call__(self, **inputs: Any) -> Any:
        """Return what the base model with this adapter returns."""
        self._shared.set_adapter(self._name)
        return self._shared(**inputs)


@dataclass
class _Logits:
    logits: torch.Tensor


class Mixture:
    """A policy whose next-token logits are the weighted log-probabilities of others.

    It can be called, and generates, as a model of transformers does.
    """

    def __init__(self, experts: Sequence[Expert], weights: Sequence[float], model: Any) -> None:
        """Take the policies to mix.

        Args:
            experts: The policies.
            weights: Their weights, positive, with sum 1.
            model: One that says where tensors belong and what its generation configuration is.
        """
        self._experts = list(zip(experts, weights, strict=True))
        self.device = model.device
        self.generation_config = model.generation_config

    def __call__(self, **inputs: Any) -> _Logits:
        """Return the mixed logits at the positions that are asked for, shape (batch, n, V)."""
        # One after the other: whole distributions of all of them would take too much memory.
        return _Logits(self._mixed(expert(**inputs).logits for expert, _ in self._experts))

    def generate(
        self,
        *,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        max_new_tokens: int,
        logits_processor: Sequence[Any],
    ) -> torch.Tensor:
        """Return prompts and responses, shape (batch, positions); ended responses are padded.

        Args:
            input_ids: Prompts, padded on the left, shape (batch, length).
            attention_mask: 0 where they are padded.
            max_new_tokens: Longest response.
            logits_processor: What changes the logits before the likeliest token is taken.
        """
        ids, mask, fresh = input_ids, attention_mask, input_ids
        ends = torch.tensor(self.generation_config.eos_token_id, device=ids.device)
        ended = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        caches: list[Any] = [None] * len(self._experts)
        for _ in range(max_new_tokens):
            scores = self._next(fresh, mask, caches)
            for process in logits_processor:
                scores = process(ids, scores)
            token = scores.argmax(dim=-1)
            token = token.masked_fill(ended, self.generation_config.pad_token_id)
            fresh = token.unsqueeze(1)
            ids = torch.cat([ids, fresh], dim=1)
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
            ended = ended | torch.isin(token, ends)
            if ended.all():
                break
        return ids

    def _next(self, fresh: torch.Tensor, mask: torch.Tensor, caches: list[Any]) -> torch.Tensor:
        """Return the logits of the next token, shape (batch, V); the caches go on with it."""
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -fresh.shape[1] :]
        found = []
        for place, (expert, _) in enumerate(self._experts):
            output = expert(
                input_ids=fresh,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=caches[place],
                use_cache=True,
                logits_to_keep=1,
            )
            caches[place] = output.past_key_values
            found.append(output.logits)
        return self._mixed(found)[:, -1]

    def _mixed(self, logits: Iterable[torch.Tensor]) -> torch.Tensor:
        pairs = zip(self._experts, logits, strict=True)
        return reduce(torch.add, (w * each.float().log_softmax(dim=-1) for (_, w), each in pairs))
