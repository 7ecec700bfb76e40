"""How long prompts are, and whether they leave room for a response: before a model is loaded."""

from collections.abc import Sequence
from typing import Any

from palm_rewards.base_model import chat_text
from palm_store.job import InvalidData
from palm_store.prompts import Prompt

_BATCH = 1024


def longest_sequence(
    prompts: Sequence[Prompt], tokenizer: Any, *, room: int | None, response: int
) -> int:
    """Return the most tokens that a prompt and its response can have.

    Args:
        prompts: What is trained on, all texts or all chats.
        tokenizer: The policy's.
        room: Positions of the model; None where its configuration does not say.
        response: The longest response in tokens.

    Raises:
        InvalidData: A prompt leaves no room for a response, or the chat template refuses it.
    """
    longest = 0
    for start in range(0, len(prompts), _BATCH):
        part = prompts[start : start + _BATCH]
        texts = [_text(tokenizer, item) for item in part]
        # A chat template has written the special tokens already.
        is_text = isinstance(part[0].prompt, str)
        rows = tokenizer(texts, add_special_tokens=is_text)["input_ids"]
        for item, count in zip(part, map(len, rows), strict=True):
            if room is not None and count + response > room:
                raise InvalidData(
                    f"{item.place} has {count} tokens; with responses of up to {response} "
                    f"(maxCompletionTokens) the model's {room} positions do not suffice"
                )
            longest = max(longest, count + response)
    return longest


def _text(tokenizer: Any, item: Prompt) -> str:
    return item.prompt if isinstance(item.prompt, str) else chat_text(tokenizer, item)
