"""What a Portfolio says about training: how one oracle call makes the policy of a weight vector."""

from typing import Literal

from pydantic import ConfigDict, Field

from palm.contract import AdapterSettings, Execution, Model, TrainingSettings
from palm.rational import parse_decimal
from palm_operator.api.nodes import MOST_NODES, node_rules
from palm_operator.api.pods import PodTemplate, gpus
from palm_operator.api.rules import digits, number_rule, rule, rules
from palm_operator.api.types import Decimal, Duration
from palm_operator.times import duration

_MAX_EPISODES = 100_000_000
_MAX_BATCH = 65_536
_MAX_GROUP = 256
_MAX_SECONDS = 31_536_000


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
