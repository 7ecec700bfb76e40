"""What a Portfolio may say about the Pods made for it."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from palm.contract import Model
from palm_operator.api.rules import LABEL_VALUE, keys_rule, rule, rules
from palm_operator.api.types import ObjectName

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
LabelValue = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE)]
AnnotationValue = Annotated[str, Field(max_length=4096)]


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


def gpus(template: PodTemplate) -> int:
    """Return how many GPUs a Pod's container has: its limits of resources such as a.vendor/gpu."""
    resources = template.resources
    given = {**(resources.requests or {}), **(resources.limits or {})} if resources else {}
    counts = [str(count) for name, count in given.items() if name.endswith("/gpu")]
    return sum(int(count) for count in counts if count.isdecimal())
