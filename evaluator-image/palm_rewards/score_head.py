"""safe-rlhf's score models (Beaver): a base model with a linear head read at the last token.

The published files hold ``model.*``, ``score_head.weight`` and perhaps ``score_head.bias``. The
package that trained them is not needed to read them.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoModel

from palm_rewards.loading import check_complete

_WEIGHT, _BIAS = "score_head.weight", "score_head.bias"


class ScoreHeadModel(torch.nn.Module):
    """A base model and its score head; called like a sequence classifier."""

    def __init__(self, base: Any, head: torch.nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.score_head = head

    @property
    def config(self) -> Any:
        """The base model's configuration."""
        return self.base.config

    @property
    def device(self) -> Any:
        """Where its parameters are."""
        return self.base.device

    @classmethod
    def load(cls, folder: Path, **arguments: Any) -> "ScoreHeadModel":
        """Return the score model of a folder.

        Args:
            folder: Configuration, tokenizer and safetensors.
            arguments: Of ``from_pretrained``.

        Raises:
            ValueError: The files lack the head, or a weight of the base model, or ask for the
                normalization that safe-rlhf applies while it trains a critic.
        """
        base, loading = AutoModel.from_pretrained(folder, output_loading_info=True, **arguments)
        check_complete(loading)
        if getattr(base.config, "do_normalize", False):
            raise ValueError("its configuration has do_normalize, which is not supported")
        tensors = _head(folder)
        weight = tensors[_WEIGHT].float()
        head = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=_BIAS in tensors)
        with torch.no_grad():
            head.weight.copy_(weight)
            if _BIAS in tensors:
                head.bias.copy_(tensors[_BIAS].float())
        return cls(base, head)

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Return the scores at each row's last token, shape (batch, score_dim)."""
        hidden = self.base(**inputs).last_hidden_state
        last = inputs["attention_mask"].cumsum(dim=1).argmax(dim=1)
        rows = torch.arange(len(hidden), device=hidden.device)
        scores: torch.Tensor = self.score_head(hidden[rows, last].float())
        return scores


def _head(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for path in _files(folder):
        with safe_open(path, framework="pt") as tensors:
            found |= {n: tensors.get_tensor(n) for n in (_WEIGHT, _BIAS) if n in tensors.keys()}  # noqa: SIM118
    if _WEIGHT not in found:
        raise ValueError(f"its files lack {_WEIGHT}")
    return found


def _files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return [folder / "model.safetensors"]
    names = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    return sorted({folder / names[n] for n in (_WEIGHT, _BIAS) if n in names})
