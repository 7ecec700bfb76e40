"""Sampling with vLLM: fast, on GPUs. It shows log-probabilities of tokens, so KL is k1.

k1 of a response is Σ_t log π(y_t) - log π_ref(y_t): without bias, and never k3, whose mean is
ruled by rare tokens far from the base policy. Responses are scored as token ids, never as text.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from vllm import LLM, SamplingParams, TokensPrompt
from vllm.lora.request import LoRARequest

from palm.contract import AdapterSettings
from palm_evaluator.generation import Sampled, Sampling, generation_ids

_ONE_ENGINE = 0.9
_TWO_ENGINES = 0.45  # shares of the GPU's memory


class VllmGenerator:
    """A ``Generator`` on vLLM."""

    engine: Literal["vLLM"] = "vLLM"
    estimator: Literal["k1"] = "k1"

    def __init__(self, policy: LLM, base: LLM, adapter: LoRARequest | None) -> None:
        self._policy = policy
        self._base = base
        self._adapter = adapter

    @classmethod
    def load(
        cls, base: Path, policy: Path | None, adapter: AdapterSettings | None
    ) -> "VllmGenerator":
        """Return the generator of a policy; of the base policy where ``policy`` is None."""
        if policy is None:
            engine = _engine(base, _ONE_ENGINE)
            return cls(engine, engine, None)
        if adapter is not None and adapter.type == "LoRA":
            engine = _engine(base, _ONE_ENGINE, enable_lora=True, max_lora_rank=adapter.rank)
            return cls(engine, engine, LoRARequest("policy", 1, str(policy)))
        return cls(_engine(policy, _TWO_ENGINES), _engine(base, _TWO_ENGINES), None)

    def sampled(self, prompts: Sequence[Any], sampling: Sampling) -> list[list[Sampled]]:
        """Return ``samples_per_prompt`` responses for each prompt, in the prompts' order."""
        tokenizer = self._policy.get_tokenizer()
        width = sampling.samples_per_prompt
        ids = [row for prompt in prompts for row in [generation_ids(tokenizer, prompt)] * width]
        outputs = self._policy.generate(
            [TokensPrompt(prompt_token_ids=row) for row in ids],
            [_parameters(sampling, *divmod(index, width)) for index in range(len(ids))],
            lora_request=self._adapter,
            use_tqdm=False,
        )
        print(f"sampled {len(outputs)}/{len(ids)} responses", flush=True)
        responses = [output.outputs[0] for output in outputs]
        reference = self._reference(ids, [list(response.token_ids) for response in responses])
        drawn = [
            Sampled(
                text=response.text,
                tokens=len(response.token_ids),
                divergence=response.cumulative_logprob - log_base,
            )
            for response, log_base in zip(responses, reference, strict=True)
        ]
        return [drawn[start : start + width] for start in range(0, len(drawn), width)]

    def _reference(self, prompts: list[list[int]], responses: list[list[int]]) -> list[float]:
        """Return log π_ref of each response given its prompt."""
        outputs = self._base.generate(
            [
                TokensPrompt(prompt_token_ids=prompt + response)
                for prompt, response in zip(prompts, responses, strict=True)
            ],
            SamplingParams(temperature=1.0, max_tokens=1, prompt_logprobs=0),
            use_tqdm=False,
        )
        return [
            sum(
                position[token].logprob
                for position, token in zip(
                    output.prompt_logprobs[len(prompt) :], response, strict=True
                )
            )
            for output, prompt, response in zip(outputs, prompts, responses, strict=True)
        ]


def _engine(model: Path, memory: float, **arguments: Any) -> LLM:
    # A model's own generation_config may cut the distribution; π is the whole of it.
    return LLM(str(model), gpu_memory_utilization=memory, generation_config="vllm", **arguments)


def _parameters(sampling: Sampling, prompt: int, sample: int) -> SamplingParams:
    return SamplingParams(
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        max_tokens=sampling.max_completion_tokens,
        logprobs=0,
        seed=response_seed(sampling.seed, prompt=prompt, sample=sample),
    )


def response_seed(seed: int, *, prompt: int, sample: int) -> int:
    """Return one response's own seed; a seed they share would give all prompts one stream."""
    digest = hashlib.sha256(f"{seed}/{prompt}/{sample}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
