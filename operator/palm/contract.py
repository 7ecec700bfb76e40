"""What crosses the border between the operator and its images.

A request travels to a Job as one JSON environment variable (``REQUEST_VARIABLE``), visible in the
Job's manifest and hence auditable. A result comes back as one JSON file in S3, written last and
read with suspicion: it was written by tenant code. Both are strict: unknown fields, another schema
version, NaN and infinities are refused.

Rewards: higher is better. Weights and rewards are in the order of the Portfolio's ``rewards``.
"""

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

REQUEST_VARIABLE = "PALM_REQUEST"
INVALID_REQUEST_EXIT_CODE = 42
"""A Job ends with it where its request is not valid; trying again does not help."""
BASE_POLICY = "base"

Name = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=32)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class Model(BaseModel):
    """Frozen, camelCase on the wire, strict about unknown fields and non-finite numbers."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, shortest round-trip floats."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of(value: Any) -> str:
    """Return 32 hexadecimal digits of SHA-256 over the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:32]


class VerifiableReward(Model):
    """A reward computed by a program from the response and the prompt's reference answer."""

    type: Literal["BrevityIfCorrect", "ArithmeticSteps"]
    """BrevityIfCorrect: correct answers score 1 - length/maxTokens, wrong ones 0 (paper eq. 3).
    ArithmeticSteps: share of worked steps of the toy task that are valid."""
    max_tokens: int = Field(default=256, ge=1, le=1_000_000)
    """L_max of BrevityIfCorrect, in tokens of the policy's tokenizer."""


class ModelReward(Model):
    """A reward given by a Hugging Face sequence-classification reward model."""

    uri: str = Field(min_length=1, max_length=1024, pattern=r"^(s3|hf)://.+")
    """s3://bucket/prefix or hf://organization/name@revision."""
    label_index: int = Field(default=0, ge=0, le=1023)
    """Which logit is the reward."""
    sign: Literal["Positive", "Negative"] = "Positive"
    """Negative turns a cost model into a reward."""
    template: Literal["Chat", "Pair", "Response"] = "Chat"
    """Chat: the reward model's chat template over prompt and response. Pair: tokenizer(prompt,
    response). Response: the response alone."""
    activation: Literal["None", "Sigmoid", "Softmax"] = "None"
    """Applied to the logits before labelIndex is read."""
    max_length: int = Field(default=1024, ge=8, le=131_072)
    """Longest input in tokens; longer ones lose their beginning."""


class RewardFunction(Model):
    """One objective: exactly one of ``verifiable`` and ``model``."""

    name: Name
    verifiable: VerifiableReward | None = None
    model: ModelReward | None = None

    @model_validator(mode="after")
    def _exactly_one_kind(self) -> Self:
        if (self.verifiable is None) == (self.model is None):
            raise ValueError(f"reward {self.name!r} must have exactly one of verifiable and model")
        return self


class AffineMap(Model):
    """Fixed map of one raw reward into training units: ``(reward - offset) / scale``."""

    offset: float
    scale: float = Field(gt=0)


class PromptSource(Model):
    """A JSONL file: ``{"prompt": text or chat messages, "answer": text}`` per line."""

    uri: str = Field(min_length=1, max_length=1024, pattern=r"^s3://.+")
    limit: int | None = Field(default=None, ge=1, le=1_000_000)
    """Use only the first so many prompts."""


class StorageLocation(Model):
    """Where artefacts live; credentials come from the environment, never from here."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""


class AdapterSettings(Model):
    """What is trained: a LoRA adapter of some rank, or every parameter."""

    type: Literal["LoRA", "Full"] = "LoRA"
    rank: int = Field(default=16, ge=1, le=512)
    """Rank of the adapter; ignored for Full."""


class TrainingSettings(Model):
    """Everything of the optimisation that determines a policy."""

    algorithm: Literal["GRPO"] = "GRPO"
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
    storage: StorageLocation

    @model_validator(mode="after")
    def _one_weight_and_map_per_reward(self) -> Self:
        lengths = (len(self.rewards), len(self.affine_maps), len(self.weights))
        if len(set(lengths)) != 1:
            raise ValueError(f"rewards, affineMaps and weights must have one length, not {lengths}")
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


class EvaluationSettings(Model):
    """How a policy's reward vector is estimated."""

    engine: Literal["Auto", "vLLM", "Transformers"] = "Auto"
    samples_per_prompt: int = Field(ge=1)
    max_completion_tokens: int = Field(ge=1)
    seed: int = Field(ge=0)


class EvaluationRequest(Model):
    """Estimate the reward vector and the KL divergence of one policy, or of the base policy."""

    schema_version: Literal[1] = 1
    policy: str
    policy_digest: Digest | None = None
    """None for the base policy."""
    evaluation_digest: Digest
    base_model: str
    adapter: AdapterSettings | None = None
    """How the policy's artefact is to be loaded; None for the base policy."""
    prompts: PromptSource
    rewards: tuple[RewardFunction, ...]
    settings: EvaluationSettings
    storage: StorageLocation


class RewardEstimate(Model):
    """Mean of one raw reward over prompts and samples."""

    name: Name
    mean: float
    standard_error: float = Field(ge=0)
    """Of the mean, over prompts (samples of one prompt are averaged first)."""
    standard_deviation: float = Field(ge=0)
    """Over single responses."""


class DivergenceEstimate(Model):
    """KL(policy || base policy) per response in nats; k1 may be slightly negative by noise."""

    estimator: Literal["k1", "exact"]
    """k1: mean of log π - log π_ref over samples. exact: per-position sum over the vocabulary."""
    mean: float
    standard_error: float = Field(ge=0)


class PolicyResult(Model):
    """The result file of one evaluation: written last, in one PUT."""

    schema_version: Literal[1] = 1
    policy: str
    policy_digest: Digest | None
    evaluation_digest: Digest
    engine: Literal["vLLM", "Transformers"]
    prompts: int = Field(ge=1)
    samples: int = Field(ge=1)
    rewards: tuple[RewardEstimate, ...]
    divergence: DivergenceEstimate
    prompt_rewards: tuple[tuple[float, ...], ...]
    """Mean raw reward vector per prompt, shape (prompts, d), for paired comparisons."""
    mean_response_tokens: float = Field(ge=0)
    seconds: float = Field(ge=0)


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
