"""Rewards of the user's own, in processes of their own."""

from pathlib import Path

import pytest

from palm.contract import EntrypointReward, RewardFunction
from palm.errors import InvalidResult
from palm_rewards import Responses, RewardScorer, reward_functions

RESPONSES = Responses(
    prompts=["What?", [{"role": "user", "content": "Who?"}]],
    texts=["one two", "three"],
    token_counts=[10, 20],
    answers=["abc", None],
)


@pytest.fixture(autouse=True)
def on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def scorer(function: str, *, version: str = "3", seconds: int = 60) -> RewardScorer:
    wish = RewardFunction(
        name="wish",
        entrypoint=EntrypointReward(function=f"judges:{function}", version=version),
        timeout_seconds=seconds,
    )
    (made,) = reward_functions([wish], model_folder=lambda _: Path())
    return made


def test_a_function_scores_batch_after_batch_and_may_print(
    capfd: pytest.CaptureFixture[str],
) -> None:
    words = scorer("words")
    assert words(RESPONSES) == [2.0, 1.0]
    assert words(RESPONSES) == [2.0, 1.0]
    assert "counting 2" in capfd.readouterr().err


def test_a_function_sees_prompts_texts_lengths_and_answers() -> None:
    assert scorer("reads_everything")(RESPONSES) == [1 + 7 + 10 + 3, 0 + 5 + 20 + 0]


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ("raises", "reward 'wish': judges:raises raised KeyError: 'no such lexicon'"),
        ("dies", "reward 'wish': the process of judges:dies ended with code 7"),
        ("forgets_one", "reward 'wish' returned 1 values for 2 responses"),
        ("divides_by_zero", "reward 'wish' of response 0 is nan; must be finite"),
    ],
)
def test_a_function_that_fails_is_named(function: str, sentence: str) -> None:
    with pytest.raises(InvalidResult, match=sentence):
        scorer(function)(RESPONSES)


def test_a_function_that_hangs_is_ended_and_named() -> None:
    hanging = scorer("hangs", seconds=1)
    sentence = "reward 'wish' took longer than 1 s: judges:hangs was ended"
    with pytest.raises(InvalidResult, match=sentence):
        hanging(RESPONSES)
    with pytest.raises(InvalidResult, match="ended with code -9"):
        hanging(RESPONSES)


@pytest.mark.parametrize(
    ("function", "version", "sentence"),
    [
        ("words", "4", "judges:words in this image is of version '3'; version '4' is wanted"),
        ("unmarked", "3", "judges:unmarked is not marked as a reward"),
        ("missing", "3", "judges:missing cannot be imported: AttributeError"),
        ("number", "3", "judges:number is no function"),
        ("wants_two", "3", "must take one argument, the Responses; it takes 2"),
    ],
)
def test_a_function_that_is_not_what_is_wanted_is_refused_before_anything_is_scored(
    function: str, version: str, sentence: str
) -> None:
    with pytest.raises(ValueError, match=f"reward 'wish': .*{sentence}"):
        scorer(function, version=version)


@pytest.mark.parametrize("name", ["judges", "judges:", "a b:c", "judges:f()", "../x:f", "os;x:f"])
def test_a_function_is_named_by_module_and_name(name: str) -> None:
    with pytest.raises(ValueError, match="String should match pattern"):
        EntrypointReward(function=name, version="1")
