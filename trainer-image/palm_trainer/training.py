"""One oracle call with TRL's ``GRPOTrainer``: the only module that trains."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from palm.contract import TrainingRequest
from palm_rewards import RewardScorer
from palm_store.prompts import Prompt
from palm_trainer.arguments import Hardware, adapter_arguments, grpo_arguments
from palm_trainer.progress import Progress
from palm_trainer.rewards import training_rewards

_LARGEST_BATCH_ON_GPU = 8


@dataclass(frozen=True)
class Trained:
    """What a training leaves besides its files."""

    seconds: float
    final_rewards: dict[str, float]


def present_hardware() -> Hardware:
    """Return what this process runs on."""
    if torch.cuda.is_available():
        return Hardware(cuda=True, largest_batch=_LARGEST_BATCH_ON_GPU)
    return Hardware(cuda=False)


def train(
    request: TrainingRequest,
    *,
    base: Path,
    prompts: list[Prompt],
    scorers: list[RewardScorer],
    output: Path,
) -> Trained:
    """Train one policy and write it to a folder as safetensors, with its tokenizer.

    Args:
        request: The oracle call.
        base: Folder of the base model.
        prompts: What to train on, in any order.
        scorers: The objectives, in the request's order.
        output: Where the policy is written; made if absent.

    Raises:
        ValueError: The settings do not fit together.
    """
    names = [scorer.name for scorer in scorers]
    progress = Progress(names, request.affine_maps)
    arguments = grpo_arguments(request, present_hardware(), output.parent / "trainer")
    trainer = GRPOTrainer(
        model=str(base),
        args=GRPOConfig(**arguments),
        reward_funcs=training_rewards(scorers, request.affine_maps),
        train_dataset=_dataset(prompts),
        processing_class=AutoTokenizer.from_pretrained(base, padding_side="left"),
        peft_config=_adapter(request),
        callbacks=[progress],
    )
    _silence(trainer)
    started = time.monotonic()
    trainer.train()
    seconds = time.monotonic() - started
    _save(trainer, request, output)
    return Trained(seconds=seconds, final_rewards=progress.rewards)


def _dataset(prompts: list[Prompt]) -> Dataset:
    return Dataset.from_dict(
        {
            "prompt": [item.prompt for item in prompts],
            "answer": [item.answer for item in prompts],
        }
    )


def _adapter(request: TrainingRequest) -> Any:
    arguments = adapter_arguments(request.settings.adapter)
    if arguments is None:
        return None
    # Only for adapters: peft takes seconds to import.
    from peft import LoraConfig

    return LoraConfig(**arguments)


def _silence(trainer: GRPOTrainer) -> None:
    """Remove the callback that prints every metric as a dictionary: ``Progress`` prints."""
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)


def _save(trainer: GRPOTrainer, request: TrainingRequest, output: Path) -> None:
    model = trainer.accelerator.unwrap_model(trainer.model)
    if request.settings.adapter.type == "LoRA":
        # Else it would be this machine's temporary folder.
        model.peft_config["default"].base_model_name_or_path = request.base_model
    model.save_pretrained(output)
    trainer.processing_class.save_pretrained(output)
