import time
from math import inf, nan
from pathlib import Path

import pytest

from palm.contract import ModelReward, RewardFunction, VerifiableReward
from palm.errors import InvalidResult
from palm_rewards import Responses, RewardScorer, needs_answer, reward_functions

BREVITY = RewardFunction(
    name="brevity", verifiable=VerifiableReward(type="BrevityIfCorrect", max_tokens=20)
)
STEPS = RewardFunction(name="helpfulness", verifiable=VerifiableReward(type="ArithmeticSteps"))
RESPONSES = Responses(
    prompts=["What is 3 + 4?", "What is 1 + 1?"],
    texts=["Take 3. Answer: 7", "Answer: 3"],
    token_counts=[10, 5],
    answers=["7", "2"],
)


def no_model(reward: ModelReward) -> Path:
    raise AssertionError(f"asked for {reward.uri}")


def test_scorers_keep_the_order_and_the_names_of_the_objectives() -> None:
    scorers = reward_functions([BREVITY, STEPS], model_folder=no_model)
    assert [scorer.name for scorer in scorers] == ["brevity", "helpfulness"]
    assert [scorer(RESPONSES) for scorer in scorers] == [[0.5, 0.0], [0.5, 0.0]]


def test_brevity_without_a_reference_answer_is_refused() -> None:
    (scorer,) = reward_functions([BREVITY], model_folder=no_model)
    with pytest.raises(ValueError, match="reward 'brevity' needs an \"answer\" in every line"):
        scorer(Responses(prompts=["p"], texts=["t"], token_counts=[1], answers=[None]))


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_a_reward_that_is_not_finite_is_named(value: float) -> None:
    scorer = RewardScorer("humor", lambda _: [0.0, value])
    with pytest.raises(InvalidResult, match=r"reward 'humor' of response 1 is .*must be finite"):
        scorer(RESPONSES)


def test_a_reward_of_another_length_is_named() -> None:
    with pytest.raises(InvalidResult, match="reward 'humor' returned 1 values for 2 responses"):
        RewardScorer("humor", lambda _: [0.0])(RESPONSES)


def lengths(asked: list[str], *, seconds: float = 600.0, remembered: int = 0) -> RewardScorer:
    def scores(responses: Responses) -> list[float]:
        asked.extend(responses.texts)
        return [float(len(text)) for text in responses.texts]

    return RewardScorer("length", scores, seconds, remembered)


def batch(texts: list[str], prompts: list[str] | None = None) -> Responses:
    count = len(texts)
    return Responses(
        prompts=prompts or ["p"] * count,
        texts=texts,
        token_counts=[1] * count,
        answers=[None] * count,
    )


def test_equal_pairs_are_scored_once_and_all_get_their_reward() -> None:
    asked: list[str] = []
    assert lengths(asked)(batch(["a", "bb", "a", "a", "bb"])) == [1.0, 2.0, 1.0, 1.0, 2.0]
    assert asked == ["a", "bb"]


def test_equal_responses_to_other_prompts_are_other_pairs() -> None:
    asked: list[str] = []
    lengths(asked)(batch(["a", "a"], ["p", "q"]))
    assert asked == ["a", "a"]


def test_from_batch_to_batch_only_what_should_be_is_remembered() -> None:
    asked: list[str] = []
    for remembered, expected in ((0, ["a", "a"]), (8, ["a"])):
        asked.clear()
        scorer = lengths(asked, remembered=remembered)
        assert scorer(batch(["a"])) == scorer(batch(["a"])) == [1.0]
        assert asked == expected


def test_the_oldest_rewards_are_forgotten_first() -> None:
    asked: list[str] = []
    scorer = lengths(asked, remembered=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        scorer(batch([text]))
    assert asked == ["a", "b", "c", "b"]


def test_a_large_batch_is_scored_in_parts() -> None:
    sizes: list[int] = []

    def scores(responses: Responses) -> list[float]:
        sizes.append(len(responses.texts))
        return [0.0] * len(responses.texts)

    RewardScorer("many", scores)(batch([str(i) for i in range(600)]))
    assert sizes == [256, 256, 88]


def test_a_reward_that_takes_too_long_is_named() -> None:
    scorer = RewardScorer("slow", lambda r: [time.sleep(0.05) or 0.0] * len(r.texts), 0.01)
    with pytest.raises(InvalidResult, match=r"reward 'slow' took .* s for 2 responses; at most"):
        scorer(RESPONSES)


def test_what_compares_with_an_answer_needs_one() -> None:
    assert [needs_answer(item) for item in (BREVITY, STEPS)] == [True, False]
    kinds = {"Correct": True, "ExactMatch": True, "Length": False, "ValidJSON": False}
    for kind, needs in kinds.items():
        wish = RewardFunction.model_validate({"name": "wish", "verifiable": {"type": kind}})
        assert needs_answer(wish) is needs
