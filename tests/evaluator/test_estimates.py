import numpy as np
import pytest

from jobs import evaluation_request
from palm.contract import PolicyResult
from palm_evaluator.estimates import policy_result, reward_estimate, standard_error
from palm_evaluator.generation import Sampled


class FixedGenerator:
    engine = "Transformers"
    estimator = "exact"

    def sampled(self, prompts: object, sampling: object) -> list[list[Sampled]]:
        return [
            [Sampled("Answer: 7", 10, 1.0), Sampled("Answer: 8", 20, 3.0)],
            [Sampled("Answer: 1", 30, 5.0), Sampled("Answer: 2", 40, 7.0)],
        ]


def test_a_standard_error_is_that_of_the_mean_over_prompts() -> None:
    rewards = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    estimate = reward_estimate("brevity", rewards)
    assert estimate.mean == pytest.approx(0.5)
    assert estimate.standard_error == pytest.approx(0.5 / np.sqrt(3))
    assert estimate.standard_deviation == pytest.approx(np.std(rewards, ddof=1))


def test_a_single_prompt_has_no_standard_error() -> None:
    assert standard_error(np.array([1.0])) == 0.0
    assert reward_estimate("brevity", np.array([[1.0]])).standard_deviation == 0.0


def test_the_result_answers_its_request_and_survives_the_way_through_json() -> None:
    request = evaluation_request()
    generator = FixedGenerator()
    rewards = np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 0.0], [1.0, 0.0]]])
    result = policy_result(
        request,
        generator,  # type: ignore[arg-type]
        sampled=generator.sampled(None, None),
        rewards=rewards,
        seconds=1.5,
    )
    assert result.prompt_rewards == ((0.5, 0.0), (0.5, 0.5))
    assert [item.mean for item in result.rewards] == [0.5, 0.25]
    assert (result.prompts, result.samples, result.mean_response_tokens) == (2, 4, 25.0)
    assert result.divergence.mean == 4.0
    assert result.divergence.standard_error == pytest.approx(2.0)
    assert PolicyResult.model_validate_json(result.model_dump_json(by_alias=True)) == result
