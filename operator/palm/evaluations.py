"""What is asked of the evaluator, and the result file, version 1 (docs/results.md)."""

from math import fsum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from palm.objectives import RewardFunction
from palm.schema import SUM_ERROR, Digest, Model, Name, Sha256
from palm.sources import AdapterSettings, PromptSource, StorageLocation

MAX_RESULT_BYTES = 8 * 1024 * 1024
"""Largest result file that is written, and read."""
MAX_RESULT_PROMPTS = 40_000
_MOST_REWARDS = 8
_BYTES_PER_NUMBER = 20

Text = Annotated[str, Field(max_length=1024)]
Rewards = Annotated[tuple[float, ...], Field(max_length=_MOST_REWARDS)]


class Precision(Model):
    """How exact means have to be, and how far to go for it."""

    standard_error: float = Field(gt=0)
    """Largest standard error of any mean in training units; the KL term counts as β·KL."""
    max_samples_per_prompt: int = Field(ge=1, le=1024)


class ErrorUnits(Model):
    """What one training unit is, for ``Precision``."""

    rewards: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(default=None, max_length=8)
    """In raw units of each reward; None: the standard deviation of its responses' rewards."""
    divergence: float | None = Field(default=None, gt=0)
    """In nats: 1/β; None: the divergence does not count."""


class EvaluationSettings(Model):
    """How a policy's reward vector is estimated."""

    engine: Literal["Auto", "vLLM", "Transformers"] = "Auto"
    decoding: Literal["Sampling", "Greedy"] = "Sampling"
    """Greedy: the likeliest token every time, one response per prompt, no divergence."""
    samples_per_prompt: int = Field(ge=1)
    max_completion_tokens: int = Field(ge=1)
    seed: int = Field(ge=0)
    precision: Precision | None = None
    """None: samplesPerPrompt, whatever the standard error."""


class MixedPolicy(Model):
    """A trained policy that is part of a mixture, and with what weight; those of 0 are left out."""

    policy_digest: Digest
    weight: float = Field(gt=0, lt=1)


Mixture = Annotated[tuple[MixedPolicy, ...], Field(min_length=2, max_length=_MOST_REWARDS)]
"""π(·|y_<t) ∝ Π_i π_i(·|y_<t)^(w_i), token by token (MOD, paper B.3); the weights sum to 1."""


class EvaluationRequest(Model):
    """Estimate the reward vector and the KL divergence of one policy, or of the base policy."""

    schema_version: Literal[1] = 1
    policy: str
    policy_digest: Digest | None = None
    """None for the base policy."""
    evaluation_digest: Digest
    base_model: str
    adapter: AdapterSettings | None = None
    """How the policy's artefact, or each of a mixture, is to be loaded; None for the base
    policy."""
    mixture: Mixture | None = None
    """The trained policies that the policy is mixed of at decoding; None: it is one of its own."""
    prompts: PromptSource
    rewards: tuple[RewardFunction, ...]
    units: ErrorUnits = ErrorUnits()
    settings: EvaluationSettings
    storage: StorageLocation

    @model_serializer(mode="wrap")
    def _as_before_without_a_mixture(
        self, handler: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        """Images of before mixtures refuse the field; of what they can do, nothing has changed."""
        found: dict[str, Any] = handler(self)
        return {key: v for key, v in found.items() if key != "mixture" or v is not None}

    @model_validator(mode="after")
    def _mixes_different_policies(self) -> Self:
        if self.mixture is None:
            return self
        if self.policy_digest is None or self.adapter is None:
            raise ValueError("a mixture needs a policyDigest of its own and an adapter")
        if len({part.policy_digest for part in self.mixture}) < len(self.mixture):
            raise ValueError("a policy is in the mixture more than once")
        total = fsum(part.weight for part in self.mixture)
        if abs(total - 1) > SUM_ERROR:
            raise ValueError(f"the weights of the mixture must sum to 1, not {total:.9g}")
        return self


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

    estimator: Literal["k1", "exact", "none"]
    """k1: mean of log π - log π_ref over samples. exact: per-position sum over the vocabulary.
    none: not estimated, and 0 (greedy decoding)."""
    mean: float
    standard_error: float = Field(ge=0)
    k3: float | None = Field(default=None, ge=0)
    """Mean of k3 over samples: a diagnostic, ruled by rare tokens far from the base policy."""


class PrecisionReached(Model):
    """What came of ``Precision``."""

    standard_error: float = Field(ge=0)
    """Largest standard error of any mean in training units."""
    wanted: float = Field(gt=0)
    obstacle: Literal["None", "Samples", "Prompts"]
    """None: it was reached. Samples: maxSamplesPerPrompt came first. Prompts: no number of samples
    reaches it, only more prompts do."""


class Source(Model):
    """One input: what was named, and what was found there."""

    uri: Text
    revision: Text | None = None
    """The commit that a Hugging Face revision resolved to."""
    sha256: Sha256
    """Of the file; for a folder, of the lines ``<sha256>  <name>`` of its files, by name."""


class RewardSource(Model):
    """Where one reward came from."""

    name: Name
    kind: Literal["Verifiable", "Model", "Entrypoint"]
    source: Source | None = None
    """Files of a reward model."""
    version: Text | None = None
    """Of an entrypoint, as the function says of itself."""


class MadeFrom(Model):
    """From exactly which inputs, and by what, a policy or a result was made."""

    image: Text
    """As the Pod names it, with its digest where it is pinned; empty where nothing was said."""
    versions: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=64)]] = (
        Field(max_length=32)
    )
    """Of Python and of every library that trains, samples, scores or estimates."""
    base_model: Source
    prompts: Source
    rewards: tuple[RewardSource, ...] = Field(max_length=_MOST_REWARDS)


class Provenance(MadeFrom):
    """The same of a result, and what else it was made from."""

    request_sha256: Sha256
    """Of the request's canonical JSON."""
    policy: Source | None = None
    training: MadeFrom | None = None
    """From what the policy was trained, as its training says."""
    mixture: Annotated[tuple[Source, ...], Field(max_length=_MOST_REWARDS)] | None = None
    """Of a policy that is mixed at decoding: those it is mixed of, in the request's order."""
    responses: Source | None = None
    """The Parquet file with every response."""


class PolicyResult(Model):
    """The result file of one evaluation: written last, in one PUT."""

    schema_version: Literal[1] = 1
    policy: Annotated[str, Field(max_length=64)]
    policy_digest: Digest | None
    evaluation_digest: Digest
    engine: Literal["vLLM", "Transformers"]
    decoding: Literal["Sampling", "Greedy"] = "Sampling"
    prompts: int = Field(ge=1)
    samples: int = Field(ge=1)
    rewards: tuple[RewardEstimate, ...] = Field(max_length=_MOST_REWARDS)
    divergence: DivergenceEstimate
    prompt_rewards: tuple[Rewards, ...] = Field(max_length=MAX_RESULT_PROMPTS)
    """Mean raw reward vector per prompt, shape (prompts, d), for paired comparisons."""
    prompt_divergences: tuple[float, ...] | None = Field(
        default=None, max_length=MAX_RESULT_PROMPTS
    )
    """Mean divergence per prompt, length prompts."""
    mean_response_tokens: float = Field(ge=0)
    seconds: float = Field(ge=0)
    precision: PrecisionReached | None = None
    provenance: Provenance | None = None


class ShownResponse(Model):
    """One response to one prompt, for people."""

    prompt: Annotated[str, Field(max_length=8192)]
    text: Annotated[str, Field(max_length=8192)]
    tokens: int = Field(ge=0)
    rewards: Rewards


class SamplesFile(Model):
    """The first sample of the first prompts: the same prompts and seeds for every policy."""

    schema_version: Literal[1] = 1
    policy: Annotated[str, Field(max_length=64)]
    evaluation_digest: Digest
    rewards: tuple[Name, ...] = Field(max_length=_MOST_REWARDS)
    responses: tuple[ShownResponse, ...] = Field(max_length=64)


def result_bytes(*, prompts: int, rewards: int) -> int:
    """Return an upper bound of a result file's size, before anything is sampled."""
    return prompts * (rewards + 2) * _BYTES_PER_NUMBER + 64 * 1024
