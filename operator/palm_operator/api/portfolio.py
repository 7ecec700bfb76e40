"""The Portfolio resource as the API server stores it; ``crd`` turns these models into the CRD.

Its larger parts are the modules beside this one.

Decimals are strings, as the Kubernetes API conventions ask: ``"8/30"`` and ``"0.2667"`` are both
accepted. Descriptions are what ``kubectl explain portfolio.spec`` shows.
"""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from palm.contract import Model, PromptSource
from palm_operator.api.evaluation import Evaluation
from palm_operator.api.failures import FailurePolicy
from palm_operator.api.grid import MOST_WEIGHT_VECTORS, Grid, Pruning, Search
from palm_operator.api.oracle import Oracle, oracle_rules
from palm_operator.api.rewards import Reward
from palm_operator.api.rules import digits, prompt_rules, rule, rules, uri_rules
from palm_operator.api.serving import Serving
from palm_operator.api.status import PortfolioStatus
from palm_operator.api.storage import Storage
from palm_operator.api.training import Training
from palm_operator.api.types import ClassName

GROUP = "palm-operator.dev"
VERSION = "v1alpha1"
KIND = "Portfolio"
PLURAL = "portfolios"
SHORT_NAME = "pfo"
API_VERSION = f"{GROUP}/{VERSION}"

MAX_NAME_LENGTH = 40
_MAX_REWARDS = 8
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
