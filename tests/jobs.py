"""What tests of the trainer and the evaluator share: a tiny model, requests, and running a Job."""

import hashlib
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from palm.artifacts import model_folder, training_record
from palm.contract import (
    AdapterSettings,
    AffineMap,
    EvaluationRequest,
    EvaluationSettings,
    Model,
    PromptSource,
    RewardFunction,
    StorageLocation,
    TrainingRecord,
    TrainingRequest,
    TrainingSettings,
    VerifiableReward,
)
from palm_store import S3Store

REWARDS = (
    RewardFunction(
        name="brevity", verifiable=VerifiableReward(type="BrevityIfCorrect", max_tokens=48)
    ),
    RewardFunction(name="helpfulness", verifiable=VerifiableReward(type="ArithmeticSteps")),
)
NOWHERE = StorageLocation(bucket="results", prefix="test", endpoint="http://127.0.0.1:9")


def training_settings(**changes: Any) -> TrainingSettings:
    """Return settings of three steps of eight responses."""
    settings: dict[str, Any] = {
        "kl_coefficient": 0.01,
        "adapter": AdapterSettings(type="Full"),
        "episodes": 24,
        "learning_rate": 1e-3,
        "completions_per_prompt": 4,
        "batch_size": 8,
        "max_completion_tokens": 8,
        "seed": 0,
    }
    return TrainingSettings(**(settings | changes))


def training_request(storage: StorageLocation = NOWHERE, **changes: Any) -> TrainingRequest:
    """Return an oracle call whose model and prompts lie below the storage's prefix."""
    request: dict[str, Any] = {
        "policy": "w1",
        "policy_digest": "a" * 32,
        "base_model": f"s3://{storage.bucket}/{storage.prefix}/toy/model",
        "prompts": PromptSource(uri=f"s3://{storage.bucket}/{storage.prefix}/toy/prompts.jsonl"),
        "rewards": REWARDS,
        "affine_maps": (AffineMap(offset=0.0, scale=1.0),) * 2,
        "weights": (0.25, 0.75),
        "settings": training_settings(),
        "storage": storage,
    }
    return TrainingRequest(**(request | changes))


def evaluation_request(storage: StorageLocation = NOWHERE, **changes: Any) -> EvaluationRequest:
    """Return an evaluation of the base policy."""
    training = training_request(storage)
    request: dict[str, Any] = {
        "policy": "base",
        "evaluation_digest": "e" * 32,
        "base_model": training.base_model,
        "prompts": training.prompts,
        "rewards": REWARDS,
        "settings": EvaluationSettings(
            engine="Transformers", samples_per_prompt=2, max_completion_tokens=8, seed=0
        ),
        "storage": storage,
    }
    return EvaluationRequest(**(request | changes))


@cache
def random_model() -> Path:
    """Return a folder with an untrained toy model and the toy prompts."""
    import torch

    from palm_trainer.toy.base_model import toy_model, toy_tokenizer
    from palm_trainer.toy.recipe import RECIPE
    from palm_trainer.toy.task import prompt_lines, samples

    torch.set_num_threads(1)
    folder = Path(mkdtemp(prefix="palm-random-model-"))
    drawn = samples(500, seed=0)
    tokenizer = toy_tokenizer((f"{item.prompt} {item.response}" for item in drawn), RECIPE)
    toy_model(tokenizer, RECIPE).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    lines = "\n".join(json.dumps(line) for line in prompt_lines()[:10])
    (folder / "prompts.jsonl").write_text(lines)
    return folder


@cache
def random_adapter(seed: int = 0) -> Path:
    """Return a folder with a LoRA adapter of the random model that changes what it says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(random_model() / "model")
    adapted = get_peft_model(base, LoraConfig(r=8, target_modules="all-linear"))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    folder = Path(mkdtemp(prefix="palm-random-adapter-"))
    adapted.save_pretrained(folder)
    return folder


def commit_policy(store: S3Store, digest: str, folder: Path) -> None:
    """Put a folder into S3 as a trained policy, with its record."""
    record = TrainingRecord(
        policy_digest=digest,
        files={
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*")
            if path.is_file()
        },
        steps=1,
        seconds=1.0,
        final_rewards={},
    )
    store.upload_folder(folder, model_folder(digest))
    store.write(training_record(digest), record.model_dump_json(by_alias=True).encode())


def upload_random_model(storage: StorageLocation) -> S3Store:
    """Put the random model and its prompts where the requests look; return the store."""
    store = S3Store(storage)
    store.upload_folder(random_model(), "toy")
    return store


def run_job(
    module: str, request: Model | str, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a Job's command as the cluster would: a process with its request in the environment."""
    text = request if isinstance(request, str) else request.model_dump_json(by_alias=True)
    return subprocess.run(
        [sys.executable, "-m", module],
        env=os.environ | environment | {"PALM_REQUEST": text},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
