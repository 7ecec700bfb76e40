"""Sampling until the means are exact enough: how many samples that takes, and when none do."""

import zlib

import numpy as np
import pytest
from numpy.typing import NDArray

from jobs import REWARDS, evaluation_request
from palm.evaluations import ErrorUnits, EvaluationSettings, Precision
from palm_evaluator.evaluation import evaluated
from palm_evaluator.generation import Sampled, Sampling
from palm_evaluator.precision import error_units, samples_wanted
from palm_rewards import Responses, RewardScorer
from palm_store.prompts import Prompt


def drawn(
    samples: int, *, between: float, within: float, prompts: int = 400
) -> NDArray[np.float64]:
    rng = np.random.default_rng(0)
    means = between * rng.standard_normal((prompts, 1))
    return (means + within * rng.standard_normal((prompts, samples)))[None]


def wanted(standard_error: float, most: int = 1024) -> Precision:
    return Precision(standard_error=standard_error, max_samples_per_prompt=most)


def test_an_error_that_is_small_enough_ends_it() -> None:
    values = drawn(4, between=0.1, within=0.1)
    samples, reached = samples_wanted(values, [1.0], wanted(0.05))
    assert (samples, reached.obstacle) == (4, "None")
    assert reached.standard_error < 0.05


def test_samples_are_added_until_it_is_and_never_more_than_doubled() -> None:
    # Variance of the mean: (0.1² + 1²/m) / 400; 0.01 is reached at m = 1 / (0.04 - 0.01) = 34.
    samples, history = 4, []
    while True:
        values = drawn(samples, between=0.1, within=1.0)
        more, reached = samples_wanted(values, [1.0], wanted(0.01))
        if more == samples:
            break
        assert samples < more <= 2 * samples
        history.append(more)
        samples = more
    assert reached.obstacle == "None"
    assert reached.standard_error <= 0.01
    assert 25 <= samples <= 50


def test_what_only_more_prompts_would_reach_is_not_sampled_for() -> None:
    values = drawn(4, between=1.0, within=0.1)
    samples, reached = samples_wanted(values, [1.0], wanted(0.01))
    assert (samples, reached.obstacle) == (4, "Prompts")
    assert reached.standard_error == pytest.approx(0.05, rel=0.1)


def test_the_cap_ends_it() -> None:
    values = drawn(8, between=0.1, within=5.0)
    samples, reached = samples_wanted(values, [1.0], wanted(0.02, most=8))
    assert (samples, reached.obstacle) == (8, "Samples")


def test_one_sample_tells_nothing_about_samples() -> None:
    values = drawn(1, between=0.1, within=5.0)
    assert samples_wanted(values, [1.0], wanted(0.02))[0] == 2


def test_what_has_no_unit_does_not_count() -> None:
    values = np.concatenate([drawn(4, between=0.1, within=0.1), drawn(4, between=9, within=9)])
    assert samples_wanted(values, [1.0, None], wanted(0.05))[1].obstacle == "None"
    assert samples_wanted(values, [1.0, 1e4], wanted(0.05))[1].obstacle == "None"
    assert samples_wanted(values, [1.0, 1.0], wanted(0.05))[1].obstacle == "Prompts"


def test_units_are_the_requests_or_the_spread_of_the_responses() -> None:
    values = drawn(4, between=0.0, within=3.0)
    assert error_units(values, ErrorUnits(rewards=(2.0,), divergence=100.0)) == [2.0, 100.0]
    spread, none = error_units(values, ErrorUnits())
    assert spread == pytest.approx(3.0, rel=0.1)
    assert none is None
    assert error_units(np.ones((1, 3, 2)), ErrorUnits()) == [None, None]


class Counting:
    """Responses that say which sample of which prompt they are."""

    engine = "Transformers"
    estimator = "exact"

    def __init__(self) -> None:
        self.rounds: list[tuple[int, int]] = []

    def sampled(self, prompts: list[str], sampling: Sampling) -> list[list[Sampled]]:
        self.rounds.append((sampling.first, sampling.samples_per_prompt))
        return [
            [
                Sampled(f"{p}.{sampling.first + s}", 1, 0.0)
                for s in range(sampling.samples_per_prompt)
            ]
            for p in range(len(prompts))
        ]


def test_rounds_go_on_where_the_last_one_ended_and_are_put_together() -> None:
    def noise(responses: Responses) -> list[float]:
        seeds = [zlib.crc32(text.encode()) for text in responses.texts]
        return [np.random.default_rng(seed).standard_normal() for seed in seeds]

    request = evaluation_request(
        rewards=REWARDS[:1],
        settings=EvaluationSettings(
            samples_per_prompt=2, max_completion_tokens=4, seed=0, precision=wanted(0.05, most=20)
        ),
        units=ErrorUnits(rewards=(1.0,)),
    )
    generator = Counting()
    found = evaluated(
        request,
        generator,
        [RewardScorer("noise", noise)],
        [Prompt("p", None)] * 50,
    )
    samples = found.rewards.shape[2]
    assert [item.text for item in found.sampled[7]] == [f"7.{s}" for s in range(samples)]
    assert generator.rounds[0] == (0, 2)
    for (first, count), (following, _) in zip(generator.rounds, generator.rounds[1:], strict=False):
        assert following == first + count
    assert found.precision is not None
    assert found.precision.standard_error <= 0.05 or samples == 20


def test_one_prompt_does_not_say_how_much_prompts_differ() -> None:
    samples, reached = samples_wanted(
        drawn(4, between=1.0, within=1.0, prompts=1), [1.0], wanted(0.05)
    )
    assert (samples, reached.obstacle) == (4, "Prompts")
