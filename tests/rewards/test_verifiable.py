import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm_rewards.verifiable import (
    arithmetic_steps,
    brevity_if_correct,
    extracted_answer,
    is_correct,
    normalised,
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
