"""From a request to the arguments of TRL's trainer. Pure.

The loss is the gradient of J_w(π) = E[w·r] - β·KL(π || π_ref) up to one constant factor, which
Adam ignores: ``dr_grpo`` sums over tokens without dividing by a response's length, and
``scale_rewards="none"`` leaves the rewards' spread alone. TRL's default divides by each group's
standard deviation, whose fixed point is not the maximum of J_w.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palm.contract import AdapterSettings, TrainingRequest, TrainingSettings


@dataclass(frozen=True)
class Hardware:
    """What the trainer runs on."""

    cuda: bool
    largest_batch: int | None = None
    """Responses per forward pass at most; None for no limit."""


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


def grpo_arguments(request: TrainingRequest, hardware: Hardware, folder: Path) -> dict[str, Any]:
    """Return the keyword arguments of ``GRPOConfig`` for one oracle call.

    Args:
        request: The oracle call.
        hardware: What it runs on.
        folder: Where the trainer may keep files of its own.

    Raises:
        ValueError: The settings do not fit together.
    """
    settings = request.settings
    steps = optimiser_steps(settings)
    per_pass = _largest_divisor(settings.batch_size, hardware.largest_batch)
    return {
        "output_dir": str(folder),
        "max_steps": steps,
        "per_device_train_batch_size": per_pass,
        "gradient_accumulation_steps": settings.batch_size // per_pass,
        "num_generations": settings.completions_per_prompt,
        "max_completion_length": settings.max_completion_tokens,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "constant",
        "reward_weights": list(request.weights),
        "beta": settings.kl_coefficient,
        "loss_type": "dr_grpo",
        "scale_rewards": "none",
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
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
    }


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
