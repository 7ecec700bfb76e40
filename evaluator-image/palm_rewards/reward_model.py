"""Rewards given by a reward model on transformers. Higher is better."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from palm.contract import ModelReward
from palm_rewards.loading import check_shapes, check_tokenizer
from palm_rewards.responses import Responses
from palm_rewards.score_head import ScoreHeadModel
from palm_rewards.templates import batches, cut, first_of_pair, formatted, messages

_TOKENS_AT_ONCE = {"cuda": 16_384, "cpu": 4_096}


class RewardModel:
    """A reward model and how its inputs and outputs are to be read."""

    def __init__(self, model: Any, tokenizer: Any, reward: ModelReward) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._reward = reward
        self._longest = _longest_input(model, tokenizer, reward)
        # A padding token that also ends texts would hide a text's own end from models that read
        # the last token that is not padding.
        self._pads_with_text = tokenizer.pad_token_id in (None, tokenizer.eos_token_id)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        model.config.pad_token_id = tokenizer.pad_token_id

    @classmethod
    def load(cls, folder: Path, reward: ModelReward) -> "RewardModel":
        """Return the reward model of a folder, on the GPU where there is one.

        Safetensors only, and without remote code unless the reward says so: nothing of the model's
        author is run.

        Raises:
            ValueError: The files are not what the reward says they are.
        """
        try:
            device = "cuda" if torch.cuda.is_available() else "cpu"
            model = _loaded(folder, reward, torch.bfloat16 if device == "cuda" else torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(
                folder,
                trust_remote_code=reward.trust_remote_code,
                truncation_side=reward.truncation_side.lower(),
                padding_side="right",
            )
            _check(model, tokenizer, reward)
        except (OSError, ValueError, KeyError, ImportError, SafetensorError) as problem:
            first = str(problem).strip().splitlines() or [type(problem).__name__]
            raise ValueError(f"reward model {reward.uri} cannot be loaded: {first[0]}") from None
        return cls(model.to(device).eval(), tokenizer, reward)

    def scores(self, responses: Responses) -> list[float]:
        """Return one reward per response, in order."""
        encoded = self._encoded(responses)
        lengths = [len(ids) for ids in encoded["input_ids"]]
        found = [0.0] * len(lengths)
        for batch in batches(lengths, budget=_TOKENS_AT_ONCE[self._model.device.type]):
            rows = {name: [column[i] for i in batch] for name, column in encoded.items()}
            for position, value in zip(batch, self._scored(rows), strict=True):
                found[position] = value
        return found

    @torch.inference_mode()
    def _scored(self, rows: dict[str, list[list[int]]]) -> list[float]:
        inputs = self._tokenizer.pad(rows, return_tensors="pt")
        if self._pads_with_text:
            unused = _unused(inputs["input_ids"])
            inputs["input_ids"][inputs["attention_mask"] == 0] = unused
            self._model.config.pad_token_id = unused
        inputs = inputs.to(self._model.device)
        output = self._model(**inputs)
        logits = output if isinstance(output, torch.Tensor) else output.logits
        logits = logits.float()
        if self._reward.activation == "Sigmoid":
            logits = logits.sigmoid()
        elif self._reward.activation == "Softmax":
            logits = logits.softmax(dim=-1)
        chosen = logits[:, self._reward.label_index]
        scored: list[float] = (chosen if self._reward.sign == "Positive" else -chosen).tolist()
        return scored

    def _encoded(self, responses: Responses) -> dict[str, list[list[int]]]:
        """Return the tokenizer's columns, unpadded; an input without tokens is its end token."""
        reward, settings = self._reward, {"truncation": True, "max_length": self._longest}
        texts = [cut(text, reward.stop_strings) for text in responses.texts]
        pairs = list(zip(responses.prompts, texts, strict=True))
        if reward.template == "Pair":
            prompts = [first_of_pair(reward, prompt) for prompt, _ in pairs]
            encoded = self._tokenizer(prompts, texts, **settings)
        elif reward.template == "Response":
            encoded = self._tokenizer(texts, **settings)
        elif reward.template == "Format":
            encoded = self._tokenizer([formatted(reward, *pair) for pair in pairs], **settings)
        else:
            chats = [
                self._tokenizer.apply_chat_template(messages(*pair), tokenize=False)
                for pair in pairs
            ]
            # The template has written the special tokens already.
            encoded = self._tokenizer(chats, add_special_tokens=False, **settings)
        columns = {name: list(column) for name, column in encoded.items()}
        for position, ids in enumerate(columns["input_ids"]):
            if not ids:
                for name, column in columns.items():
                    column[position] = [1 if name == "attention_mask" else 0]
                columns["input_ids"][position] = [self._tokenizer.eos_token_id or 0]
        return columns


def _loaded(folder: Path, reward: ModelReward, dtype: torch.dtype) -> Any:
    arguments = {
        "dtype": dtype,
        "use_safetensors": True,
        "ignore_mismatched_sizes": True,  # so that they are named
        "trust_remote_code": reward.trust_remote_code,
    }
    if reward.architecture == "ScoreHead":
        return ScoreHeadModel.load(folder, **arguments)
    model, loading = AutoModelForSequenceClassification.from_pretrained(
        folder, output_loading_info=True, **arguments
    )
    if missing := sorted(loading["missing_keys"]):
        # transformers would make them up, and every reward with them.
        raise ValueError(f"its files lack {missing[0]}: it is no sequence classifier")
    check_shapes(loading)
    return model


def _check(model: Any, tokenizer: Any, reward: ModelReward) -> None:
    labels = _labels(model)
    if reward.label_index >= labels:
        raise ValueError(
            f"labelIndex {reward.label_index} is out of range: the model has {labels} labels"
        )
    if reward.activation == "Softmax" and labels == 1:
        raise ValueError(
            "Softmax of its only label is 1, whatever the response; use Sigmoid or None"
        )
    check_tokenizer(tokenizer)
    if reward.template == "Chat" and not tokenizer.chat_template:
        raise ValueError(
            "it has no chat template; use template Pair, Response or Format, or add one to its "
            "tokenizer"
        )


def _labels(model: Any) -> int:
    if isinstance(model, ScoreHeadModel):
        return model.score_head.out_features
    return int(model.config.num_labels)


def _longest_input(model: Any, tokenizer: Any, reward: ModelReward) -> int:
    positions = getattr(model.config, "max_position_embeddings", None)
    limits = [reward.max_length, int(tokenizer.model_max_length), positions]
    return min(limit for limit in limits if limit is not None)


def _unused(ids: torch.Tensor) -> int:
    """Return the smallest token that is nowhere in a batch: attention never sees it."""
    present = set(ids.unique().tolist())
    return next(token for token in range(len(present) + 1) if token not in present)
