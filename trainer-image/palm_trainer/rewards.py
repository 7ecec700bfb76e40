"""Objectives as the callables that TRL's trainer takes: one each, in training units."""

from collections.abc import Callable, Sequence
from typing import Any

from palm.contract import AffineMap
from palm_rewards import Responses, RewardScorer


def training_rewards(
    scorers: Sequence[RewardScorer], maps: Sequence[AffineMap]
) -> list[Callable[..., list[float]]]:
    """Return one callable per objective: its raw reward under its fixed affine map.

    The map is the same for every policy. A map per batch, as in the paper's B.2, would change
    what a weight means from batch to batch and from trainer to evaluator.
    """
    return [_training_reward(scorer, item) for scorer, item in zip(scorers, maps, strict=True)]


def raw(value: float, item: AffineMap) -> float:
    """Return the raw reward of one in training units."""
    return value * item.scale + item.offset


def _training_reward(scorer: RewardScorer, item: AffineMap) -> Callable[..., list[float]]:
    def reward(
        prompts: list[Any],
        completions: list[Any],
        completion_ids: list[list[int]],
        answer: list[str | None],
        **_: Any,
    ) -> list[float]:
        responses = Responses(
            prompts=prompts,
            texts=[_text(completion) for completion in completions],
            token_counts=[len(ids) for ids in completion_ids],
            answers=answer,
        )
        return [(value - item.offset) / item.scale for value in scorer(responses)]

    reward.__name__ = scorer.name  # TRL names its metrics after it
    return reward


def _text(completion: Any) -> str:
    return completion if isinstance(completion, str) else str(completion[0]["content"])
