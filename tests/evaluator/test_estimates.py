import numpy as np
import pytest

from jobs import evaluation_request
from palm.contract import PolicyResult, RewardFunction, VerifiableReward
from palm.evaluations import MAX_RESULT_BYTES, MAX_RESULT_PROMPTS, result_bytes
from palm_evaluator.estimates import policy_result, reward_estimate, standard_error
from palm_evaluator.evaluation import Evaluated
from palm_evaluator.generation import Sampled
from palm_evaluator.inputs import check_prompts
from palm_store.job import InvalidRequest
from palm_store.prompts import Prompt


class FixedGenerator:
    engine = "Transformers"
    estimator = "exact"

    def sampled(self, prompts: object, sampling: object) -> list[list[Sampled]]:
        return [
            [Sampled("Answer: 7", 10, 1.0), Sampled("Answer: 8", 20, 3.0, k3=1.0)],
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


def found() -> Evaluated:
    rewards = np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 0.0], [1.0, 0.0]]])
    return Evaluated(FixedGenerator().sampled(None, None), rewards)


def test_the_result_answers_its_request_and_survives_the_way_through_json() -> None:
    result = policy_result(
        evaluation_request(),
        FixedGenerator(),
        found(),
        seconds=1.5,
    )
    assert result.prompt_rewards == ((0.5, 0.0), (0.5, 0.5))
    assert [item.mean for item in result.rewards] == [0.5, 0.25]
    assert (result.prompts, result.samples, result.mean_response_tokens) == (2, 4, 25.0)
    assert result.divergence.mean == 4.0
    assert result.divergence.standard_error == pytest.approx(2.0)
    assert result.divergence.k3 == pytest.approx(0.25)
    assert result.prompt_divergences == (2.0, 6.0)
    assert PolicyResult.model_validate_json(result.model_dump_json(by_alias=True)) == result


def test_greedy_decoding_estimates_no_divergence() -> None:
    request = evaluation_request()
    greedy = request.settings.model_copy(update={"decoding": "Greedy"})
    result = policy_result(
        request.model_copy(update={"settings": greedy}),
        FixedGenerator(),
        found(),
        seconds=1.5,
    )
    assert (result.decoding, result.divergence.estimator) == ("Greedy", "none")
    assert result.divergence.k3 is None


@pytest.mark.parametrize("rewards", [1, 8])
def test_a_result_file_is_no_larger_than_was_said_before_sampling(rewards: int) -> None:
    prompts = 500
    rng = np.random.default_rng(0)
    values = -np.abs(rng.standard_normal((rewards, prompts, 1))) * 1e-7 / 3
    request = evaluation_request(
        rewards=tuple(
            RewardFunction(name=f"r{i}", verifiable=VerifiableReward(type="Length"))
            for i in range(rewards)
        )
    )
    sampled = [[Sampled("x", 1, -1e-7 / 3)] for _ in range(prompts)]
    result = policy_result(
        request,
        FixedGenerator(),
        Evaluated(sampled, values),
        seconds=1.0,
    )
    size = len(result.model_dump_json(by_alias=True).encode())
    assert size <= result_bytes(prompts=prompts, rewards=rewards)


def test_more_prompts_than_a_result_file_holds_are_refused() -> None:
    assert result_bytes(prompts=MAX_RESULT_PROMPTS, rewards=8) <= MAX_RESULT_BYTES
    many = [Prompt("What is 1 + 1?", "2")] * (MAX_RESULT_PROMPTS + 1)
    with pytest.raises(InvalidRequest, match=r"set prompts\.evaluation\.limit"):
        check_prompts(evaluation_request(), many)
