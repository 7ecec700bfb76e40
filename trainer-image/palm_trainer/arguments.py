"""From a request to the arguments of TRL's trainers. Pure.

J_w(π) = E[w·r] - β·KL(π || π_ref) is what policies are judged by. RLOO, with the KL in the reward,
has its gradient. GRPO's defaults come near: ``dr_grpo`` sums over tokens without dividing by a
response's length, and no advantage is divided by a standard deviation, as TRL's own default does.
Two things differ: the KL of a token is not charged to the tokens before it, and the group's mean
has the response in it, which shrinks the reward's part by (G - 1)/G.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from palm.contract import AdapterSettings, TrainingRequest, TrainingSettings

Rollouts = Literal["Transformers", "vLLMColocate", "vLLMServer"]

VLLM_PORT = 8000
_VLLM_SHARE = 0.3  # of a GPU's memory, beside the training
_VLLM_WAITS = 900.0  # seconds: a large model takes minutes to load


@dataclass(frozen=True)
class Hardware:
    """What the trainer runs on."""

    cuda: bool
    largest_batch: int | None = None
    """Responses per forward pass at most; None for no limit."""
    processes: int = 1
    rollouts: Rollouts = "Transformers"


def optimiser_steps(settings: TrainingSettings) -> int:
    """Return the number of optimiser steps: episodes // batchSize.

    Raises:
        ValueError: There would be none, or a batch cannot hold whole groups.
    """
    if settings.batch_size % settings.completions_per_prompt:
        raise ValueError(
            f"batchSize {settings.batch_size} must be a multiple of "
            f"completionsPerPrompt {settings.completions_per_prompt}"
        )
    steps = settings.episodes // settings.batch_size
    if steps < 1:
        raise ValueError(
            f"episodes {settings.episodes} must be at least batchSize {settings.batch_size}"
        )
    return steps


def prompts_needed(settings: TrainingSettings) -> int:
    """Return how many prompts are trained on, repetitions counted."""
    per_step = settings.batch_size // settings.completions_per_prompt
    return optimiser_steps(settings) * per_step


def trainer_arguments(
    request: TrainingRequest, hardware: Hardware, folder: Path, *, longest: int | None = None
) -> dict[str, Any]:
    """Return the keyword arguments of the algorithm's TRL configuration for one oracle call.

    Args:
        request: The oracle call.
        hardware: What it runs on.
        folder: Where the trainer may keep files of its own.
        longest: The most tokens of a prompt with its response; None: as many as the model takes.

    Raises:
        ValueError: The settings do not fit together.
    """
    algorithm = {"GRPO": _grpo, "RLOO": _rloo}[request.settings.algorithm]
    return {
        **_common(request, hardware, folder),
        **algorithm(request.settings),
        **_rollouts(hardware, longest),
    }


def _common(request: TrainingRequest, hardware: Hardware, folder: Path) -> dict[str, Any]:
    settings = request.settings
    steps = optimiser_steps(settings)
    if settings.batch_size % hardware.processes:
        raise ValueError(
            f"batchSize {settings.batch_size} must be a multiple of the {hardware.processes} "
            "training processes, one per GPU"
        )
    share = settings.batch_size // hardware.processes
    per_pass = _largest_divisor(share, hardware.largest_batch)
    return {
        "output_dir": str(folder),
        "max_steps": steps,
        "per_device_train_batch_size": per_pass,
        "gradient_accumulation_steps": share // per_pass,
        "num_generations": settings.completions_per_prompt,
        "max_completion_length": settings.max_completion_tokens,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.learning_rate_schedule.lower(),
        "reward_weights": list(request.weights),
        "beta": settings.kl_coefficient,
        # The order of the prompts is the schedule's.
        "shuffle_dataset": False,
        # The sampled policy must be π itself, or the expectation is another one.
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "seed": settings.seed,
        "data_seed": settings.seed,
        "use_cpu": not hardware.cuda,
        "bf16": hardware.cuda,
        "gradient_checkpointing": hardware.cuda,
        "model_init_kwargs": {
            "dtype": parameter_type(settings.adapter, hardware),
            "use_safetensors": True,
        },
        "logging_steps": 1,
        "save_strategy": "no",  # when is ``palm_trainer.saving``'s to say
        "report_to": [],
        "disable_tqdm": True,
    }


def _grpo(settings: TrainingSettings) -> dict[str, Any]:
    aggregation = {
        "SumThenNormalize": "sum_then_normalize",
        "NormalizeThenSum": "normalize_then_sum",
    }
    return {
        "loss_type": "dr_grpo",
        "scale_rewards": settings.advantage_scale.lower(),
        "multi_objective_aggregation": aggregation[settings.aggregation],
    }


def _rloo(settings: TrainingSettings) -> dict[str, Any]:
    if settings.aggregation != "SumThenNormalize":
        raise ValueError(f"aggregation {settings.aggregation} needs algorithm GRPO, not RLOO")
    if settings.advantage_scale == "Group":
        raise ValueError("advantageScale Group needs algorithm GRPO, not RLOO")
    return {"normalize_advantages": settings.advantage_scale == "Batch"}


def _rollouts(hardware: Hardware, longest: int | None) -> dict[str, Any]:
    if hardware.rollouts == "vLLMColocate":
        return {
            "use_vllm": True,
            "vllm_mode": "colocate",
            "vllm_gpu_memory_utilization": _VLLM_SHARE,
            # vLLM wants room for one sequence of the model's full length, which may be 131,072.
            "vllm_max_model_length": longest,
            "vllm_enable_sleep_mode": True,
        }
    if hardware.rollouts == "vLLMServer":
        return {
            "use_vllm": True,
            "vllm_mode": "server",
            "vllm_server_base_url": f"http://127.0.0.1:{VLLM_PORT}",
            "vllm_server_timeout": _VLLM_WAITS,
        }
    return {"use_vllm": False}


def parameter_type(adapter: AdapterSettings, hardware: Hardware) -> str:
    """Return the type of the model's numbers: what is trained needs float32."""
    return "bfloat16" if hardware.cuda and adapter.type == "LoRA" else "float32"


def adapter_arguments(adapter: AdapterSettings) -> dict[str, Any] | None:
    """Return the keyword arguments of peft's ``LoraConfig``; None where everything is trained."""
    if adapter.type == "Full":
        return None
    return {
        "r": adapter.rank,
        "lora_alpha": adapter.rank,
        "lora_dropout": 0.0,
        "target_modules": "all-linear",
        "task_type": "CAUSAL_LM",
    }


def _largest_divisor(number: int, at_most: int | None) -> int:
    limit = number if at_most is None else at_most
    return next(size for size in range(min(number, limit), 0, -1) if number % size == 0)
