from math import inf, nan
from pathlib import Path

import pytest

from palm.contract import ModelReward, RewardFunction, VerifiableReward
from palm.errors import InvalidResult
from palm_rewards import Responses, RewardScorer, reward_functions

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
