"""Sampling with vLLM: fast, on GPUs. It shows log-probabilities of tokens, so KL is k1.

k1 of a response is Σ_t log π(y_t) - log π_ref(y_t): without bias, and never k3, whose mean is
ruled by rare tokens far from the base policy. Responses are scored as token ids, never as text. An
adapter needs no second engine: one samples with it and scores without it.
"""

import os
import tempfile
from collections.abc import Sequence
from math import expm1
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoConfig, AutoTokenizer, GenerationConfig
from vllm import LLM, SamplingParams, TokensPrompt
from vllm.lora.request import LoRARequest

from palm.contract import AdapterSettings
from palm_evaluator.engines import Memory, engine_arguments
from palm_evaluator.generation import Sampled, Sampling, end_tokens, generation_ids

_LONGEST_FOLDER = 60


class VllmGenerator:
    """A ``Generator`` on vLLM."""

    engine: Literal["vLLM"] = "vLLM"
    estimator: Literal["k1"] = "k1"

    def __init__(
        self, policy: LLM, base: LLM, adapter: LoRARequest | None, ends: list[int]
    ) -> None:
        self._policy = policy
        self._base = base
        self._adapter = adapter
        self._ends = ends

    @classmethod
    def load(
        cls, base: Path, policy: Path | None, adapter: AdapterSettings | None, *, longest: int
    ) -> "VllmGenerator":
        """Return the generator of a policy; of the base policy where ``policy`` is None.

        Args:
            base: Folder of the base model.
            policy: Folder of the policy.
            adapter: How the policy is to be loaded.
            longest: Longest sequence in tokens, prompt and response.
        """
        _prepare_environment()
        ends = end_tokens(_declared_end(base), AutoTokenizer.from_pretrained(base))
        is_adapter = policy is not None and adapter is not None and adapter.type == "LoRA"
        engines = 1 if policy is None or is_adapter else 2
        arguments = engine_arguments(
            engines=engines,
            longest=longest + 1,
            memory=_memory(),
            adapter=adapter if is_adapter else None,
        )
        if policy is not None and not is_adapter:
            return cls(LLM(str(policy), **arguments), LLM(str(base), **arguments), None, ends)
        engine = LLM(str(base), **arguments)
        request = LoRARequest("policy", 1, str(policy)) if is_adapter else None
        return cls(engine, engine, request, ends)

    def sampled(self, prompts: Sequence[Any], sampling: Sampling) -> list[list[Sampled]]:
        """Return ``samples_per_prompt`` responses for each prompt, in the prompts' order."""
        tokenizer = self._policy.get_tokenizer()
        width = sampling.samples_per_prompt
        ids = [row for prompt in prompts for row in [generation_ids(tokenizer, prompt)] * width]
        seeds = [seed for prompt in range(len(prompts)) for seed in sampling.seeds(prompt)]
        compares = self._compares(sampling)
        outputs = self._policy.generate(
            [TokensPrompt(prompt_token_ids=row) for row in ids],
            [
                sampling_parameters(sampling, seed=seed, ends=self._ends, compares=compares)
                for seed in seeds
            ],
            lora_request=self._adapter,
            use_tqdm=False,
        )
        print(f"sampled {len(outputs)}/{len(ids)} responses", flush=True)
        responses = [output.outputs[0] for output in outputs]
        ratios = self._ratios(ids, responses, sampling)
        # vLLM's own text leaves out what it holds back of an unfinished character.
        rows = [list(response.token_ids) for response in responses]
        texts = tokenizer.batch_decode(rows, skip_special_tokens=True)
        drawn = [
            Sampled(
                text=text,
                tokens=len(row),
                divergence=sum(ratio),
                k3=sum(expm1(-each) + each for each in ratio),
            )
            for text, row, ratio in zip(texts, rows, ratios, strict=True)
        ]
        return [drawn[start : start + width] for start in range(0, len(drawn), width)]

    def _ratios(
        self, prompts: list[list[int]], responses: list[Any], sampling: Sampling
    ) -> list[list[float]]:
        """Return log π - log π_ref of every token of each response."""
        if not self._compares(sampling):
            return [[0.0] * len(response.token_ids) for response in responses]
        reference = self._reference(prompts, [list(each.token_ids) for each in responses])
        return [
            [
                position[token].logprob - log_base
                for position, token, log_base in zip(
                    response.logprobs, response.token_ids, row, strict=True
                )
            ]
            for response, row in zip(responses, reference, strict=True)
        ]

    def _compares(self, sampling: Sampling) -> bool:
        """Say whether there is a divergence to estimate: not of the base policy, nor greedily."""
        is_base = self._policy is self._base and self._adapter is None
        return not (sampling.greedy or is_base)

    def _reference(self, prompts: list[list[int]], responses: list[list[int]]) -> list[list[float]]:
        """Return log π_ref of every token of each response given its prompt."""
        outputs = self._base.generate(
            [
                TokensPrompt(prompt_token_ids=prompt + response)
                for prompt, response in zip(prompts, responses, strict=True)
            ],
            SamplingParams(temperature=1.0, max_tokens=1, prompt_logprobs=0, detokenize=False),
            use_tqdm=False,
        )
        return [
            [
                position[token].logprob
                for position, token in zip(
                    output.prompt_logprobs[len(prompt) :], response, strict=True
                )
            ]
            for output, prompt, response in zip(outputs, prompts, responses, strict=True)
        ]


def sampling_parameters(
    sampling: Sampling, *, seed: int, ends: list[int], compares: bool
) -> SamplingParams:
    """Return one response's parameters: every one that shapes the distribution is stated.

    Args:
        sampling: How responses are drawn.
        seed: The response's own.
        ends: Tokens that end it.
        compares: Whether the log-probability of every token is wanted.
    """
    return SamplingParams(
        temperature=0.0 if sampling.greedy else 1.0,
        top_p=1.0,
        top_k=0,
        min_p=0.0,
        presence_penalty=0.0,
        frequency_penalty=0.0,
        repetition_penalty=1.0,
        max_tokens=sampling.max_completion_tokens,
        stop_token_ids=ends,
        logprobs=0 if compares else None,
        detokenize=False,
        seed=None if sampling.greedy else seed,
    )


def _declared_end(folder: Path) -> int | list[int] | None:
    try:
        found: int | list[int] | None = GenerationConfig.from_pretrained(folder).eos_token_id
    except OSError:  # it has none of its own
        found = AutoConfig.from_pretrained(folder, trust_remote_code=False).eos_token_id
    return found


def _memory() -> Memory | None:
    if not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info()
    return Memory(free=free, total=total)


def _prepare_environment() -> None:
    """Set what vLLM reads from the environment of its own processes."""
    # The main process may have touched the GPU, for reward models: no forks after that.
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    if not torch.cuda.is_available():
        # A process of the engine's own would only fight with this one for the same cores.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    if len(tempfile.gettempdir()) > _LONGEST_FOLDER:
        # Its processes talk by Unix sockets, whose paths have at most 107 characters.
        os.environ.setdefault("VLLM_RPC_BASE_PATH", "/tmp")
