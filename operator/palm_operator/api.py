"""The Portfolio resource as the API server stores it; ``crd.py`` turns these models into the CRD.

Its larger parts are ``api_grid`` (what is covered), ``api_oracle``, ``api_rewards``,
``api_nodes``, ``api_evaluation``, ``api_serving``, ``api_failures``, ``api_pods`` and
``api_status``.

Decimals are strings, as the Kubernetes API conventions ask: ``"8/30"`` and ``"0.2667"`` are both
accepted. Descriptions are what ``kubectl explain portfolio.spec`` shows.
"""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from palm.contract import (
    AdapterSettings,
    Execution,
    Model,
    PromptSource,
    TrainingSettings,
)
from palm.rational import parse_decimal
from palm_operator.api_evaluation import Evaluation
from palm_operator.api_failures import FailurePolicy
from palm_operator.api_grid import MOST_WEIGHT_VECTORS, Grid, Pruning, Search
from palm_operator.api_nodes import MOST_NODES, node_rules
from palm_operator.api_oracle import Oracle, oracle_rules
from palm_operator.api_pods import PodTemplate, gpus
from palm_operator.api_rewards import Reward
from palm_operator.api_serving import Serving
from palm_operator.api_status import PortfolioStatus
from palm_operator.api_types import ClassName, Decimal, Duration, ObjectName
from palm_operator.rules import digits, number_rule, prompt_rules, rule, rules, uri_rules
from palm_operator.times import duration

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
_MAX_SECONDS = 31_536_000
NAME_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"


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

    train: PromptSource = Field(json_schema_extra=rules(*prompt_rules()))
    """What training samples prompts from."""
    evaluation: PromptSource = Field(json_schema_extra=rules(*prompt_rules()))
    """What every policy is judged on."""


class Adapter(AdapterSettings):
    """What is trained: a LoRA adapter of some rank, or every parameter."""


class Rollouts(Model):
    """What samples the responses that training learns from."""

    engine: Literal["Auto", "Transformers", "vLLMColocate", "vLLMServer"] = "Auto"
    """Auto: vLLM on the training GPUs where the image has it, else Transformers. vLLMServer: vLLM
    on GPUs of its own."""
    gpus: int = Field(default=1, ge=1, le=64)
    """Of the Pod's GPUs, those of the vLLM server; the others train."""


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
            rule(
                "self.aggregation != 'NormalizeThenSum' || self.algorithm == 'GRPO'",
                says="'\"' + self.aggregation + '\" needs algorithm GRPO, not ' + self.algorithm",
                field=".aggregation",
            ),
            rule(
                "self.advantageScale != 'Group' || self.algorithm == 'GRPO'",
                says="'\"' + self.advantageScale + '\" needs algorithm GRPO, not ' + "
                "self.algorithm",
                field=".advantageScale",
            ),
            *node_rules(most_responses=_MAX_BATCH),
        )
    )

    algorithm: Literal["GRPO", "RLOO"] = "GRPO"
    """GRPO: advantages against the group's mean, KL in the loss. RLOO: against the mean of the
    group's others, KL in the reward."""
    aggregation: Literal["SumThenNormalize", "NormalizeThenSum"] = "SumThenNormalize"
    """SumThenNormalize: the weighted sum of rewards makes the advantage, which is what policies are
    judged by. NormalizeThenSum: each reward is divided by its spread in the group first (GRPO)."""
    reward_normalization: Literal["Fixed", "BatchMinMax"] = "Fixed"
    """Fixed: one affine map per reward for all policies. BatchMinMax: each batch's rewards from 0
    to 1, as in the paper's appendix B.2."""
    advantage_scale: Literal["None", "Group", "Batch"] = "None"
    """What advantages are divided by: nothing, which keeps the objective that policies are judged
    by, or the standard deviation of the group (GRPO) or batch."""
    learning_rate_schedule: Literal["Constant", "Linear", "Cosine"] = "Constant"
    """Constant, or falling to 0 at the end."""
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
    active_deadline_seconds: int | None = Field(default=None, ge=1, le=_MAX_SECONDS)
    """How long a training Job may run, retries included; then it has failed. Time in a queue does
    not count."""
    pending_deadline_seconds: int | None = Field(default=None, ge=1, le=_MAX_SECONDS)
    """How long a Job, of training or evaluation, may wait to run (queued, unschedulable, image not
    to be had); then its oracle call counts as failed. It stays queued and goes on when it can."""
    checkpoint_interval: Duration = "10m"
    """Between two checkpoints in S3, which a killed training goes on from; 0s: only when the Pod is
    told to end."""
    nodes: int = Field(default=1, ge=1, le=MOST_NODES)
    """Pods, each on its own node's GPUs, that train one policy together. More than one: a JobSet
    instead of a Job, which the cluster must have (jobset.x-k8s.io)."""
    sharding: Literal["None", "ZeRO2", "ZeRO3", "FSDP"] = "None"
    """How several training GPUs share the model: not at all, DeepSpeed ZeRO, or PyTorch's FSDP."""
    rollouts: Rollouts = Rollouts()
    template: PodTemplate = PodTemplate()

    def settings(self) -> TrainingSettings:
        """Return what determines a policy, without what only decides where and when it runs."""
        return TrainingSettings(
            algorithm=self.algorithm,
            aggregation=self.aggregation,
            reward_normalization=self.reward_normalization,
            advantage_scale=self.advantage_scale,
            learning_rate_schedule=self.learning_rate_schedule,
            kl_coefficient=float(parse_decimal(self.kl_coefficient)),
            adapter=AdapterSettings(type=self.adapter.type, rank=self.adapter.rank),
            episodes=self.episodes,
            learning_rate=float(parse_decimal(self.learning_rate)),
            completions_per_prompt=self.completions_per_prompt,
            batch_size=self.batch_size,
            max_completion_tokens=self.max_completion_tokens,
            seed=self.seed,
        )

    def execution(self) -> Execution:
        """Return how it is run: one training process per GPU that does not only sample."""
        sampling = self.rollouts.gpus if self.rollouts.engine == "vLLMServer" else 0
        return Execution(
            processes=max(1, gpus(self.template) - sampling),
            nodes=self.nodes,
            sharding=self.sharding,
            rollouts=self.rollouts.engine,
            rollout_gpus=self.rollouts.gpus,
            checkpoint_seconds=duration(self.checkpoint_interval).total_seconds() or None,
        )


class SecretReference(Model):
    """A Secret of the Portfolio's namespace."""

    name: ObjectName


class S3(Model):
    """An S3 location; bucket and prefix are immutable, as what a Portfolio has is found there."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *(
                rule(
                    f"self.{field} == oldSelf.{field}",
                    says=f"'\"' + self.{field} + '\" was \"' + oldSelf.{field} + '\" and is "
                    "immutable: policies, results and records are found there; "
                    "make another Portfolio for another place'",
                    field=f".{field}",
                )
                for field in ("bucket", "prefix")
            )
        )
    )

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


def _repeated_reward() -> str:
    """Return CEL for the quoted name of a reward that is not the only one of that name."""
    name = "''"
    for i in reversed(range(_MAX_REWARDS)):
        alone = f"self.exists_one(s, s.name == self[{i}].name)"
        name = f"(self.size() > {i} && !{alone} ? self[{i}].name : {name})"
    return f"'\"' + {name} + '\"'"


class PortfolioSpec(Model):
    """What the user asks for."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.search.maxOracleCalls >= self.rewards.size()",
                says=f"{digits('self.search.maxOracleCalls', MOST_WEIGHT_VECTORS)} + "
                "' must be at least the number of rewards: a policy is trained for each alone'",
                field=".search.maxOracleCalls",
            ),
            rule(
                "!has(self.grid.weights) || "
                "self.grid.weights.all(w, w.size() == self.rewards.size())",
                "each weight vector must have one entry per reward",
                field=".grid.weights",
            ),
            rule(
                "self.serving.mode != 'SharedAdapters' || self.training.adapter.type == 'LoRA'",
                says="'\"' + self.serving.mode + '\" needs spec.training.adapter.type LoRA: "
                "full models share no server'",
                field=".serving.mode",
            ),
            *oracle_rules(),
            rule(
                "has(self.operatorClass) == has(oldSelf.operatorClass) && "
                "(!has(self.operatorClass) || self.operatorClass == oldSelf.operatorClass)",
                "is immutable: make another Portfolio for another operator; what is in S3 is not "
                "trained again",
                field=".operatorClass",
            ),
        )
    )

    operator_class: ClassName | None = None
    """Whose operator looks after it, where a cluster has several; omitted: the one without a
    class. Immutable."""
    base_model: BaseModelSource
    prompts: Prompts
    rewards: list[Reward] = Field(
        min_length=2,
        max_length=_MAX_REWARDS,
        json_schema_extra={
            # Not atomic: two managers who apply the same list without the entries' defaults would
            # conflict. An applied list keeps its order, the order of the coordinates.
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
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
    oracle: Oracle = Oracle()
    search: Search = Search()
    pruning: Pruning = Pruning()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    storage: Storage
    serving: Serving = Serving()
    failure_policy: FailurePolicy = FailurePolicy()
    retention_policy: Literal["Retain", "Delete"] = "Retain"
    """Of what S3 has of it when the Portfolio is deleted. Retain: all stays, and the same Portfolio
    again costs nothing. Delete: what no other Portfolio uses is deleted first, for which the
    finalizer palm-operator.dev/purge waits; the record of what was deployed when stays."""
    suspend: bool = False
    """Nothing new is made: no Job starts, Jobs that run are suspended and continue from their
    checkpoints once it is false again, and no other portfolio is published. What is deployed goes
    on serving."""


class ObjectMeta(Model):
    """The part of the metadata the operator reads."""

    model_config = ConfigDict(extra="ignore")

    name: str
    namespace: str
    uid: str
    generation: int = 1
    resource_version: str = ""
    creation_timestamp: str | None = None
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
