"""Whether prompts leave the model room for a response, before a model is loaded."""

from collections.abc import Sequence
from typing import Any

from palm_store.prompts import Prompt

_BATCH = 1024


def too_long(prompts: Sequence[Prompt], tokenizer: Any, *, room: int | None, response: int) -> str:
    """Return which prompt is too long and why; nothing where all fit.

    Args:
        prompts: What is trained on.
        tokenizer: The policy's.
        room: Positions of the model; None where its configuration does not say.
        response: The longest response in tokens.
    """
    if room is None:
        return ""
    for start in range(0, len(prompts), _BATCH):
        part = prompts[start : start + _BATCH]
        texts = [_text(tokenizer, item.prompt) for item in part]
        counts = [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
        for item, count in zip(part, counts, strict=True):
            if count + response > room:
                return (
                    f"{item.place} has {count} tokens; with responses of up to {response} "
                    f"(maxCompletionTokens) the model's {room} positions do not suffice"
                )
    return ""


def _text(tokenizer: Any, prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    text: str = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    return text
