"""Rewards given by a Hugging Face sequence-classification model. Higher is better."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from palm.contract import ModelReward
from palm_rewards.responses import Responses
from palm_rewards.verifiable import prompt_text

_BATCH = 16


class RewardModel:
    """A reward model and how its inputs and outputs are to be read."""

    def __init__(self, model: Any, tokenizer: Any, reward: ModelReward) -> None:
        if reward.label_index >= model.config.num_labels:
            raise ValueError(
                f"labelIndex {reward.label_index} of reward model {reward.uri} is out of range: "
                f"the model has {model.config.num_labels} labels"
            )
        if reward.template == "Chat" and not tokenizer.chat_template:
            raise ValueError(
                f"reward model {reward.uri} has no chat template; "
                "use template Pair or Response, or add one to its tokenizer"
            )
        self._model = model
        self._tokenizer = tokenizer
        self._reward = reward

    @classmethod
    def load(cls, folder: Path, reward: ModelReward) -> "RewardModel":
        """Return the reward model of a folder, on the GPU where there is one.

        Safetensors only and without remote code: nothing of the model's author is run.
        """
        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, truncation_side="left", padding_side="right"
        )
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        # Causal reward models read the last token that is not padding.
        model.config.pad_token_id = tokenizer.pad_token_id
        return cls(model.to(device).eval(), tokenizer, reward)

    def scores(self, responses: Responses) -> list[float]:
        """Return one reward per response, in order."""
        scores: list[float] = []
        for start in range(0, len(responses.texts), _BATCH):
            part = slice(start, start + _BATCH)
            scores += self._scored(list(responses.prompts[part]), list(responses.texts[part]))
        return scores

    @torch.inference_mode()
    def _scored(self, prompts: list[Any], texts: list[str]) -> list[float]:
        inputs = self._inputs(prompts, texts).to(self._model.device)
        logits = self._model(**inputs).logits.float()
        if self._reward.activation == "Sigmoid":
            logits = logits.sigmoid()
        elif self._reward.activation == "Softmax":
            logits = logits.softmax(dim=-1)
        chosen = logits[:, self._reward.label_index]
        scored: list[float] = (chosen if self._reward.sign == "Positive" else -chosen).tolist()
        return scored

    def _inputs(self, prompts: list[Any], texts: list[str]) -> Any:
        settings = {
            "padding": True,
            "truncation": True,
            "max_length": self._reward.max_length,
            "return_tensors": "pt",
        }
        if self._reward.template == "Pair":
            return self._tokenizer([prompt_text(prompt) for prompt in prompts], texts, **settings)
        if self._reward.template == "Response":
            return self._tokenizer(texts, **settings)
        chats = [
            self._tokenizer.apply_chat_template(
                [*_messages(prompt), {"role": "assistant", "content": text}], tokenize=False
            )
            for prompt, text in zip(prompts, texts, strict=True)
        ]
        # The template has written the special tokens already.
        return self._tokenizer(chats, add_special_tokens=False, **settings)


def _messages(prompt: Any) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
