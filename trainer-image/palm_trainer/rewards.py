"""Objectives as the callables that TRL's trainers take: one each, in training units."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch.distributed as dist

from palm.contract import AffineMap
from palm_rewards import Responses, RewardScorer

Reward = Callable[..., list[float]]
Unit = Callable[[list[float]], list[float]]


def training_rewards(
    scorers: Sequence[RewardScorer],
    maps: Sequence[AffineMap],
    normalization: Literal["Fixed", "BatchMinMax"] = "Fixed",
) -> list[Reward]:
    """Return one callable per objective, from its raw reward to training units.

    Fixed: the objective's affine map, the same for every policy and batch. BatchMinMax: the
    smallest reward of a batch becomes 0 and the largest 1 (paper, appendix B.2), over the
    processes together; what a weight means then changes from batch to batch, and the policy is
    trained for another objective than it is judged by.
    """
    units: list[Unit] = [_min_max if normalization == "BatchMinMax" else _affine(item)
                         for item in maps]  # fmt: skip
    return [_training_reward(scorer, unit) for scorer, unit in zip(scorers, units, strict=True)]


def raw_metric(name: str) -> str:
    """Return the name under which TRL logs an objective's mean in raw units."""
    return f"raw/{name}"


def _training_reward(scorer: RewardScorer, unit: Unit) -> Reward:
    def reward(
        prompts: list[Any],
        completions: list[Any],
        completion_ids: list[list[int]],
        answer: list[str | None],
        log_metric: Callable[[str, float], None],
        **_: Any,
    ) -> list[float]:
        responses = Responses(
            prompts=prompts,
            texts=[_text(completion) for completion in completions],
            token_counts=[len(ids) for ids in completion_ids],
            answers=answer,
        )
        values = scorer(responses)
        log_metric(raw_metric(scorer.name), sum(values) / len(values))
        return unit(values)

    reward.__name__ = scorer.name  # TRL names its metrics after it
    return reward


def _affine(item: AffineMap) -> Unit:
    return lambda values: [(value - item.offset) / item.scale for value in values]


def _min_max(values: list[float]) -> list[float]:
    """Return the values from 0 to 1 over all processes' batches; 0 where they are all equal."""
    low, high = _over_processes(min(values), max(values))
    return [(value - low) / (high - low) if high > low else 0.0 for value in values]


def _over_processes(low: float, high: float) -> tuple[float, float]:
    if not dist.is_initialized():
        return low, high
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, (low, high))
    return min(pair[0] for pair in gathered), max(pair[1] for pair in gathered)


def _text(completion: Any) -> str:
    return completion if isinstance(completion, str) else str(completion[0]["content"])
