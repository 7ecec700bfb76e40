"""The arguments of vLLM's engines, from what there is to do and on what. Pure."""

from dataclasses import dataclass
from typing import Any

from palm.contract import AdapterSettings

_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
_SHARE = 0.9
# Log-probabilities of a prompt's tokens take a whole distribution for each token of a step.
_TOKENS_PER_STEP = 2048
_CPU_CACHE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class Memory:
    """The memory of a GPU in bytes, with the reward models already on it."""

    free: int
    total: int


def engine_arguments(
    *,
    engines: int,
    longest: int,
    memory: Memory | None,
    adapter: AdapterSettings | None = None,
) -> dict[str, Any]:
    """Return the keyword arguments of ``vllm.LLM``, without the model.

    Args:
        engines: How many share the GPU.
        longest: Longest sequence in tokens, prompt, response and one more.
        memory: Of the GPU; None: there is none.
        adapter: A LoRA adapter that the engine is to apply.
    """
    arguments: dict[str, Any] = {
        "max_model_len": longest,
        # A model's own generation_config may cut the distribution; π is the whole of it.
        "generation_config": "vllm",
        "trust_remote_code": False,
        "load_format": "safetensors",  # never a pickle
        "max_num_batched_tokens": max(_TOKENS_PER_STEP, longest),
        "disable_log_stats": True,
    }
    if adapter is not None and adapter.type == "LoRA":
        rank = next(rank for rank in _LORA_RANKS if rank >= adapter.rank)
        arguments |= {"enable_lora": True, "max_lora_rank": rank, "max_loras": 1}
    if memory is None:
        return arguments | {
            "dtype": "float32",
            "enforce_eager": True,  # LoRA on a CPU has no compiled form
            "kv_cache_memory_bytes": _CPU_CACHE_BYTES,
            # vLLM takes a seed back after a part of a prompt, which generators of a CPU cannot do.
            "enable_chunked_prefill": False,
        }
    share = _SHARE * memory.free / memory.total / engines
    return arguments | {"dtype": "bfloat16", "gpu_memory_utilization": round(share, 3)}
