"""How the policies of a portfolio are published, and how one portfolio takes another's place."""

from typing import Literal

from pydantic import ConfigDict, Field

from palm.contract import Model
from palm_operator.api.pods import PodTemplate
from palm_operator.api.rules import rule, rules
from palm_operator.api.types import Duration, ObjectName


class Pin(Model):
    """A deployment to go back to; ``palm rollback`` fills it in from status.revisions."""

    revision: str = Field(min_length=8, max_length=8, pattern=r"^[0-9a-f]{8}$")
    """Its revision."""
    sha256: str = Field(min_length=64, max_length=64, pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of its manifest in S3; nothing else is published."""


class Serving(Model):
    """How survivors are published."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.minReplicas > 0 || self.deploymentMode == 'Knative'",
                "0 must be at least 1 where deploymentMode is not Knative",
                field=".minReplicas",
            )
        )
    )

    mode: Literal["PerPolicy", "SharedAdapters", "None"] = "PerPolicy"
    """PerPolicy: one InferenceService each. SharedAdapters: one server with every policy's LoRA
    adapter. None: prune and report only."""
    max_policies: int = Field(default=8, ge=1, le=64)
    """Most policies that are published; the operator's own ceiling may be lower."""
    on_exceeded: Literal["Hold", "BestEffort"] = "Hold"
    """Where the smallest cover has more. Hold: what serves goes on serving, and a condition says
    what so few could reach. BestEffort: the best set of so few is published, and GuaranteeHeld is
    False with what it is worth."""
    min_replicas: int = Field(default=1, ge=0, le=100)
    """Servers per policy, or of the shared set; 0 (scale to zero) needs deploymentMode Knative."""
    rollout: Literal["BlueGreen", "Recreate"] = "BlueGreen"
    """How a portfolio takes the place of another. BlueGreen: the whole new one is started beside
    the old one, which serves until every new policy answers. Recreate: policy by policy, an old
    server goes and a new one comes, never more than the larger portfolio has; for clusters without
    spare GPUs."""
    pin: Pin | None = None
    """Publishes exactly this earlier portfolio, without training. What later specs ask for is
    trained and decided as ever, and published once the pin is removed."""
    retire_after: Duration = "30s"
    """How long the old servers stay up after the switch, for requests on their way. With rollout
    Recreate only what is left at the end."""
    strategy: Literal["RollingUpdate", "Recreate"] = "RollingUpdate"
    """How one server's own Pods are replaced when it changes. RollingUpdate: the new ones first,
    which needs room for one more. Recreate: the old ones stop first, which needs no spare GPU and
    leaves a gap."""
    deployment_mode: Literal["Standard", "Knative"] = Field(
        default="Standard",
        json_schema_extra=rules(
            rule("self == oldSelf", "is immutable: KServe refuses to change it")
        ),
    )
    """KServe's way to run servers. Standard: Deployments. Knative: Knative Services."""
    runtime: ObjectName | None = None
    """ServingRuntime to pin; omitted: KServe chooses by model format."""
    template: PodTemplate = PodTemplate()
