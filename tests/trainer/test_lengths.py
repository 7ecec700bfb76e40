from typing import Any

import pytest

from palm_store.job import InvalidData
from palm_store.prompts import Prompt
from palm_trainer.lengths import longest_sequence


class Tokenizer:
    """One token per character, and one before a text; a chat is as long as its contents."""

    def __call__(self, texts: list[str], add_special_tokens: bool) -> dict[str, Any]:
        return {"input_ids": [list(text) + ["start"] * add_special_tokens for text in texts]}

    def apply_chat_template(self, chat: Any, **_: Any) -> str:
        return "".join(message["content"] for message in chat)


PROMPTS = [
    Prompt("short", None, "line 1"),
    Prompt("much too long", None, "line 2"),
    Prompt("not long", None, "line 3"),
]
CHAT = [Prompt([{"role": "user", "content": "much too long"}], None, "line 1")]


def test_the_longest_prompt_and_a_response_of_full_length_set_the_length() -> None:
    assert longest_sequence(PROMPTS, Tokenizer(), room=21, response=7) == 14 + 7


def test_the_line_of_a_prompt_that_is_too_long_is_named() -> None:
    with pytest.raises(InvalidData, match="line 2 has 14 tokens"):
        longest_sequence(PROMPTS, Tokenizer(), room=20, response=7)


def test_chats_are_measured_in_the_template_which_has_the_special_tokens() -> None:
    assert longest_sequence(CHAT, Tokenizer(), room=20, response=7) == 13 + 7
    with pytest.raises(InvalidData, match="line 1 has 13 tokens"):
        longest_sequence(CHAT, Tokenizer(), room=19, response=7)


def test_a_model_without_a_limit_takes_all() -> None:
    assert longest_sequence(PROMPTS, Tokenizer(), room=None, response=7) == 21
