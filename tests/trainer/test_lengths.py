from typing import Any

from palm_store.prompts import Prompt
from palm_trainer.lengths import too_long


class Tokenizer:
    """One token per character; a chat is as long as its contents."""

    def __call__(self, texts: list[str], add_special_tokens: bool) -> dict[str, Any]:
        return {"input_ids": [list(text) for text in texts]}

    def apply_chat_template(self, chat: Any, **_: Any) -> str:
        return "".join(message["content"] for message in chat)


PROMPTS = [Prompt("short", None, "line 1"), Prompt("much too long", None, "line 2")]


def test_prompts_that_leave_room_are_fine() -> None:
    assert too_long(PROMPTS, Tokenizer(), room=20, response=7) == ""


def test_the_line_of_a_prompt_that_is_too_long_is_named() -> None:
    said = too_long(PROMPTS, Tokenizer(), room=19, response=7)
    assert said.startswith("line 2 has 13 tokens")


def test_chats_are_measured_in_the_template() -> None:
    chat = [Prompt([{"role": "user", "content": "much too long"}], None, "line 1")]
    assert too_long(chat, Tokenizer(), room=19, response=7)


def test_a_model_without_a_limit_takes_all() -> None:
    assert too_long(PROMPTS, Tokenizer(), room=None, response=7) == ""
