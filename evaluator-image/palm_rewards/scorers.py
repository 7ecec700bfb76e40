"""From the objectives of a request to callables that score batches of responses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from palm.contract import ModelReward, RewardFunction, VerifiableReward
from palm.errors import InvalidResult
from palm_rewards.responses import Responses
from palm_rewards.verifiable import arithmetic_steps, brevity_if_correct

Scores = Callable[[Responses], list[float]]


@dataclass(frozen=True)
class RewardScorer:
    """One objective: its name and how it scores a batch, in raw units, higher is better."""

    name: str
    scores: Scores

    def __call__(self, responses: Responses) -> list[float]:
        """Return one finite reward per response.

        Raises:
            InvalidResult: The reward returned another number of values, or one that is not finite.
        """
        values = self.scores(responses)
        if len(values) != len(responses.texts):
            raise InvalidResult(
                f"reward {self.name!r} returned {len(values)} values "
                f"for {len(responses.texts)} responses"
            )
        for position, value in enumerate(values):
            if not isfinite(value):
                raise InvalidResult(
                    f"reward {self.name!r} of response {position} is {value}; must be finite"
                )
        return values


def reward_functions(
    functions: Sequence[RewardFunction], *, model_folder: Callable[[ModelReward], Path]
) -> list[RewardScorer]:
    """Return a scorer per objective, in the objectives' order.

    Args:
        functions: The objectives.
        model_folder: Where the files of a reward model lie; called once per model reward.
    """
    return [RewardScorer(item.name, _scores(item, model_folder)) for item in functions]


def _scores(function: RewardFunction, model_folder: Callable[[ModelReward], Path]) -> Scores:
    if function.model is not None:
        # Only where a reward model is used: torch takes seconds to import.
        from palm_rewards.reward_model import RewardModel

        return RewardModel.load(model_folder(function.model), function.model).scores
    if function.verifiable is None:
        raise ValueError(f"reward {function.name!r} is neither verifiable nor a model")
    return _verifiable(function.name, function.verifiable)


def _verifiable(name: str, reward: VerifiableReward) -> Scores:
    def brevity(responses: Responses) -> list[float]:
        return [
            brevity_if_correct(
                text,
                tokens=tokens,
                reference=_reference(name, position, responses.answers[position]),
                max_tokens=reward.max_tokens,
            )
            for position, (text, tokens) in enumerate(
                zip(responses.texts, responses.token_counts, strict=True)
            )
        ]

    def steps(responses: Responses) -> list[float]:
        return [
            arithmetic_steps(prompt, text)
            for prompt, text in zip(responses.prompts, responses.texts, strict=True)
        ]

    return {"BrevityIfCorrect": brevity, "ArithmeticSteps": steps}[reward.type]


def _reference(name: str, position: int, answer: str | None) -> str:
    if answer is None:
        raise ValueError(
            f'reward {name!r} needs an "answer" in every line of the prompts file; '
            f"response {position} has none"
        )
    return answer
