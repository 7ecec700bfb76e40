"""Sampling and scoring until there is enough: the same prompts and seeds for every policy.

Both are functions of the request. So a number that is not finite will be so again, and ends the Job
with an exit code that is not retried; a training, which samples anew, is retried.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from palm.contract import EvaluationRequest
from palm.errors import NotFinite
from palm.evaluations import PrecisionReached
from palm_evaluator.generation import Generator, Sampled, Sampling
from palm_evaluator.precision import error_units, samples_wanted
from palm_rewards import Responses, RewardScorer
from palm_store.job import InvalidData
from palm_store.prompts import Prompt


@dataclass(frozen=True, eq=False)
class Evaluated:
    """Every response of an evaluation and its rewards.

    Attributes:
        sampled: By prompt and sample.
        rewards: Raw rewards, shape (d, prompts, samples), objectives in the request's order.
        precision: What came of the precision that was asked for.
    """

    sampled: list[list[Sampled]]
    rewards: NDArray[np.float64]
    precision: PrecisionReached | None = None

    @property
    def divergences(self) -> NDArray[np.float64]:
        """Return every response's divergence, shape (prompts, samples)."""
        return np.array([[item.divergence for item in row] for row in self.sampled])


def evaluated(
    request: EvaluationRequest,
    generator: Generator,
    scorers: Sequence[RewardScorer],
    prompts: Sequence[Prompt],
) -> Evaluated:
    """Sample and score; more where the request asks for a precision that is not reached.

    Raises:
        InvalidData: Log-probabilities or rewards are not finite; names the policy or the reward.
    """
    found = _round(request, generator, scorers, prompts, first=0)
    wanted = request.settings.precision
    while wanted is not None:
        values = np.concatenate([found.rewards, found.divergences[None]])
        units = error_units(found.rewards, request.units)
        samples, precision = samples_wanted(values, units, wanted)
        have = found.rewards.shape[2]
        found = Evaluated(found.sampled, found.rewards, precision)
        print(_sentence(have, samples, precision), flush=True)
        if samples == have:
            break
        more = _round(request, generator, scorers, prompts, first=have, count=samples - have)
        found = Evaluated(
            [old + new for old, new in zip(found.sampled, more.sampled, strict=True)],
            np.concatenate([found.rewards, more.rewards], axis=2),
        )
    return found


def _round(
    request: EvaluationRequest,
    generator: Generator,
    scorers: Sequence[RewardScorer],
    prompts: Sequence[Prompt],
    *,
    first: int,
    count: int | None = None,
) -> Evaluated:
    settings = request.settings
    sampling = Sampling(
        samples_per_prompt=settings.samples_per_prompt if count is None else count,
        max_completion_tokens=settings.max_completion_tokens,
        seed=settings.seed,
        first=first,
        greedy=settings.decoding == "Greedy",
    )
    sampled = generator.sampled([item.prompt for item in prompts], sampling)
    check_finite(request, prompts, sampled)
    return Evaluated(sampled, scored(scorers, prompts=prompts, sampled=sampled))


def check_finite(
    request: EvaluationRequest,
    prompts: Sequence[Prompt],
    sampled: Sequence[Sequence[Sampled]],
) -> None:
    """Refuse a policy whose log-probabilities are NaN or infinite.

    Raises:
        InvalidData: They are; names the policy, and where the prompt stands.
    """
    for prompt, row in zip(prompts, sampled, strict=True):
        if all(isfinite(item.divergence) for item in row):
            continue
        place = f"the prompt of {prompt.place}"
        if request.policy_digest is None:
            raise InvalidData(
                f"the base model's log-probabilities are not finite in a response to {place}: its "
                "files, or their number format on this hardware, are of no use"
            )
        raise InvalidData(
            f"policy {request.policy}: log-probabilities, its own or the base policy's, are not "
            f"finite in a response to {place}; a training that diverged leaves such a policy: "
            "lower training.learningRate or raise training.klCoefficient"
        )


def scored(
    scorers: Sequence[RewardScorer],
    *,
    prompts: Sequence[Prompt],
    sampled: Sequence[Sequence[Sampled]],
) -> NDArray[np.float64]:
    """Return the raw rewards, shape (d, prompts, samples).

    Raises:
        InvalidData: One is not finite; names the reward.
    """
    flat = [(prompt, item) for prompt, row in zip(prompts, sampled, strict=True) for item in row]
    responses = Responses(
        prompts=[prompt.prompt for prompt, _ in flat],
        texts=[item.text for _, item in flat],
        token_counts=[item.tokens for _, item in flat],
        answers=[prompt.answer for prompt, _ in flat],
    )
    try:
        values = np.array([scorer(responses) for scorer in scorers], dtype=np.float64)
    except NotFinite as problem:
        raise InvalidData(str(problem)) from None
    return values.reshape(len(scorers), len(prompts), -1)


def _sentence(have: int, samples: int, precision: PrecisionReached) -> str:
    now = (
        f"standard error {precision.standard_error:.4g} with {have} samples per prompt, "
        f"{precision.wanted:.4g} is wanted"
    )
    return {
        "None": f"{now}: {'enough' if samples == have else f'on to {samples}'}",
        "Samples": f"{now}: maxSamplesPerPrompt is reached",
        "Prompts": f"{now}: no number of samples reaches it, more prompts would",
    }[precision.obstacle]
