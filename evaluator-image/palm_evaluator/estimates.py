"""From sampled, scored responses to the result: means and standard errors. Pure.

Prompts are the independent unit: a prompt's samples are averaged first, and standard errors are
those of the mean over prompts.
"""

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from palm.contract import DivergenceEstimate, EvaluationRequest, PolicyResult, RewardEstimate
from palm_evaluator.generation import Generator, Sampled


def standard_error(prompt_means: NDArray[np.float64]) -> float:
    """Return the standard error of a mean over prompts; 0 for a single prompt."""
    if len(prompt_means) < 2:
        return 0.0
    return float(prompt_means.std(ddof=1) / sqrt(len(prompt_means)))


def reward_estimate(name: str, rewards: NDArray[np.float64]) -> RewardEstimate:
    """Return the estimate of one reward.

    Args:
        name: The objective.
        rewards: Raw rewards, shape (prompts, samples); higher is better.
    """
    prompt_means = rewards.mean(axis=1)
    return RewardEstimate(
        name=name,
        mean=float(prompt_means.mean()),
        standard_error=standard_error(prompt_means),
        standard_deviation=float(rewards.std(ddof=1)) if rewards.size > 1 else 0.0,
    )


def policy_result(
    request: EvaluationRequest,
    generator: Generator,
    *,
    sampled: Sequence[Sequence[Sampled]],
    rewards: NDArray[np.float64],
    seconds: float,
) -> PolicyResult:
    """Return the result of an evaluation.

    Args:
        request: The evaluation.
        generator: What sampled; names the engine and the estimator of the divergence.
        sampled: The responses by prompt and sample.
        rewards: Raw rewards, shape (d, prompts, samples), objectives in the request's order.
        seconds: Wall time of the evaluation.
    """
    divergence = np.array([[item.divergence for item in row] for row in sampled]).mean(axis=1)
    lengths = [item.tokens for row in sampled for item in row]
    return PolicyResult(
        policy=request.policy,
        policy_digest=request.policy_digest,
        evaluation_digest=request.evaluation_digest,
        engine=generator.engine,
        prompts=len(sampled),
        samples=len(lengths),
        rewards=tuple(
            reward_estimate(item.name, values)
            for item, values in zip(request.rewards, rewards, strict=True)
        ),
        divergence=DivergenceEstimate(
            estimator=generator.estimator,
            mean=float(divergence.mean()),
            standard_error=standard_error(divergence),
        ),
        prompt_rewards=tuple(map(tuple, rewards.mean(axis=2).T.tolist())),
        mean_response_tokens=float(np.mean(lengths)),
        seconds=seconds,
    )
