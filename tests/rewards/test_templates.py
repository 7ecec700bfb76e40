import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.contract import ModelReward
from palm_rewards.templates import batches, cut, filled, first_of_pair, formatted, messages

BEAVER = "BEGINNING OF CONVERSATION: USER: {prompt} ASSISTANT:{response}"


def reward(**settings: object) -> ModelReward:
    return ModelReward.model_validate({"uri": "s3://models/reward", **settings})


def test_what_a_prompt_brings_is_no_placeholder() -> None:
    assert filled("{prompt}|{response}", prompt="{response}", response="{prompt}") == (
        "{response}|{prompt}"
    )


def test_other_braces_of_a_format_stay() -> None:
    assert filled('{"a": "{prompt}"} {x}', prompt="p") == '{"a": "p"} {x}'


def test_the_prompt_of_a_chat_is_its_last_message() -> None:
    chat = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hello"}]
    wanted = "BEGINNING OF CONVERSATION: USER: hello ASSISTANT:Hi!"
    for prompt in (chat, "hello"):
        assert formatted(reward(template="Format", format=BEAVER), prompt, "Hi!") == wanted


def test_a_chat_goes_on_with_the_response() -> None:
    answer = {"role": "assistant", "content": "Hi!"}
    assert messages("hello", "Hi!") == [{"role": "user", "content": "hello"}, answer]
    chat = [{"role": "system", "content": "x"}, {"role": "user", "content": "y"}]
    assert messages(chat, "Hi!") == [*chat, answer]


def test_the_first_of_a_pair_is_the_prompt_or_its_format() -> None:
    assert first_of_pair(reward(template="Pair"), "hello") == "hello"
    pair = reward(template="Pair", format="Human: {prompt}")
    assert first_of_pair(pair, "hello") == "Human: hello"


@pytest.mark.parametrize(
    "settings",
    [
        {"template": "Format"},
        {"template": "Format", "format": "{prompt}"},
        {"template": "Pair", "format": "{prompt}{response}"},
        {"template": "Pair", "format": "no placeholder"},
        {"template": "Chat", "format": "{prompt}{response}"},
        {"template": "Response", "format": "{prompt}"},
    ],
)
def test_a_format_must_fit_its_template(settings: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="format"):
        reward(**settings)


def test_a_response_is_cut_before_the_first_stop_string() -> None:
    assert cut("yes\n\nHuman: no###", ("###", "\n\nHuman:")) == "yes"
    assert cut("yes", ("###",)) == "yes"
    assert cut("###", ("###",)) == ""


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 200))
def test_every_input_is_in_one_batch_within_the_budget(lengths: list[int], budget: int) -> None:
    found = batches(lengths, budget=budget)
    assert sorted(i for batch in found for i in batch) == list(range(len(lengths)))
    for batch in found:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget
