"""The Portfolio resource as the API server stores it; ``crd.py`` turns these models into the CRD.

Decimals are strings, as the Kubernetes API conventions ask: ``"8/30"`` and ``"0.2667"`` are both
accepted. Descriptions are what ``kubectl explain portfolio.spec`` shows.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from palm.contract import (
    AdapterSettings,
    EvaluationSettings,
    Model,
    ModelReward,
    Name,
    PromptSource,
    RewardFunction,
    TrainingSettings,
    VerifiableReward,
)
from palm.rational import parse_decimal
from palm_operator.rules import (
    DECIMAL,
    LABEL_VALUE,
    NUMBER_LENGTH,
    OBJECT_NAME,
    SIGNED_DECIMAL,
    digits,
    keys_rule,
    number,
    number_rule,
    rule,
    rules,
    uri_rules,
)

GROUP = "palm-operator.dev"
VERSION = "v1alpha1"
KIND = "Portfolio"
PLURAL = "portfolios"
SHORT_NAME = "pfo"
API_VERSION = f"{GROUP}/{VERSION}"

MAX_NAME_LENGTH = 40
_MAX_REWARDS = 8
_MAX_EPISODES = 100_000_000
_MAX_BATCH = 65_536
_MAX_GROUP = 256
NAME_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"

Decimal = Annotated[str, Field(min_length=1, max_length=NUMBER_LENGTH, pattern=DECIMAL)]
SignedDecimal = Annotated[
    str, Field(min_length=1, max_length=NUMBER_LENGTH, pattern=SIGNED_DECIMAL)
]
Quantity = Annotated[
    str | int,
    Field(
        json_schema_extra={
            "x-kubernetes-int-or-string": True,
            "maxLength": 32,
            **rules(
                rule(
                    "type(self) == int ? self >= 0 : "
                    "isQuantity(string(self)) && !quantity(string(self)).isLessThan(quantity('0'))",
                    'must be a resource quantity of at least 0, such as 2, "500m" or "8Gi"',
                )
            ),
        }
    ),
]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=OBJECT_NAME)]
LabelValue = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE)]
AnnotationValue = Annotated[str, Field(max_length=4096)]
Text = Annotated[str, Field(max_length=253)]
"""Short text that the operator writes."""


class BaseModelSource(Model):
    """The model every policy starts from, and the reference of the KL divergence."""

    uri: str = Field(
        min_length=1,
        max_length=1024,
        pattern=r"^(s3|hf)://.+",
        json_schema_extra=rules(*uri_rules()),
    )
    """s3://bucket/prefix or hf://organization/name@revision, the revision a commit or a tag."""


class Prompts(Model):
    """Prompts to train on and prompts to judge on."""

    train: PromptSource = Field(json_schema_extra=rules(*uri_rules("self.uri", ".uri")))
    """JSONL in S3 that training samples prompts from."""
    evaluation: PromptSource = Field(json_schema_extra=rules(*uri_rules("self.uri", ".uri")))
    """JSONL in S3 that every policy is judged on."""


class RewardRange(Model):
    """The reward's known range; it fixes the reward's training units."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"!self.min.matches(r'{SIGNED_DECIMAL}') || !self.max.matches(r'{SIGNED_DECIMAL}')"
                f" || {number('self.min')} < {number('self.max')}",
                says="'min \"' + self.min + '\" must be less than max \"' + self.max + '\"'",
                field=".min",
            )
        )
    )

    min: SignedDecimal
    max: SignedDecimal


class Reward(Model):
    """One objective; its position is its coordinate in every weight vector."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.verifiable) != has(self.model)",
                says="'reward \"' + self.name + '\" has ' + "
                "(has(self.model) ? 'both' : 'neither') + "
                "'; it must have exactly one of verifiable and model'",
            )
        )
    )

    name: Name
    """Unique in the Portfolio; names the reward in results, tables and the status."""
    verifiable: VerifiableReward | None = None
    """A reward that a program computes."""
    model: ModelReward | None = Field(
        default=None, json_schema_extra=rules(*uri_rules("self.uri", ".uri"))
    )
    """A reward that a model gives."""
    range: RewardRange | None = None
    """Omitted: offset and scale are the mean and standard deviation over the base policy."""

    def function(self) -> RewardFunction:
        """Return what the images need to compute this reward."""
        return RewardFunction(name=self.name, verifiable=self.verifiable, model=self.model)


class Grid(Model):
    """CONSTRUCTGRID of Algorithm 1: which weight vectors are covered."""

    strategy: Literal["PALM"] = "PALM"
    """PALM: the geometric grid of the paper."""
    mu: Decimal = Field(
        json_schema_extra=rules(
            number_rule("({0} > 0.0 && {0} <= 1.0)", "must be greater than 0 and at most 1")
        )
    )
    """Multiplicative accuracy μ in (0, 1]: consecutive levels have ratio 1 + μ."""
    alpha: Decimal = Field(
        json_schema_extra=rules(
            number_rule("({0} > 0.0 && {0} <= 1.0)", "must be greater than 0 and at most 1")
        )
    )
    """Additive accuracy α in (0, 1]: the smallest positive level is at most α."""


class Search(Model):
    """Which weight vectors of the grid are trained."""

    mode: Literal["Grid"] = "Grid"
    """Grid: all of them, as in the paper."""
    max_oracle_calls: int = Field(default=100, ge=1, le=10_000)
    """A larger grid is refused before anything is created."""


class Pruning(Model):
    """PRUNE of Algorithm 1: when a policy covers a weight vector, and how covers are found."""

    mu: Decimal = Field(
        default="0.05",
        json_schema_extra=rules(number_rule("{} < 1.0", "must be at least 0 and less than 1")),
    )
    """Multiplicative tolerance μ', in [0, 1)."""
    alpha: Decimal = "0"
    """Additive tolerance α' in normalized reward units."""
    solver: Literal["Exact", "Greedy"] = "Exact"
    """Exact: the smallest cover, within a time limit. Greedy: a small one, at once."""


class Toleration(Model):
    """A pod toleration."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.key) || (has(self.operator) && self.operator == 'Exists')",
                "must have operator Exists when key is left out (it tolerates every taint)",
                field=".key",
            ),
            rule(
                "!has(self.value) || !has(self.operator) || self.operator != 'Exists'",
                says="'\"' + self.value + '\" must be left out when operator is Exists'",
                field=".value",
            ),
            rule(
                "!has(self.tolerationSeconds) || has(self.effect) && self.effect == 'NoExecute'",
                "needs effect NoExecute",
                field=".tolerationSeconds",
            ),
        )
    )

    key: str | None = Field(default=None, max_length=317)
    operator: Literal["Exists", "Equal"] | None = None
    value: str | None = Field(default=None, max_length=63)
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = Field(default=None, ge=0)


class EnvironmentVariable(Model):
    """A plain environment variable; secrets belong into ``envFromSecrets``."""

    name: str = Field(
        min_length=1,
        max_length=128,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        json_schema_extra=rules(
            rule(
                "!self.startsWith('PALM_') && !self.startsWith('AWS_')",
                "must not start with PALM_ or AWS_: the operator sets those (from storage.s3)",
            )
        ),
    )
    value: str = Field(default="", max_length=4096)


class Resources(Model):
    """Container resources."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.requests) || !has(self.limits) || self.requests.all(k, "
                "!(k in self.limits) || !isQuantity(string(self.requests[k])) || "
                "!isQuantity(string(self.limits[k])) || quantity(string(self.requests[k]))"
                ".compareTo(quantity(string(self.limits[k]))) <= 0)",
                "a request must not exceed the limit of the same resource",
                field=".requests",
            )
        )
    )

    requests: dict[str, Quantity] | None = Field(default=None, max_length=16)
    limits: dict[str, Quantity] | None = Field(default=None, max_length=16)


class PodTemplate(Model):
    """What a Portfolio may say about the Pods made for it."""

    image: str | None = Field(default=None, min_length=1, max_length=512, pattern=r"^\S+$")
    """Defaults to the operator's setting."""
    resources: Resources | None = None
    node_selector: dict[str, LabelValue] | None = Field(
        default=None, max_length=32, json_schema_extra=rules(*keys_rule(reserved=False))
    )
    tolerations: list[Toleration] | None = Field(default=None, max_length=32)
    service_account_name: ObjectName | None = None
    priority_class_name: ObjectName | None = None
    runtime_class_name: ObjectName | None = None
    image_pull_secrets: list[ObjectName] | None = Field(default=None, max_length=8)
    """Names of Secrets with registry credentials."""
    env: list[EnvironmentVariable] | None = Field(
        default=None,
        max_length=64,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    env_from_secrets: list[ObjectName] | None = Field(default=None, max_length=8)
    """Names of Secrets whose keys become environment variables (a model hub's token, say)."""
    labels: dict[str, LabelValue] | None = Field(
        default=None, max_length=32, json_schema_extra=rules(*keys_rule(reserved=True))
    )
    annotations: dict[str, AnnotationValue] | None = Field(
        default=None, max_length=32, json_schema_extra=rules(*keys_rule(reserved=True))
    )


class Adapter(AdapterSettings):
    """What is trained: a LoRA adapter of some rank, or every parameter."""


class Training(Model):
    """How one oracle call trains the policy of one weight vector."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.batchSize % self.completionsPerPrompt == 0",
                says=f"{digits('self.batchSize', _MAX_BATCH)} + ' must be a multiple of "
                f"completionsPerPrompt, ' + {digits('self.completionsPerPrompt', _MAX_GROUP)}",
                field=".batchSize",
            ),
            rule(
                "self.episodes >= self.batchSize",
                says=f"{digits('self.episodes', _MAX_EPISODES)} + ' must be at least batchSize, '"
                f" + {digits('self.batchSize', _MAX_BATCH)} + ': steps = episodes / batchSize'",
                field=".episodes",
            ),
        )
    )

    algorithm: Literal["GRPO"] = "GRPO"
    kl_coefficient: Decimal = "0.01"
    """β of the KL penalty."""
    adapter: Adapter = Adapter()
    """LoRA of some rank, or Full."""
    episodes: int = Field(default=40_000, ge=1, le=_MAX_EPISODES)
    """Sampled responses in total; optimiser steps = episodes / batchSize."""
    batch_size: int = Field(default=48, ge=2, le=_MAX_BATCH)
    """Responses per optimiser step; a multiple of completionsPerPrompt."""
    completions_per_prompt: int = Field(default=4, ge=2, le=_MAX_GROUP)
    """G: responses sampled per prompt."""
    max_completion_tokens: int = Field(default=256, ge=1, le=131_072)
    """Longest response, in training and in evaluation."""
    learning_rate: Decimal = Field(
        default="0.0000005",
        json_schema_extra=rules(
            number_rule("({0} > 0.0 && {0} <= 1.0)", "must be greater than 0 and at most 1")
        ),
    )
    seed: int = Field(default=0, ge=0, le=2_147_483_647)
    parallelism: int = Field(default=4, ge=1, le=1_000)
    """Jobs at once, training and evaluation together."""
    backoff_limit: int = Field(default=2, ge=0, le=100)
    """Retries of one Job before its oracle call counts as failed."""
    queue_name: str | None = Field(
        default=None, min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
    )
    """LocalQueue of Kueue."""
    template: PodTemplate = PodTemplate()

    def settings(self) -> TrainingSettings:
        """Return what determines a policy, without what only decides where and when it runs."""
        return TrainingSettings(
            algorithm=self.algorithm,
            kl_coefficient=float(parse_decimal(self.kl_coefficient)),
            adapter=AdapterSettings(type=self.adapter.type, rank=self.adapter.rank),
            episodes=self.episodes,
            learning_rate=float(parse_decimal(self.learning_rate)),
            completions_per_prompt=self.completions_per_prompt,
            batch_size=self.batch_size,
            max_completion_tokens=self.max_completion_tokens,
            seed=self.seed,
        )


class Evaluation(Model):
    """How a policy's reward vector is estimated."""

    engine: Literal["Auto", "vLLM", "Transformers"] = "Auto"
    """Auto: vLLM where the image has it."""
    samples_per_prompt: int = Field(default=4, ge=1, le=1024)
    seed: int = Field(default=0, ge=0, le=2_147_483_647)
    template: PodTemplate = PodTemplate()

    def settings(self, max_completion_tokens: int) -> EvaluationSettings:
        """Return what determines a result file."""
        return EvaluationSettings(
            engine=self.engine,
            samples_per_prompt=self.samples_per_prompt,
            max_completion_tokens=max_completion_tokens,
            seed=self.seed,
        )


class SecretReference(Model):
    """A Secret of the Portfolio's namespace."""

    name: ObjectName


class S3(Model):
    """An S3 location."""

    bucket: str = Field(
        min_length=3,
        max_length=63,
        pattern=r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$",
        json_schema_extra=rules(rule("!self.contains('..')", 'must not contain ".."')),
    )
    prefix: str = Field(
        default="portfolios",
        max_length=512,
        pattern=r"^[A-Za-z0-9._/=-]*$",
        json_schema_extra=rules(
            rule("!self.contains('..')", 'must not contain "..": S3 keys have no parent folders'),
            rule(
                "!self.startsWith('/') && !self.endsWith('/') && !self.contains('//')",
                'must not start or end with "/" nor contain "//"',
            ),
        ),
    )
    """Portfolios that share a prefix share policies."""
    endpoint: str = Field(
        default="",
        max_length=512,
        pattern=r"^(https?://[^/\s?#]+)?$",
        json_schema_extra=rules(
            rule(
                "!self.contains('@')",
                "must not contain credentials; name a Secret in credentialsSecret",
            ),
            rule(
                "self == '' || self.contains('@') || "
                "(isURL(self) && url(self).getHostname() != '')",
                "must be http:// or https:// with a host and perhaps a port",
            ),
        ),
    )
    """Empty: AWS. Others must be allowed by the operator's settings."""
    region: str = Field(default="", max_length=64, pattern=r"^[a-z0-9-]*$")
    credentials_secret: SecretReference | None = None
    """Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the Jobs; omitted: their
    ServiceAccount's identity."""


class Storage(Model):
    """Where every artefact and result lives."""

    s3: S3


class Serving(Model):
    """How survivors are published."""

    mode: Literal["PerPolicy", "None"] = "PerPolicy"
    """PerPolicy: one InferenceService each. None: prune and report only."""
    max_policies: int = Field(default=8, ge=1, le=64)
    """A larger cover is not published."""
    runtime: ObjectName | None = None
    """ServingRuntime to pin; omitted: KServe chooses by model format."""
    template: PodTemplate = PodTemplate()


def _repeated_reward() -> str:
    """Return CEL for the quoted name of a reward that is not the only one of that name."""
    name = "''"
    for i in reversed(range(_MAX_REWARDS)):
        alone = f"self.exists_one(s, s.name == self[{i}].name)"
        name = f"(self.size() > {i} && !{alone} ? self[{i}].name : {name})"
    return f"'\"' + {name} + '\"'"


class PortfolioSpec(Model):
    """What the user asks for."""

    base_model: BaseModelSource
    prompts: Prompts
    rewards: list[Reward] = Field(
        min_length=2,
        max_length=_MAX_REWARDS,
        json_schema_extra={
            # Atomic: the order is the order of the weight vector's coordinates.
            "x-kubernetes-list-type": "atomic",
            **rules(
                rule(
                    "self.all(r, self.exists_one(s, s.name == r.name))",
                    says=_repeated_reward() + " + ' is there more than once; names are unique'",
                )
            ),
        },
    )
    """The objectives, in the order of the weight vectors' coordinates."""
    grid: Grid
    search: Search = Search()
    pruning: Pruning = Pruning()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    storage: Storage
    serving: Serving = Serving()


class Condition(Model):
    """A Kubernetes condition."""

    type: str = Field(max_length=316)
    status: Literal["True", "False", "Unknown"]
    reason: str = Field(max_length=1024)
    message: str = Field(max_length=32_768)
    observed_generation: int | None = None
    last_transition_time: Annotated[
        str, Field(max_length=64, json_schema_extra={"format": "date-time"})
    ]


class OracleCalls(Model):
    """How far training and evaluation are; one oracle call per weight vector of the grid."""

    planned: int = 0
    running: int = 0
    succeeded: int = 0
    """Trained and evaluated."""
    failed: int = 0
    reused: int = 0
    """Of the succeeded: found in S3 although this Portfolio has no Job for them."""
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
    """Name of its InferenceService."""
    url: str | None = Field(default=None, max_length=2048)
    ready: bool = False


class Guarantee(Model):
    """How far from optimal a preference can be, with the scope in which that is true."""

    epsilon: Text
    """Largest relative shortfall from the best policy observed."""
    delta: Text
    """Largest absolute shortfall in normalized reward units."""
    scope: Literal["Grid"]
    """Grid: over the weight vectors of the grid."""
    proven: bool
    """The cover is proven to be the smallest."""


class ManifestReference(Model):
    """The full ledger in S3."""

    uri: str = Field(max_length=2048)
    sha256: Text


class DeployedPortfolio(Model):
    """What is deployed now."""

    revision: Text
    size: int
    policies: list[DeployedPolicy] = Field(max_length=64)
    guarantee: Guarantee
    manifest: ManifestReference


class PendingRevision(Model):
    """The revision being made while the portfolio keeps serving."""

    revision: Text
    phase: Text


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
    portfolio: DeployedPortfolio | None = None
    pending: PendingRevision | None = None


class ObjectMeta(Model):
    """The part of the metadata the operator reads."""

    model_config = ConfigDict(extra="ignore")

    name: str
    namespace: str
    uid: str
    generation: int = 1
    resource_version: str = ""
    deletion_timestamp: str | None = None
    annotations: dict[str, str] = Field(default_factory=dict)


class Portfolio(Model):
    """A Portfolio object read from the API server."""

    model_config = ConfigDict(extra="ignore")

    metadata: ObjectMeta
    spec: PortfolioSpec
    status: PortfolioStatus = PortfolioStatus()


def parse_portfolio(body: Any) -> Portfolio:
    """Parse an object from the API server.

    Raises:
        pydantic.ValidationError: A field is not as the CRD promises, e.g. after a CRD downgrade.
    """
    return Portfolio.model_validate(body)
