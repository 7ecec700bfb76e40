"""A manifest as it is read back: checked as tenants' data, whatever its SHA-256 says. Pure.

What is published, now and after a rollback, is what a manifest says: the manifest of a decision is
parsed like one from S3, so that both ways cannot differ.
"""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from palm.contract import AdapterSettings, Digest, Model, Name
from palm.errors import InvalidResult
from palm.policies import policy_name
from palm.schema import sha256_of
from palm_operator.calls.evidence import MAX_BYTES, first_problem

Vector = Annotated[tuple[float, ...], Field(min_length=1, max_length=8)]
_MOST_POLICIES = 10_000


class _Part(Model):
    """A part of the manifest of which only some fields matter here."""

    model_config = ConfigDict(extra="ignore")


class Identity(_Part):
    """Whose manifest it is."""

    namespace: str = Field(max_length=253)
    name: str = Field(max_length=253)
    revision: str = Field(pattern=r"^[0-9a-f]{8}$")


class Inputs(_Part):
    """What the policies were made from, as far as serving depends on it."""

    class Training(_Part):
        """How they were trained."""

        adapter: AdapterSettings

    class Named(_Part):
        """One reward."""

        name: Name

    base_model: str = Field(min_length=1, max_length=1024, pattern=r"^(s3|hf)://[^\s]+$")
    rewards: tuple[Named, ...] = Field(min_length=2, max_length=8)
    training: Training


class Units(_Part):
    """The frozen meaning of weights."""

    offset: Vector
    scale: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(max_length=8)]


class Mean(_Part):
    """A raw reward of a policy."""

    mean: float


class Evaluated(_Part):
    """A policy that was trained and evaluated."""

    index: int = Field(ge=0, lt=_MOST_POLICIES)
    name: Name
    weights: Vector
    training_weights: Vector
    policy_digest: Digest
    evaluation_digest: Digest
    utilities: Vector
    rewards: tuple[Mean, ...] = Field(max_length=8)


class Uncovered(_Part):
    """A weight vector that is not certified to be covered."""

    index: int = Field(ge=0, lt=_MOST_POLICIES)
    weights: Vector


class CoverLimit(_Part):
    """Of a best effort: what it is instead of."""

    max_policies: int = Field(ge=1)
    smallest_cover: int = Field(ge=1)


class Cover(_Part):
    """The cover: which policies survive."""

    policies: tuple[str, ...] = Field(min_length=1, max_length=_MOST_POLICIES)
    usage: tuple[Annotated[float, Field(ge=0)], ...] = Field(max_length=_MOST_POLICIES)
    proven: bool
    uncovered: tuple[Uncovered, ...] = Field(default=(), max_length=_MOST_POLICIES)
    limit: CoverLimit | None = None


class Shortfalls(_Part):
    """ε and δ."""

    epsilon: float | None = Field(default=None, ge=0)
    delta: float = Field(ge=0)


class Claim(Shortfalls):
    """What is guaranteed."""

    scope: Literal["Simplex", "Grid"]
    confidence: float | None = Field(default=None, gt=0, lt=1)
    eta: float | None = None
    tau: float | None = None
    argmax_epsilon: Vector | None = None
    argmax_delta: Vector | None = None
    measured: Shortfalls | None = None
    grid: Shortfalls


class ManifestFile(_Part):
    """A manifest, as far as publishing depends on it."""

    schema_version: Literal[2]
    portfolio: Identity
    inputs: Inputs
    calibration: Units
    policies: tuple[Evaluated, ...] = Field(min_length=1, max_length=_MOST_POLICIES)
    cover: Cover
    guarantee: Claim

    @property
    def is_full(self) -> bool:
        """Say whether the policies are full models, as opposed to adapters."""
        return self.inputs.training.adapter.type == "Full"

    @property
    def survivors(self) -> tuple[Evaluated, ...]:
        """Return the policies of the portfolio, in the manifest's order."""
        by_name = {policy.name: policy for policy in self.policies}
        return tuple(by_name[name] for name in self.cover.policies)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names, chosen = [policy.name for policy in self.policies], self.cover.policies
        if len(set(names)) < len(names) or len(set(chosen)) < len(chosen):
            raise ValueError("a policy is there more than once")
        if unknown := set(chosen) - set(names):
            raise ValueError(f"cover names {sorted(unknown)[0]!r}, which is not among policies")
        if len(self.cover.usage) != len(chosen):
            raise ValueError("cover.usage must have one entry per policy of the cover")
        d = len(self.inputs.rewards)
        vectors = [self.calibration.offset, self.calibration.scale]
        for policy in self.policies:
            if policy.name != policy_name(policy.index, policy.policy_digest):
                raise ValueError(f"policy {policy.name!r} does not have its digest's name")
            vectors += [policy.weights, policy.training_weights, policy.utilities]
            vectors += [tuple(reward.mean for reward in policy.rewards)]
        vectors += [missing.weights for missing in self.cover.uncovered]
        if any(len(vector) != d for vector in vectors):
            raise ValueError(f"every vector must have {d} entries, one per reward")
        return self


def parsed_manifest(content: bytes) -> ManifestFile:
    """Return a manifest.

    Raises:
        InvalidResult: It is too large, no JSON, of another schema, or contradicts itself.
    """
    if len(content) > MAX_BYTES:
        raise InvalidResult(f"the manifest has {len(content):,} bytes; at most {MAX_BYTES:,}")
    try:
        return ManifestFile.model_validate_json(content)
    except ValidationError as error:
        raise InvalidResult(f"the manifest is not valid: {first_problem(error)}") from None


def pinned_manifest(
    content: bytes, *, sha256: str, revision: str, namespace: str, name: str
) -> ManifestFile:
    """Return the manifest that a Portfolio is pinned to.

    Raises:
        InvalidResult: It is not valid, or not the one that is meant.
    """
    if (found := sha256_of(content)) != sha256:
        raise InvalidResult(f"its SHA-256 is {found}")
    manifest = parsed_manifest(content)
    of = manifest.portfolio
    if (of.namespace, of.name, of.revision) != (namespace, name, revision):
        raise InvalidResult(
            f"it is of revision {of.revision} of Portfolio {of.namespace}/{of.name}, not of "
            f"revision {revision} of {namespace}/{name}"
        )
    return manifest
