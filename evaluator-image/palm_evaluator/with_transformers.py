"""Sampling with transformers: slower than vLLM, but it sees whole distributions.

The divergence is Σ_t KL(π(·|y_<t) || π_ref(·|y_<t)), exact over the vocabulary at every position
of a sampled response. Its mean is KL(π || π_ref), with less noise than k1.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from palm.contract import AdapterSettings
from palm_evaluator.generation import Sampled, Sampling, generation_ids

_BATCH = 128


class TransformersGenerator:
    """A ``Generator`` on transformers' ``generate``."""

    engine: Literal["Transformers"] = "Transformers"
    estimator: Literal["exact"] = "exact"

    def __init__(self, policy: Any, base: Any, tokenizer: Any) -> None:
        self._policy = policy
        self._base = base
        self._tokenizer = tokenizer
        self._ends = _end_tokens(policy, tokenizer)

    @classmethod
    def load(
        cls, base: Path, policy: Path | None, adapter: AdapterSettings | None
    ) -> "TransformersGenerator":
        """Return the generator of a policy; of the base policy where ``policy`` is None."""
        tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        reference = _model(base)
        if policy is None:
            return cls(reference, reference, tokenizer)
        if adapter is not None and adapter.type == "LoRA":
            # Only for adapters: peft takes seconds to import.
            from peft import PeftModel

            adapted = PeftModel.from_pretrained(_model(base), policy).eval()
            return cls(adapted, reference, tokenizer)
        return cls(_model(policy), reference, tokenizer)

    def sampled(self, prompts: Sequence[Any], sampling: Sampling) -> list[list[Sampled]]:
        """Return ``samples_per_prompt`` responses for each prompt, in the prompts' order."""
        torch.manual_seed(sampling.seed)
        encoded = [generation_ids(self._tokenizer, prompt) for prompt in prompts]
        rows = [ids for ids in encoded for _ in range(sampling.samples_per_prompt)]
        drawn: list[Sampled] = []
        for start in range(0, len(rows), _BATCH):
            drawn += self._batch(rows[start : start + _BATCH], sampling.max_completion_tokens)
            print(f"sampled {len(drawn)}/{len(rows)} responses", flush=True)
        width = sampling.samples_per_prompt
        return [drawn[start : start + width] for start in range(0, len(drawn), width)]

    @torch.inference_mode()
    def _batch(self, rows: list[list[int]], max_new_tokens: int) -> list[Sampled]:
        prompt_ids, prompt_mask = _left_padded(rows, self._tokenizer.pad_token_id)
        prompt_ids, prompt_mask = (
            prompt_ids.to(self._policy.device),
            prompt_mask.to(self._policy.device),
        )
        # A model's own generation_config may cut the distribution; π is the whole of it.
        sequences = self._policy.generate(
            input_ids=prompt_ids,
            attention_mask=prompt_mask,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=max_new_tokens,
            eos_token_id=self._ends,
            pad_token_id=self._tokenizer.pad_token_id,
        )
        response = sequences[:, prompt_ids.shape[1] :]
        counted = counted_tokens(response, self._ends)
        mask = torch.cat([prompt_mask, counted.to(prompt_mask.dtype)], dim=1)
        divergence = self._divergence(sequences, mask, counted)
        return [
            Sampled(
                text=self._tokenizer.decode(ids[kept], skip_special_tokens=True),
                tokens=int(kept.sum()),
                divergence=value,
            )
            for ids, kept, value in zip(response, counted, divergence.tolist(), strict=True)
        ]

    def _divergence(
        self, sequences: torch.Tensor, mask: torch.Tensor, counted: torch.Tensor
    ) -> torch.Tensor:
        """Return Σ_t KL(π(·|y_<t) || π_ref(·|y_<t)) of each response, shape (batch,)."""
        if self._policy is self._base:
            return torch.zeros(len(sequences))
        length = counted.shape[1]
        log_policy = _log_probabilities(self._policy, sequences, mask, length)
        log_base = _log_probabilities(self._base, sequences, mask, length)
        per_position = (log_policy.exp() * (log_policy - log_base)).sum(dim=-1)
        return per_position.masked_fill(~counted, 0.0).sum(dim=1)


def counted_tokens(response: torch.Tensor, ends: list[int]) -> torch.Tensor:
    """Say which tokens belong to a response: all up to and with its first end token.

    Args:
        response: Token ids, shape (batch, positions).
        ends: Ids that end a response.

    Returns:
        Boolean tensor of the same shape.
    """
    is_end = torch.isin(response, torch.tensor(ends, device=response.device))
    ended_before = is_end.cumsum(dim=1) - is_end.long()
    return ended_before == 0


def _log_probabilities(
    model: Any, sequences: torch.Tensor, mask: torch.Tensor, length: int
) -> torch.Tensor:
    """Return log π of every next token at the response's positions, shape (batch, length, V)."""
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    logits = model(
        input_ids=sequences, attention_mask=mask, position_ids=positions, logits_to_keep=length + 1
    ).logits
    # The logits at a position are of the token after it.
    return logits[:, :-1].float().log_softmax(dim=-1)


def _model(folder: Path) -> Any:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, trust_remote_code=False
    )
    return model.to(device).eval()


def _end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Return every token that ends a response, as the trainer sees it."""
    declared = model.generation_config.eos_token_id
    tokens = declared if isinstance(declared, list) else [declared]
    return sorted({token for token in [*tokens, tokenizer.eos_token_id] if token is not None})


def _left_padded(rows: list[list[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for position, row in enumerate(rows):
        ids[position, longest - len(row) :] = torch.tensor(row)
        mask[position, longest - len(row) :] = 1
    return ids, mask
