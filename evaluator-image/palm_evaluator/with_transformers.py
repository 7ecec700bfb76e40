"""Sampling with transformers: slower than vLLM, but it sees whole distributions.

The divergence is Σ_t KL(π(·|y_<t) || π_ref(·|y_<t)), exact over the vocabulary at every position
of a sampled response. Its mean is KL(π || π_ref), with less noise than k1.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LogitsProcessorList,
)

from palm.contract import AdapterSettings
from palm_evaluator.draws import Finiteness, InverseTransform, uniforms
from palm_evaluator.generation import Sampled, Sampling, end_tokens, generation_ids
from palm_evaluator.mixture import Adapted, Expert, Mixture

_BATCH = 128
_LOGITS_AT_ONCE = 64_000_000  # numbers of both models' whole distributions: half a gigabyte


class TransformersGenerator:
    """A ``Generator`` on transformers' ``generate``."""

    engine: Literal["Transformers"] = "Transformers"
    estimator: Literal["exact"] = "exact"

    def __init__(self, policy: Any, base: Any, tokenizer: Any) -> None:
        self._policy = policy
        self._base = base
        self._tokenizer = tokenizer
        self._ends = end_tokens(policy.generation_config.eos_token_id, tokenizer)
        # A model's own one may cut the distribution, or penalize repetition; π is the whole of it.
        policy.generation_config = GenerationConfig(
            do_sample=False, eos_token_id=self._ends, pad_token_id=tokenizer.pad_token_id
        )

    @classmethod
    def load(
        cls, base: Path, policy: Path | None, adapter: AdapterSettings | None
    ) -> "TransformersGenerator":
        """Return the generator of a policy; of the base policy where ``policy`` is None."""
        tokenizer, reference = _tokenizer(base), _model(base)
        if policy is None:
            return cls(reference, reference, tokenizer)
        if adapter is not None and adapter.type == "LoRA":
            # Only for adapters: peft takes seconds to import.
            from peft import PeftModel

            adapted = PeftModel.from_pretrained(_model(base), policy).eval()
            return cls(adapted, reference, tokenizer)
        return cls(_model(policy), reference, tokenizer)

    @classmethod
    def load_mixture(
        cls,
        base: Path,
        policies: Sequence[Path],
        weights: Sequence[float],
        adapter: AdapterSettings,
    ) -> "TransformersGenerator":
        """Return the generator of a policy that is mixed of others.

        Args:
            base: Folder of the base model.
            policies: Folders of the policies to mix.
            weights: Their weights.
            adapter: How each is to be loaded.
        """
        reference = _model(base)
        experts: list[Expert]
        if adapter.type == "LoRA":
            experts = _adapted(_model(base), policies)
        else:
            experts = [_model(folder) for folder in policies]
        return cls(Mixture(experts, weights, reference), reference, _tokenizer(base))

    def sampled(self, prompts: Sequence[Any], sampling: Sampling) -> list[list[Sampled]]:
        """Return ``samples_per_prompt`` responses for each prompt, in the prompts' order."""
        encoded = [generation_ids(self._tokenizer, prompt) for prompt in prompts]
        rows = [ids for ids in encoded for _ in range(sampling.samples_per_prompt)]
        seeds = [seed for prompt in range(len(prompts)) for seed in sampling.seeds(prompt)]
        drawn: list[Sampled] = []
        for start in range(0, len(rows), _BATCH):
            part = slice(start, start + _BATCH)
            drawn += self._batch(rows[part], seeds[part], sampling)
            print(f"sampled {len(drawn)}/{len(rows)} responses", flush=True)
        width = sampling.samples_per_prompt
        return [drawn[start : start + width] for start in range(0, len(drawn), width)]

    @torch.inference_mode()
    def _batch(self, rows: list[list[int]], seeds: list[int], sampling: Sampling) -> list[Sampled]:
        prompt_ids, prompt_mask = _left_padded(rows, self._tokenizer.pad_token_id)
        prompt_ids, prompt_mask = (
            prompt_ids.to(self._policy.device),
            prompt_mask.to(self._policy.device),
        )
        length, steps = prompt_ids.shape[1], sampling.max_completion_tokens
        finite = Finiteness()
        draws = [InverseTransform(uniforms(seeds, steps), prompt_length=length)]
        sequences = self._policy.generate(
            input_ids=prompt_ids,
            attention_mask=prompt_mask,
            max_new_tokens=steps,
            logits_processor=LogitsProcessorList([finite, *([] if sampling.greedy else draws)]),
        )
        response = sequences[:, length:]
        counted = counted_tokens(response, self._ends)
        mask = torch.cat([prompt_mask, counted.to(prompt_mask.dtype)], dim=1)
        exact, k3 = self._divergences(sequences, mask, counted, sampling)
        exact = exact.masked_fill(~finite.holds(counted).to(exact.device), float("nan"))
        return [
            Sampled(
                text=self._tokenizer.decode(ids[kept], skip_special_tokens=True),
                tokens=int(kept.sum()),
                divergence=divergence,
                k3=diagnostic,
            )
            for ids, kept, divergence, diagnostic in zip(
                response, counted, exact.tolist(), k3.tolist(), strict=True
            )
        ]

    def _divergences(
        self,
        sequences: torch.Tensor,
        mask: torch.Tensor,
        counted: torch.Tensor,
        sampling: Sampling,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return each response's exact divergence and k3, shape (batch,) each."""
        if self._policy is self._base or sampling.greedy:
            return torch.zeros(len(sequences)), torch.zeros(len(sequences))
        per_row = counted.shape[1] * int(self._base.config.vocab_size)
        width = max(1, _LOGITS_AT_ONCE // per_row)
        parts = [
            self._part(sequences[start : start + width], mask[start : start + width],
                       counted[start : start + width])
            for start in range(0, len(sequences), width)
        ]  # fmt: skip
        return torch.cat([exact for exact, _ in parts]), torch.cat([k3 for _, k3 in parts])

    def _part(
        self, sequences: torch.Tensor, mask: torch.Tensor, counted: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        length = counted.shape[1]
        log_policy = _log_probabilities(self._policy, sequences, mask, length)
        difference = log_policy - _log_probabilities(self._base, sequences, mask, length)
        # Σ_t KL(π(·|y_<t) || π_ref(·|y_<t))
        exact = (log_policy.exp() * difference).sum(dim=-1).masked_fill(~counted, 0.0).sum(dim=1)
        ratio = difference.gather(2, sequences[:, -length:].unsqueeze(2)).squeeze(2)
        k3 = (torch.exp(-ratio) - 1 + ratio).masked_fill(~counted, 0.0).sum(dim=1)
        return exact, k3


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


def _tokenizer(folder: Path) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _adapted(model: Any, folders: Sequence[Path]) -> list[Expert]:
    """Return policies that are adapters of one model, which is in memory once."""
    # Only for adapters: peft takes seconds to import.
    from peft import PeftModel

    names = [f"policy{place}" for place in range(len(folders))]
    shared = PeftModel.from_pretrained(model, folders[0], adapter_name=names[0])
    for name, folder in zip(names[1:], folders[1:], strict=True):
        shared.load_adapter(str(folder), adapter_name=name)
    shared.eval()
    return [Adapted(shared, name) for name in names]


def _model(folder: Path) -> Any:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, trust_remote_code=False
    )
    return model.to(device).eval()


def _left_padded(rows: list[list[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for position, row in enumerate(rows):
        ids[position, longest - len(row) :] = torch.tensor(row)
        mask[position, longest - len(row) :] = 1
    return ids, mask
