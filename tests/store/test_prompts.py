import pytest

from palm_store.prompts import Prompt, parsed_prompts

CHAT = b'{"prompt": [{"role": "user", "content": "What is 1 + 1?"}], "answer": "2"}\n'


def test_chats_and_answers_are_read() -> None:
    chat = [{"role": "user", "content": "What is 1 + 1?"}]
    assert parsed_prompts(CHAT, None) == [Prompt(chat, "2")]


def test_texts_without_answers_are_read_and_other_fields_ignored() -> None:
    assert parsed_prompts(b'{"prompt": "Hi", "source": "web"}\n\n', None) == [Prompt("Hi", None)]


def test_a_limit_keeps_the_first_prompts() -> None:
    assert len(parsed_prompts(CHAT * 5, 3)) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no prompts"),
        (b"\n\n", "has no prompts"),
        (CHAT + b"{not json}", "prompt 2 of the prompts file"),
        (b'{"answer": "2"}', "prompt 1 of the prompts file: prompt: Field required"),
        (b'{"prompt": ""}', "prompt 1"),
        (b'{"prompt": []}', "prompt 1"),
        (CHAT + b'{"prompt": "text"}', "mixes texts and chat messages"),
    ],
)
def test_a_bad_file_is_refused_with_the_line(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parsed_prompts(content, None)
