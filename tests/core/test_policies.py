"""The identity of policies: what is in S3 is known again by every later version."""

from typing import Any

import pytest

from palm.contract import (
    AdapterSettings,
    AffineMap,
    PromptSource,
    RewardFunction,
    TrainingSettings,
    VerifiableReward,
)
from palm.policies import policy_digest

REWARDS = (
    RewardFunction(
        name="brevity", verifiable=VerifiableReward(type="BrevityIfCorrect", max_tokens=48)
    ),
    RewardFunction(name="steps", verifiable=VerifiableReward(type="ArithmeticSteps")),
)
FIRST_VERSION = "fb3bd1348545b55a007678180da9b973"


def digest(prompts: dict[str, Any] | None = None, **settings: Any) -> str:
    first: dict[str, Any] = {
        "kl_coefficient": 0.01,
        "adapter": AdapterSettings(type="LoRA", rank=16),
        "episodes": 40_000,
        "learning_rate": 5e-7,
        "completions_per_prompt": 4,
        "batch_size": 48,
        "max_completion_tokens": 256,
        "seed": 0,
    }
    return policy_digest(
        base_model="s3://m/b",
        prompts=PromptSource(**({"uri": "s3://data/train.jsonl"} | (prompts or {}))),
        rewards=REWARDS,
        affine_maps=(AffineMap(offset=0, scale=1),) * 2,
        weights=(0.25, 0.75),
        settings=TrainingSettings(**(first | settings)),
    )


def test_a_policy_of_the_first_version_is_known_again() -> None:
    assert digest() == FIRST_VERSION


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": "RLOO"},
        {"aggregation": "NormalizeThenSum"},
        {"reward_normalization": "BatchMinMax"},
        {"advantage_scale": "Group"},
        {"learning_rate_schedule": "Linear"},
        {"seed": 1},
        {"prompts": {"prompt_column": "question"}},
        {"prompts": {"answer_column": "solution"}},
        {"prompts": {"limit": 10}},
    ],
)
def test_what_determines_a_policy_is_in_its_digest(changes: dict[str, Any]) -> None:
    assert digest(**changes) != FIRST_VERSION
