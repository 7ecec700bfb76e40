"""From sampled, scored responses to the result: means and standard errors. Pure.

Prompts are the independent unit: a prompt's samples are averaged first, and standard errors are
those of the mean over prompts.
"""

from math import isfinite, sqrt

import numpy as np
from numpy.typing import NDArray

from palm.contract import DivergenceEstimate, EvaluationRequest, PolicyResult, RewardEstimate
from palm.evaluations import Provenance
from palm_evaluator.evaluation import Evaluated
from palm_evaluator.generation import Generator


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
    found: Evaluated,
    *,
    seconds: float,
    provenance: Provenance | None = None,
) -> PolicyResult:
    """Return the result of an evaluation.

    Args:
        request: The evaluation.
        generator: What sampled; names the engine and the estimator of the divergence.
        found: The responses and their rewards.
        seconds: Wall time of the evaluation.
        provenance: From which inputs, and by what.
    """
    greedy = request.settings.decoding == "Greedy"
    divergence = found.divergences.mean(axis=1)
    items = [item for row in found.sampled for item in row]
    return PolicyResult(
        policy=request.policy,
        policy_digest=request.policy_digest,
        evaluation_digest=request.evaluation_digest,
        engine=generator.engine,
        decoding=request.settings.decoding,
        prompts=len(found.sampled),
        samples=len(items),
        rewards=tuple(
            reward_estimate(item.name, values)
            for item, values in zip(request.rewards, found.rewards, strict=True)
        ),
        divergence=DivergenceEstimate(
            estimator="none" if greedy else generator.estimator,
            mean=float(divergence.mean()),
            standard_error=standard_error(divergence),
            k3=None if greedy else _diagnostic([item.k3 for item in items]),
        ),
        prompt_rewards=tuple(tuple(map(_short, row)) for row in found.rewards.mean(axis=2).T),
        prompt_divergences=tuple(map(_short, divergence)),
        mean_response_tokens=float(np.mean([item.tokens for item in items])),
        seconds=seconds,
        precision=found.precision,
        provenance=provenance,
    )


def _diagnostic(values: list[float]) -> float | None:
    """Return the mean of k3; None where it overflowed, which says nothing against the policy."""
    mean = float(np.mean(values))
    return max(0.0, mean) if isfinite(mean) else None


def _short(value: float) -> float:
    """Return a number with nine significant digits: the file's size is bounded."""
    return float(f"{value:.9g}")
