"""From the objectives of a request to callables that score batches of responses."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

from palm.contract import ModelReward, RewardFunction
from palm.errors import InvalidResult, NotFinite
from palm_rewards.entrypoint import EntrypointProcess
from palm_rewards.responses import Responses
from palm_rewards.verifiable import Scores, verifiable_scores

_AT_ONCE = 256

"""Verifiable rewards that compare with the prompt's reference answer."""


@dataclass(frozen=True)
class RewardScorer:
    """One objective: its name and how it scores a batch, in raw units, higher is better.

    Equal responses to equal prompts are scored once.
    """

    name: str
    scores: Scores
    seconds: float = 600.0
    """Longest time that scoring a batch of at most 256 responses may take."""
    remembered: int = 0
    """How many rewards are remembered from batch to batch. 0 makes every batch's rewards a function
    of that batch alone, to the last bit: a reward model's depend on what it is padded with."""
    _memory: OrderedDict[bytes, float] = field(default_factory=OrderedDict, compare=False)

    def __call__(self, responses: Responses) -> list[float]:
        """Return one finite reward per response.

        Raises:
            InvalidResult: The reward returned another number of values, or took too long; the
                message has its name.
            NotFinite: A value is NaN or infinite; likewise.
        """
        keys = responses.keys()
        first = {key: position for position, key in reversed(list(enumerate(keys)))}
        known = {key: self._memory[key] for key in first if key in self._memory}
        unknown = [position for key, position in sorted(first.items(), key=lambda item: item[1])
                   if key not in known]  # fmt: skip
        for start in range(0, len(unknown), _AT_ONCE):
            positions = unknown[start : start + _AT_ONCE]
            for position, value in zip(positions, self._scored(responses, positions), strict=True):
                known[keys[position]] = value
        self._remember(known)
        return [known[key] for key in keys]

    def _scored(self, responses: Responses, positions: list[int]) -> list[float]:
        began = time.monotonic()
        values = self.scores(responses.at(positions))
        took = time.monotonic() - began
        if len(values) != len(positions):
            raise InvalidResult(
                f"reward {self.name!r} returned {len(values)} values for {len(positions)} responses"
            )
        for position, value in zip(positions, values, strict=True):
            if not isfinite(value):
                raise NotFinite(
                    f"reward {self.name!r} of response {position} is {value}; must be finite"
                )
        if took > self.seconds:
            raise InvalidResult(
                f"reward {self.name!r} took {took:.1f} s for {len(positions)} responses; "
                f"at most {self.seconds:g} s are allowed (timeoutSeconds)"
            )
        return values

    def _remember(self, known: dict[bytes, float]) -> None:
        if not self.remembered:
            return
        for key, value in known.items():
            self._memory[key] = value
            self._memory.move_to_end(key)
        while len(self._memory) > self.remembered:
            self._memory.popitem(last=False)


def needs_answer(function: RewardFunction) -> bool:
    """Say whether every prompt must have a reference answer for this objective."""
    return function.verifiable is not None and function.verifiable.needs_answer


def reward_functions(
    functions: Sequence[RewardFunction],
    *,
    model_folder: Callable[[ModelReward], Path],
    remembered: int = 0,
) -> list[RewardScorer]:
    """Return a scorer per objective, in the objectives' order.

    Args:
        functions: The objectives.
        model_folder: Where the files of a reward model lie; called once per model reward.
        remembered: How many rewards each remembers from batch to batch.

    Raises:
        ValueError: A reward cannot be had as it is described; the message names it.
    """
    return [
        RewardScorer(item.name, _scores(item, model_folder), item.timeout_seconds, remembered)
        for item in functions
    ]


def _scores(function: RewardFunction, model_folder: Callable[[ModelReward], Path]) -> Scores:
    if function.verifiable is not None:
        return verifiable_scores(function.name, function.verifiable)
    if function.entrypoint is not None:
        seconds = float(function.timeout_seconds)
        return EntrypointProcess(function.name, function.entrypoint, seconds=seconds).scores
    if function.model is None:
        raise ValueError(f"reward {function.name!r} is neither a program, a model nor a function")
    # Only where a reward model is used: torch takes seconds to import.
    from palm_rewards.reward_model import RewardModel

    try:
        return RewardModel.load(model_folder(function.model), function.model).scores
    except ValueError as problem:
        raise ValueError(f"reward {function.name!r}: {problem}") from None
