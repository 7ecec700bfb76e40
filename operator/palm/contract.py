"""What crosses the border between the operator and its images.

A request travels to a Job as one JSON environment variable (``REQUEST_VARIABLE``), visible in the
Job's manifest and hence auditable. A result comes back as one JSON file in S3, written last and
read with suspicion: it was written by tenant code. Both are strict: unknown fields, another schema
version, NaN and infinities are refused. Objectives are in ``objectives``, what is asked of the
evaluator and answered by it in ``evaluations``.

Rewards: higher is better. Weights and rewards are in the order of the Portfolio's ``rewards``.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from palm.evaluations import (
    DivergenceEstimate,
    EvaluationRequest,
    EvaluationSettings,
    PolicyResult,
    RewardEstimate,
)
from palm.objectives import EntrypointReward, ModelReward, RewardFunction, VerifiableReward
from palm.schema import SUM_ERROR, Digest, Model, Name, canonical_json, digest_of
from palm.sources import AdapterSettings, PromptSource, StorageLocation

__all__ = [
    "BASE_POLICY",
    "IMAGE_VARIABLE",
    "REQUEST_VARIABLE",
    "AdapterSettings",
    "AffineMap",
    "Calibration",
    "Digest",
    "DivergenceEstimate",
    "EntrypointReward",
    "EvaluationRequest",
    "EvaluationSettings",
    "Execution",
    "Model",
    "ModelReward",
    "Name",
    "PolicyResult",
    "PromptSource",
    "RewardEstimate",
    "RewardFunction",
    "StorageLocation",
    "TrainingRecord",
    "TrainingRequest",
    "TrainingSettings",
    "VerifiableReward",
    "canonical_json",
    "digest_of",
]

REQUEST_VARIABLE = "PALM_REQUEST"
IMAGE_VARIABLE = "PALM_IMAGE"
"""The image as the Pod names it: a result says by what it was made."""
BASE_POLICY = "base"


class AffineMap(Model):
    """Fixed map of one raw reward into training units: ``(reward - offset) / scale``."""

    offset: float
    scale: float = Field(gt=0)


class TrainingSettings(Model):
    """Everything of the optimisation that determines a policy."""

    algorithm: Literal["GRPO", "RLOO"] = "GRPO"
    aggregation: Literal["SumThenNormalize", "NormalizeThenSum"] = "SumThenNormalize"
    reward_normalization: Literal["Fixed", "BatchMinMax"] = "Fixed"
    advantage_scale: Literal["None", "Group", "Batch"] = "None"
    learning_rate_schedule: Literal["Constant", "Linear", "Cosine"] = "Constant"
    kl_coefficient: float = Field(ge=0)
    """β of the KL penalty (paper §2, B.2)."""
    adapter: AdapterSettings
    episodes: int = Field(ge=1)
    """Sampled responses in total; steps = episodes / batchSize."""
    learning_rate: float = Field(gt=0)
    completions_per_prompt: int = Field(ge=2)
    """G: responses sampled per prompt."""
    batch_size: int = Field(ge=2)
    """Responses per optimiser step; a multiple of completionsPerPrompt."""
    max_completion_tokens: int = Field(ge=1)
    seed: int = Field(ge=0)


class Execution(Model):
    """How a training is run; nothing in it says which policy is trained."""

    processes: int = Field(default=1, ge=1, le=64)
    """Training processes on a node, one per GPU."""
    nodes: int = Field(default=1, ge=1, le=64)
    """Nodes that train one policy together, each with so many processes."""
    sharding: Literal["None", "ZeRO2", "ZeRO3", "FSDP"] = "None"
    rollouts: Literal["Auto", "Transformers", "vLLMColocate", "vLLMServer"] = "Auto"
    rollout_gpus: int = Field(default=1, ge=1, le=64)
    """GPUs of the vLLM server, beside those that train."""
    checkpoint_seconds: float | None = Field(default=600, ge=0)
    """Between two checkpoints; None: only before an end that was asked for."""

    @property
    def all_processes(self) -> int:
        """Return the number of training processes on all nodes together."""
        return self.nodes * self.processes

    @model_serializer(mode="wrap")
    def _as_before_on_one_node(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Images of before several nodes refuse the field; for them, nothing has changed."""
        found: dict[str, Any] = handler(self)
        return {key: v for key, v in found.items() if key != "nodes" or v != 1}


class TrainingRequest(Model):
    """One oracle call: train the policy of one weight vector."""

    schema_version: Literal[1] = 1
    policy: str
    policy_digest: Digest
    base_model: str
    prompts: PromptSource
    rewards: tuple[RewardFunction, ...]
    affine_maps: tuple[AffineMap, ...]
    """Raw reward -> training units, one per reward."""
    weights: tuple[float, ...]
    """Weight vector in training units, on the simplex, one per reward."""
    settings: TrainingSettings
    execution: Execution = Execution()
    storage: StorageLocation

    @model_validator(mode="after")
    def _one_weight_and_map_per_reward(self) -> Self:
        lengths = (len(self.rewards), len(self.affine_maps), len(self.weights))
        if len(set(lengths)) != 1:
            raise ValueError(f"rewards, affineMaps and weights must have one length, not {lengths}")
        return self

    @model_validator(mode="after")
    def _weights_on_the_simplex(self) -> Self:
        """Another vector would train for another objective than any policy is judged by."""
        total = sum(self.weights)
        if min(self.weights, default=0.0) < 0 or abs(total - 1) > SUM_ERROR:
            raise ValueError(
                f"weights must be at least 0 and sum to 1; {list(self.weights)} sum to {total:.9g}"
            )
        return self


class TrainingRecord(Model):
    """The commit marker of a trained policy: written last, its existence means "trained"."""

    schema_version: Literal[1] = 1
    policy_digest: Digest
    files: dict[str, str]
    """File name below the model folder -> SHA-256."""
    steps: int
    seconds: float
    """Wall time of the training loop."""
    final_rewards: dict[str, float]
    """Mean raw reward per objective over the last logged step; a diagnostic."""


class Calibration(Model):
    """The frozen meaning of weights: payoff table of the d extreme policies, written once.

    ``offset`` and ``scale`` map utilities in training units, u = r - β·KL, to normalized
    utilities ``(u - offset) / scale``.
    """

    schema_version: Literal[1] = 1
    extremes: tuple[Digest, ...]
    payoff: tuple[tuple[float, ...], ...]
    """Utilities of the extreme policies in training units, shape (d, d), row i trained on e_i."""
    offset: tuple[float, ...]
    scale: tuple[Annotated[float, Field(gt=0)], ...]
