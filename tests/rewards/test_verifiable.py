import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.contract import VerifiableReward
from palm_rewards import Responses
from palm_rewards.answers import extracted_answer, is_correct, normalised
from palm_rewards.verifiable import (
    arithmetic_steps,
    brevity_if_correct,
    is_json,
    verifiable_scores,
)

ALL_STEPS = "Take 3. Add 4 more. Count up to 7. Check: 7 - 4 = 3. Answer: 7"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Answer: 7", "7"),
        ("answer : 7", "7"),
        ("**Answer:** 7", "7"),
        ("**Answer**: 7", "7"),
        ("The answer is 7.", "7."),
        ("so \\boxed{7}", "7"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        ("3 + 4 = 7\n#### 7", "7"),
        ("Answer: 6. No, wait. Answer: 7", "6. No, wait. Answer: 7"),
        ("Answer: 6\nAnswer: 7", "7"),
        ("Answer: 6\n#### 7", "7"),
        ("#### 6\n\\boxed{7}", "7"),
        (r"Answer: $\boxed{7}$", "7"),
    ],
)
def test_the_last_named_answer_is_extracted(text: str, answer: str) -> None:
    assert extracted_answer(text) == answer


@pytest.mark.parametrize(
    "text", ["", "7", "The sum is 7", "Answer:", "Answer 7", r"\boxed{7", "####"]
)
def test_a_response_that_names_no_answer_has_none(text: str) -> None:
    assert extracted_answer(text) is None
    assert not is_correct(text, "7")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("7", "7.0"),
        ("7", " 7. "),
        ("7", "+7"),
        ("07", "7"),
        ("1,234", "1234"),
        ("$1,234.50", "1234.5"),
        ("7 apples", "7"),
        ("50%", "50"),
        ("-0", "0"),
        ("Paris", "paris"),
        ("New  York", "new york"),
        ("**7**", "7"),
        ("100", "1e2".replace("1e2", "100.00")),
    ],
)
def test_equal_answers_have_one_normal_form(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("7", "-7"), ("7", "70"), ("1,23", "123"), ("7", "seven"), ("7 + 3", "7"), ("0.7", "7")],
)
def test_different_answers_have_different_normal_forms(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


@given(st.text())
def test_no_response_breaks_the_extraction(text: str) -> None:
    is_correct(text, "7")


@pytest.mark.parametrize(
    ("text", "tokens", "expected"),
    [
        ("Answer: 7", 0, 1.0),
        ("Answer: 7", 12, 0.75),
        ("Answer: 7", 48, 0.0),
        ("Answer: 7", 60, 0.0),
        ("Answer: 8", 12, 0.0),
        ("", 12, 0.0),
    ],
)
def test_brevity_is_equation_3_and_never_negative(text: str, tokens: int, expected: float) -> None:
    assert brevity_if_correct(text, tokens=tokens, reference="7", max_tokens=48) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Answer: 7", 0.0),
        ("Take 3. Answer: 7", 0.5),
        ("Take 3. Add 4 more. Answer: 7", pytest.approx(0.7071, abs=1e-4)),
        (ALL_STEPS, 1.0),
        (ALL_STEPS + "\n", 1.0),
        ("Take 4. Answer: 7", 0.0),
        ("Take 3. Take 3. Take 3. Answer: 7", 0.5),
        ("Take 3. Add 4 more.", 0.0),
        (ALL_STEPS + " Take 3.", 0.0),
        ("Take 3. Answer: seven", 0.0),
    ],
)
def test_helpfulness_counts_valid_steps_of_responses_that_end_in_an_answer(
    text: str, expected: float
) -> None:
    assert arithmetic_steps("What is 3 + 4?", text) == expected


def test_helpfulness_reads_the_last_message_of_a_chat() -> None:
    chat = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "What is 3 + 4?"},
    ]
    assert arithmetic_steps(chat, ALL_STEPS) == 1.0


def test_helpfulness_of_another_task_is_refused() -> None:
    with pytest.raises(ValueError, match="needs prompts like"):
        arithmetic_steps("What is the capital of France?", "Answer: 7")


def scores(
    texts: list[str], answers: list[str | None] | None = None, **reward: object
) -> list[float]:
    found = verifiable_scores("wish", VerifiableReward.model_validate(reward))
    count = len(texts)
    return found(
        Responses(
            prompts=["What?"] * count,
            texts=texts,
            token_counts=[len(text.split()) for text in texts],
            answers=answers or [None] * count,
        )
    )


def test_correct_reads_the_last_answer_and_not_the_length() -> None:
    texts = ["Answer: 7", "word " * 300 + "Answer: 7", "Answer: 7. Answer: 8", "7"]
    assert scores(texts, ["7"] * 4, type="Correct") == [1.0, 1.0, 0.0, 0.0]


def test_an_exact_match_is_the_whole_response() -> None:
    texts = ["Paris", " Paris\n", "paris", "It is Paris"]
    assert scores(texts, ["Paris"] * 4, type="ExactMatch") == [1.0, 1.0, 0.0, 0.0]


def test_length_is_better_the_shorter_whatever_it_says() -> None:
    texts = ["", "one", "one two", "one two three four five"]
    assert scores(texts, type="Length", maxTokens=4) == [1.0, 0.75, 0.5, 0.0]


def test_a_pattern_is_searched_for_unless_it_is_anchored() -> None:
    texts = ["step 1: done", "no steps", "STEP 2:"]
    assert scores(texts, type="Regex", pattern=r"step \d+:") == [1.0, 0.0, 0.0]
    assert scores(texts, type="Regex", pattern=r"(?i)^step \d+:$") == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(a|aa)+$", r"(.*a){20}$", r"(x+x+)+y"])
def test_no_pattern_makes_a_response_take_long(pattern: str) -> None:
    began = time.monotonic()
    assert scores(["a" * 50_000 + "!", "x" * 50_000], type="Regex", pattern=pattern) == [0.0, 0.0]
    assert time.monotonic() - began < 20  # backtracking would take longer than the sun will burn


@pytest.mark.parametrize("pattern", ["(", r"(?P<n>a)\1", "(?=a)", "a{1001}"])
def test_a_pattern_that_is_not_re2s_is_refused_by_name(pattern: str) -> None:
    with pytest.raises(ValueError, match="of reward 'wish' is not RE2's"):
        scores([""], type="Regex", pattern=pattern)


@pytest.mark.parametrize(
    "reward",
    [{"type": "Regex"}, {"type": "Correct", "pattern": "a"}, {"type": "Regex", "pattern": ""}],
)
def test_a_pattern_belongs_to_regex_alone(reward: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="pattern"):
        VerifiableReward.model_validate(reward)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        ' {"a": [1, 2.5e3, null, true]}\n',
        '"text"',
        "1" * 6000,
        '```json\n{"a": 1}\n```',
        "```\n[]\n```",
        "```[]```",
    ],
)
def test_one_json_value_is_valid(text: str) -> None:
    assert is_json(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{'a': 1}",
        "NaN",
        "[Infinity]",
        "{} {}",
        'Here it is: {"a": 1}',
        "```json\n{}\n``` as you asked",
        "``````",
        "```",
        "[" * 200_000,
    ],
)
def test_anything_else_is_not(text: str) -> None:
    assert not is_json(text)


@pytest.mark.parametrize(
    "text",
    [
        "Answer: 7 " + "a" * 50_000 + "1",
        "Answer: " + "1" * 50_000 + "_",
        "\\boxed{" * 20_000,
        "\\boxed{" * 20_000 + "}" * 20_000,
        "answer " * 20_000,
        "Answer:" + "\n" * 50_000,
        "#### " * 20_000,
        "Answer: " + "1," * 50_000,
    ],
)
def test_no_response_makes_the_extraction_take_long(text: str) -> None:
    began = time.monotonic()
    is_correct(text, "7")
    assert time.monotonic() - began < 10


def test_long_numbers_are_compared_to_the_last_digit() -> None:
    number = "1" * 60
    assert is_correct(f"Answer: {number}", number)
    assert not is_correct(f"Answer: {number[:-1]}2", number)


def test_the_inner_of_two_boxes_is_the_last_that_begins() -> None:
    assert extracted_answer(r"\boxed{1 \boxed{2}}") == "2"
    assert extracted_answer(r"\boxed{1} and \boxed{2 + {3}} and \boxed{4") == "2 + {3}"
