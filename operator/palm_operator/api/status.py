"""The status of a Portfolio as the API server stores it."""

from typing import Literal

from pydantic import Field

from palm.contract import Model
from palm_operator.api.types import Text, Time


class Condition(Model):
    """A Kubernetes condition."""

    type: str = Field(max_length=316)
    status: Literal["True", "False", "Unknown"]
    reason: str = Field(max_length=1024)
    message: str = Field(max_length=32_768)
    observed_generation: int | None = None
    last_transition_time: Time


class OracleCalls(Model):
    """How far training and evaluation are; an oracle call trains the policy of a weight vector."""

    planned: int = 0
    """All there will be: exactly so many with search mode Grid and once the search has ended,
    until then at most so many. Those found in S3 are among them."""
    running: int = 0
    """Being trained, or trained and not evaluated yet."""
    succeeded: int = 0
    """Trained and evaluated."""
    failed: int = 0
    reused: int = 0
    """Of the succeeded: found in S3 although this Portfolio has no Job for them."""
    saved: int = 0
    """Weight vectors of the grid that are certified to be covered without an oracle call."""
    summary: Text = ""
    """succeeded/planned, for people."""


class DeployedPolicy(Model):
    """One survivor."""

    name: Text
    weights: list[Text] = Field(max_length=8)
    rewards: list[Text] = Field(max_length=8)
    """Mean raw rewards."""
    usage: Text
    """Share of uniformly distributed preferences it serves best."""
    service: Text | None = None
    """Name of its InferenceService or LLMInferenceService; policies may share one."""
    model: Text | None = None
    """What requests to the URL name as their model."""
    url: str | None = Field(default=None, max_length=2048)
    ready: bool = False
    """Whether it answers requests."""
    message: Text | None = None
    """Why it does not, or not yet as it should."""
    since: Time | None = None
    """Since when it is deployed without a break; absent until the whole portfolio was served."""


class Shortfall(Model):
    """How far from optimal a preference can be."""

    epsilon: Text
    """Largest shortfall relative to the optimum; "undefined" where an optimum may not be
    positive."""
    delta: Text
    """Largest absolute shortfall, in normalized reward units."""


class Guarantee(Shortfall):
    """How far from optimal a preference can be, with the scope in which that is true.

    It assumes that the best policy seen at a weight vector that was trained for is optimal there,
    up to tau.
    """

    scope: Literal["Simplex", "Grid"]
    """Simplex: over all preferences. Grid: over the weight vectors of the grid only."""
    proven: bool
    """The cover is proven to be the smallest; or, of a best effort, no set of so few is closer."""
    cover_size: int | None = None
    """Of a best effort: how many policies the smallest cover within spec.pruning has."""
    confidence: Text | None = None
    """With which the above is true, the evaluation prompts being a sample. Without it, measured
    rewards are taken as the true ones."""
    eta: Text | None = None
    """Largest error of a measured objective at that confidence; part of epsilon and delta."""
    tau: Text | None = None
    """How far from optimal training is assumed to leave a policy at most."""
    worst_epsilon: list[Text] | None = Field(default=None, max_length=8)
    """The preference at which epsilon is attained."""
    worst_delta: list[Text] | None = Field(default=None, max_length=8)
    """The preference at which delta is attained."""
    measured: Shortfall | None = None
    """The same with measured rewards taken as the true ones."""
    grid: Shortfall | None = None
    """As measured, over the weight vectors of the grid only; what spec.pruning bounds."""


class Uncovered(Model):
    """What is not certified to be covered."""

    count: int
    """How many weight vectors of the grid."""
    weights: list[Text] = Field(max_length=64)
    """The first of them, as in "0.25, 0.75"; the manifest has all."""


class ManifestReference(Model):
    """The full ledger in S3."""

    uri: str = Field(max_length=2048)
    sha256: Text


class DeployedPortfolio(Model):
    """What is deployed now."""

    revision: Text
    since: Time | None = None
    """When all its policies answered and it became what is deployed; absent until then."""
    size: int
    policies: list[DeployedPolicy] = Field(max_length=64)
    guarantee: Guarantee
    uncovered: Uncovered | None = None
    """Weight vectors without the guarantee that spec.pruning asks for; only with
    spec.failurePolicy.onOracleFailure AllowPartial, or spec.oracle.type MOD."""
    manifest: ManifestReference


class GatewayAddress(Model):
    """Where one address sends each request to the policy that is best for it."""

    url: str = Field(max_length=2048)
    """Base URL of the gateway's OpenAI-compatible API, with /v1."""
    model: Text
    """What requests to the URL name as their model."""
    default_preference: str | None = Field(default=None, max_length=1024)
    """Of requests without one; absent: the most used policy answers those."""


class DeployedRevision(Model):
    """One portfolio that was deployed, or is."""

    number: int
    """Counts the Portfolio's deployments, from 1."""
    revision: Text
    deployed: Time
    """When it became what is deployed."""
    retired: Time | None = None
    """When nothing that only it needed was left of it; absent while something is."""
    reason: Text
    """First, Revision (other policies), Pruning (another choice of them), Serving (other servers),
    Pinned (spec.serving.pin), StatusLost (what served was found again without a status)."""
    generation: int
    """metadata.generation of the spec that asked for it."""
    size: int
    epsilon: Text
    delta: Text
    manifest: ManifestReference


class RecordReference(Model):
    """The append-only record in S3, and its end: an entry that is removed later is missed."""

    uri: str = Field(max_length=2048)
    """Folder of the entries."""
    entries: int
    sha256: Text
    """Of the last entry."""


class PendingRevision(Model):
    """The revision being made while the portfolio keeps serving."""

    revision: Text
    phase: Text


class RunningCall(Model):
    """How far one training is, as it last told."""

    policy: Text
    step: int
    steps: int
    """Optimiser steps there will be."""
    rewards: list[Text] = Field(max_length=8)
    """Mean raw rewards of the last step, in the order of spec.rewards."""
    kl_per_token: Text | None = None
    """Divergence from the base policy per token; a diagnostic, not the KL of the objective."""
    tokens_per_second: Text | None = None
    left: Text | None = None
    """Until its training ends, at its present speed, as in 1h20m."""
    checkpoint_step: int | None = None
    """The step it would go on from if it were killed now; absent: it would begin again."""
    updated: Time


class PortfolioStatus(Model):
    """What the operator reports; written by nobody else."""

    observed_generation: int | None = None
    revision: Text | None = None
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    oracle_calls: OracleCalls | None = None
    progress: list[RunningCall] = Field(default_factory=list, max_length=16)
    """How far the trainings are that run, the longest first where there are more; looked at once
    per resync."""
    portfolio: DeployedPortfolio | None = None
    gateway: GatewayAddress | None = None
    """Absent while nothing is deployed, and where no gateway serves the namespace."""
    pending: PendingRevision | None = None
    revisions: list[DeployedRevision] = Field(default_factory=list, max_length=10)
    """The last deployments, the present one last; the record in S3 has them all."""
    record: RecordReference | None = None
