"""Base models that no policy can be made of are refused by name, before they are loaded."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs import random_model
from palm_store.job import InvalidData, InvalidRequest
from palm_store.prompts import Prompt

pytestmark = pytest.mark.model

URI = "s3://models/base"
WEIGHT = "model.layers.0.mlp.gate_proj.weight"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(random_model() / "model", tmp_path / "model"))


def without_safetensors(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")


def without_tokenizer(model: Path) -> None:
    for file in model.glob("tokenizer*"):
        file.unlink()


def cut_short(model: Path) -> None:
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def of_no_known_class(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"model_type": "nosuch"}))


def rewritten(model: Path, change: Callable[[dict[str, Any]], None]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(model / "model.safetensors")
    change(tensors)
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})


def without_a_weight(model: Path) -> None:
    rewritten(model, lambda tensors: tensors.pop(WEIGHT))


def with_a_weight_of_another_shape(model: Path) -> None:
    rewritten(model, lambda tensors: tensors.update({WEIGHT: tensors[WEIGHT][:3].clone()}))


def test_a_whole_model_is_taken(model: Path) -> None:
    from palm_rewards.base_model import check_base_model

    check_base_model(URI, model)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (without_safetensors, "no file named model.safetensors"),
        (without_tokenizer, "no tokenizer"),
        (cut_short, "header"),
        (of_no_known_class, "nosuch"),
        (without_a_weight, f"lack {WEIGHT}"),
        (with_a_weight_of_another_shape, f"shape that config.json says: .*{WEIGHT}"),
    ],
)
def test_one_that_cannot_be_used_is_refused(
    model: Path, broken: Callable[[Path], None], says: str
) -> None:
    from palm_rewards.base_model import check_base_model

    broken(model)
    with pytest.raises(InvalidRequest, match=f"base model {URI} cannot be used: .*{says}"):
        check_base_model(URI, model)


@pytest.mark.parametrize("template", [None, "{{ raise_exception('no system role') }}"])
def test_a_chat_that_the_template_refuses_is_named_by_its_line(
    model: Path, template: str | None
) -> None:
    from transformers import AutoTokenizer

    from palm_rewards.base_model import chat_text

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = template
    with pytest.raises(InvalidData, match=r"line 3 cannot be written by the base model's chat"):
        chat_text(tokenizer, Prompt([{"role": "user", "content": "1 + 2?"}], None, "line 3"))
