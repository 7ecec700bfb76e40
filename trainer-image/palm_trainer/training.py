"""One oracle call with TRL's trainers: the only module that trains."""

import shutil
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoConfig, AutoTokenizer
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from palm.contract import TrainingRequest
from palm.training_progress import Checkpoint
from palm_rewards import RewardScorer
from palm_store import ResultStore
from palm_store.fetch import NOT_READ
from palm_store.job import InvalidData
from palm_store.prompts import Prompt
from palm_store.provenance import contents
from palm_trainer.agreement import is_first_here, of_all
from palm_trainer.arguments import (
    Hardware,
    Rollouts,
    adapter_arguments,
    prompts_needed,
    trainer_arguments,
)
from palm_trainer.checkpoints import Checkpoints, common
from palm_trainer.lengths import longest_sequence
from palm_trainer.machines import Machine
from palm_trainer.progress import Progress, ProgressObject
from palm_trainer.rewards import training_rewards
from palm_trainer.saving import Saving
from palm_trainer.schedule import prompt_order
from palm_trainer.workplace import Trained, Workplace

_LARGEST_BATCH_ON_GPU = 8
_ALGORITHMS = {"GRPO": (GRPOConfig, GRPOTrainer), "RLOO": (RLOOConfig, RLOOTrainer)}


def present_hardware(processes: int = 1, rollouts: Rollouts = "Transformers") -> Hardware:
    """Return what this process runs on."""
    if torch.cuda.is_available():
        return Hardware(True, _LARGEST_BATCH_ON_GPU, processes, rollouts)
    return Hardware(False, None, processes, "Transformers")


def train(
    request: TrainingRequest,
    place: Workplace,
    *,
    prompts: list[Prompt],
    scorers: list[RewardScorer],
    store: ResultStore,
    hardware: Hardware,
    machine: Machine | None = None,
) -> Trained:
    """Train one policy, from its last checkpoint on, and write it to the workplace.

    The policy is safetensors with its tokenizer; there is none where the end was asked for.

    Args:
        request: The oracle call.
        place: Where everything lies and goes.
        prompts: What to train on, in any order.
        scorers: The objectives, in the request's order.
        store: Where checkpoints and the progress go.
        hardware: What this runs on.
        machine: Which of several nodes this is; None: the only one.

    Raises:
        ValueError: The settings do not fit together.
        InvalidData: A prompt leaves the model no room for a response.
        InvalidRequest: An input is not what it was when the checkpoint was made.
        InvalidResult: A reward or a gradient is not finite.
        StoreUnavailable: A checkpoint that is there cannot be read, or the last one not written.
    """
    tokenizer = AutoTokenizer.from_pretrained(place.base, padding_side="left")
    order = _order(request, prompts)
    longest = longest_in(request, place, prompts)
    arguments = trainer_arguments(request, hardware, place.trainer, longest=longest)
    layout = _layout(request, hardware)
    made = place.inputs()
    checkpoints = Checkpoints(
        store,
        request.policy_digest,
        layout=layout,
        inputs=contents(made) if made else None,
        machine=machine,
    )
    restored = _restored(checkpoints, place.restored)
    saving = Saving(
        checkpoints,
        place.stop,
        interval=request.execution.checkpoint_seconds,
        earlier_seconds=restored.seconds if restored else 0.0,
    )
    published = ProgressObject(store)
    progress = Progress(request, checkpoint_step=lambda: checkpoints.last, publish=published)
    config, kind = _ALGORITHMS[request.settings.algorithm]
    trainer = kind(
        model=str(place.base),
        args=config(**arguments),
        reward_funcs=training_rewards(
            scorers, request.affine_maps, request.settings.reward_normalization
        ),
        train_dataset=_dataset(prompts, order),
        processing_class=tokenizer,
        peft_config=_adapter(request),
        callbacks=[progress, saving],
    )
    _silence(trainer)
    start = None
    if restored is not None:
        start = str(checkpoints.folder_of(place.restored, restored))
        print(f"going on from the checkpoint of step {restored.step}", flush=True)
    trainer.train(resume_from_checkpoint=start)
    saving.finish()
    published.finish()
    if not saving.interrupted:
        _save(trainer, request, place.model)
    return Trained(
        finished=not saving.interrupted,
        steps=trainer.state.global_step,
        seconds=saving.seconds,
        final_rewards=progress.rewards,
    )


def longest_in(request: TrainingRequest, place: Workplace, prompts: list[Prompt]) -> int:
    """Return the most tokens that a prompt of this training and its response can have.

    Raises:
        InvalidData: A prompt cannot be used with this model; names its line.
    """
    tokenizer = AutoTokenizer.from_pretrained(place.base)
    config = AutoConfig.from_pretrained(place.base, trust_remote_code=False)
    used = [prompts[index] for index in sorted(set(_order(request, prompts)))]
    try:
        return longest_sequence(
            used,
            tokenizer,
            room=getattr(config, "max_position_embeddings", None),
            response=request.settings.max_completion_tokens,
        )
    except InvalidData as problem:
        raise InvalidData(f"{request.prompts.uri}: {problem}") from None


def _order(request: TrainingRequest, prompts: list[Prompt]) -> list[int]:
    settings = request.settings
    return prompt_order(len(prompts), needed=prompts_needed(settings), seed=settings.seed)


def _layout(request: TrainingRequest, hardware: Hardware) -> str:
    sharding = request.execution.sharding
    return f"{hardware.processes} processes, sharding {sharding}"


def _restored(checkpoints: Checkpoints, folder: Path) -> Checkpoint | None:
    """Restore the last checkpoint; the first process of a machine does it for all of it."""
    is_first = is_first_here()
    found = checkpoints.restore(folder) if is_first else None
    return common([marker for first, marker in of_all((is_first, found)) if first])


def _dataset(prompts: list[Prompt], order: list[int]) -> Dataset:
    columns = {
        "prompt": [item.prompt for item in prompts],
        "answer": [item.answer for item in prompts],
    }
    return Dataset.from_dict(columns).select(order)


def _adapter(request: TrainingRequest) -> Any:
    arguments = adapter_arguments(request.settings.adapter)
    if arguments is None:
        return None
    # Only for adapters: peft takes seconds to import.
    from peft import LoraConfig

    return LoraConfig(**arguments)


def _silence(trainer: Any) -> None:
    """Leave telling to ``Progress``: no metrics as dictionaries, no bars."""
    trainer.remove_callback(PrinterCallback)
    logging.disable_progress_bar()


def _save(trainer: Any, request: TrainingRequest, output: Path) -> None:
    model = trainer.accelerator.unwrap_model(trainer.model)
    if request.settings.adapter.type == "LoRA":
        # Else it would be this machine's temporary folder.
        model.peft_config["default"].base_model_name_or_path = request.base_model
    written = output.with_name("written")
    trainer.save_model(str(written))  # gathers what is sharded over processes
    if not trainer.accelerator.is_main_process:
        return
    output.mkdir(parents=True, exist_ok=True)
    for path in written.iterdir():
        # No pickles: loading one runs whatever its author wrote.
        if path.is_file() and not path.name.endswith((*NOT_READ, ".md")):
            shutil.move(path, output / path.name)
