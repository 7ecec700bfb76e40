"""Models in memory under the names that requests use: full ones, and LoRA adapters on one base."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

_ADAPTER_FILE = "adapter_model.safetensors"


class UnusableModel(Exception):
    """A folder does not hold what can be served; the message names it and says why."""


@dataclass(frozen=True)
class Served:
    """One name's model, as ``transformers serve`` handles it."""

    model: Any
    tokenizer: Any
    parent: str | None = None


class Adapted:
    """A base model with one of its adapters, or none; generation is one request at a time."""

    def __init__(self, model: Any, adapter: str | None, lock: threading.Lock) -> None:
        self._model, self._adapter, self._lock = model, adapter, lock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(self, **arguments: Any) -> Any:
        """Generate with this adapter."""
        with self._lock:
            if self._adapter is None:
                with self._model.disable_adapter():
                    return self._model.generate(**arguments)
            self._model.set_adapter(self._adapter)
            return self._model.generate(**arguments)


def load_models(name: str, folder: Path, adapters: Mapping[str, Path]) -> dict[str, Served]:
    """Load a model and its adapters.

    Args:
        name: What requests call the model without adapters.
        folder: Its files; nothing but safetensors is read as weights.
        adapters: Folders of LoRA adapters by the names that requests use.

    Raises:
        UnusableModel: A folder does not hold a model or an adapter.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        ).eval()
        if not adapters:
            return {name: Served(model, tokenizer)}
        return _with_adapters(name, model, tokenizer, adapters)
    except (OSError, ValueError) as error:
        # In one line: the last line of a log is what Kubernetes shows.
        raise UnusableModel(f"{folder}: {' '.join(str(error).split())}") from error


def _with_adapters(
    name: str, base: Any, tokenizer: Any, adapters: Mapping[str, Path]
) -> dict[str, Served]:
    # Only for adapters: peft takes seconds to import.
    from peft import PeftModel

    adapted: Any = None
    for adapter, folder in adapters.items():
        if not (folder / _ADAPTER_FILE).is_file():
            raise UnusableModel(f"{folder} holds no {_ADAPTER_FILE}")
        if adapted is None:
            adapted = PeftModel.from_pretrained(base, folder, adapter_name=adapter).eval()
        else:
            adapted.load_adapter(folder, adapter_name=adapter)
    lock = threading.Lock()
    served = {name: Served(Adapted(adapted, None, lock), tokenizer)}
    for adapter in adapters:
        served[adapter] = Served(Adapted(adapted, adapter, lock), tokenizer, parent=name)
    return served
