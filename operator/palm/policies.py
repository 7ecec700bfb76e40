"""Identity of policies: digests of what determines them, and names for people.

The digest is the identity (S3 keys use it alone); the index in a name is for reading. What only
decides where or when a policy is trained (image, parallelism, labels, storage) is not in it, so
the same policy is never trained twice.
"""

from collections.abc import Sequence
from typing import Any

from palm.contract import (
    AdapterSettings,
    AffineMap,
    EvaluationSettings,
    PromptSource,
    RewardFunction,
    TrainingSettings,
    digest_of,
)
from palm.evaluations import MixedPolicy

_LATER: dict[str, Any] = {
    "promptColumn": "prompt",
    "answerColumn": "answer",
    "aggregation": "SumThenNormalize",
    "rewardNormalization": "Fixed",
    "advantageScale": "None",
    "learningRateSchedule": "Constant",
    "entrypoint": None,
    "pattern": None,
    "architecture": "SequenceClassification",
    "format": None,
    "truncationSide": "Left",
    "stopStrings": [],
    "trustRemoteCode": False,
    "decoding": "Sampling",
    "precision": None,
}
_WEIGHT_DECIMALS = 12  # grids of two versions agree to 1e-15; policies differ by far more


def policy_digest(
    *,
    base_model: str,
    prompts: PromptSource,
    rewards: Sequence[RewardFunction],
    affine_maps: Sequence[AffineMap],
    weights: Sequence[float],
    settings: TrainingSettings,
) -> str:
    """Return the digest of all that determines a trained policy.

    Args:
        base_model: URI of the base model.
        prompts: Training prompts.
        rewards: Objectives in order, length d.
        affine_maps: Raw reward to training units, length d.
        weights: Weight vector in training units, length d.
        settings: Everything of the optimisation.
    """
    return digest_of(
        {
            "baseModel": base_model,
            "prompts": determining(prompts),
            "rewards": [determining(reward) for reward in rewards],
            "affineMaps": [m.model_dump(mode="json", by_alias=True) for m in affine_maps],
            "weights": [round(w, _WEIGHT_DECIMALS) for w in weights],
            "settings": determining(settings),
        }
    )


def determining(
    part: PromptSource | TrainingSettings | EvaluationSettings | RewardFunction,
) -> dict[str, Any]:
    """Return what of a part goes into digests.

    A field that came later is left out where it says what was always done, so that what was
    trained before it came is still known.
    """
    without = {"timeout_seconds"} if isinstance(part, RewardFunction) else None
    found: dict[str, Any] = _without_later(
        part.model_dump(mode="json", by_alias=True, exclude=without)
    )
    return found


def _without_later(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        key: _without_later(item)
        for key, item in value.items()
        if key not in _LATER or _LATER[key] != item
    }


def evaluation_digest(
    *,
    base_model: str,
    policy_digest: str | None,
    adapter: AdapterSettings | None,
    prompts: PromptSource,
    rewards: Sequence[RewardFunction],
    settings: EvaluationSettings,
) -> str:
    """Return the digest of all that determines a result file; a stale file is recognised by it."""
    return digest_of(
        {
            "baseModel": base_model,
            "policy": policy_digest,
            "adapter": adapter.model_dump(mode="json", by_alias=True) if adapter else None,
            "prompts": determining(prompts),
            "rewards": [determining(reward) for reward in rewards],
            "settings": determining(settings),
        }
    )


def mixture_digest(mixture: Sequence[MixedPolicy]) -> str:
    """Return the digest of a policy that is mixed of trained ones at decoding."""
    parts = {part.policy_digest: round(part.weight, _WEIGHT_DECIMALS) for part in mixture}
    return digest_of({"mixture": parts})


def calibration_digest(*, extremes: Sequence[str], evaluations: Sequence[str]) -> str:
    """Return the digest of the payoff table of these extreme policies and their result files."""
    return digest_of({"extremes": list(extremes), "evaluations": list(evaluations)})


def policy_name(index: int, digest: str) -> str:
    """Return ``w04-1f9c2a``: index in grid order, then the digest's first six digits."""
    return f"w{index:02d}-{digest[:6]}"
