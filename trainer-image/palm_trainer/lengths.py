"""Whether prompts leave the model room for a response, before a model is loaded."""

from collections.abc import Sequence
from typing import Any

from palm_rewards.base_model import chat_text
from palm_store.prompts import Prompt

_BATCH = 1024


def too_long(prompts: Sequence[Prompt], tokenizer: Any, *, room: int | None, response: int) -> str:
    """Return which prompt is too long and why; nothing where all fit.

    Args:
        prompts: What is trained on.
        tokenizer: The policy's.
        room: Positions of the model; None where its configuration does not say.
        response: The longest response in tokens.

    Raises:
        InvalidData: A chat cannot be written by the model's chat template.
    """
    for start in range(0, len(prompts), _BATCH):
        part = prompts[start : start + _BATCH]
        texts = [_text(tokenizer, item) for item in part]
        counts = [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
        for item, count in zip(part, counts, strict=True):
            if room is not None and count + response > room:
                return (
                    f"{item.place} has {count} tokens; with responses of up to {response} "
                    f"(maxCompletionTokens) the model's {room} positions do not suffice"
                )
    return ""


def _text(tokenizer: Any, item: Prompt) -> str:
    return item.prompt if isinstance(item.prompt, str) else chat_text(tokenizer, item)
