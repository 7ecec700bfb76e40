"""What a Portfolio says about the oracle: what answers a weight vector with a policy."""

from typing import Any, Literal

from palm.contract import Model
from palm_operator.api.rules import rule


class Oracle(Model):
    """What answers a weight vector with a policy."""

    type: Literal["FineTune", "MOD"] = "FineTune"
    """FineTune: a training for each weight vector. MOD (paper B.3): only the policies of the single
    rewards are trained; that of another weight vector is mixed of them at decoding and costs an
    evaluation. No stock server can serve it: the survivors of pruning are fine-tuned and evaluated
    before they are published, and what is guaranteed is guaranteed of those."""


def oracle_rules() -> tuple[dict[str, Any], ...]:
    """Return the rules of what goes with an oracle; they stand on the spec."""
    return (
        rule(
            "self.oracle.type != 'MOD' || self.evaluation.engine != 'vLLM'",
            says="'\"' + self.evaluation.engine + '\" does not go with spec.oracle.type MOD: vLLM "
            "samples from one model, and a mixture is of several; set Auto or Transformers'",
            field=".evaluation.engine",
        ),
        rule(
            "self.oracle.type != 'MOD' || "
            "!self.training.klCoefficient.matches(r'^0(\\.0+|/[0-9]+)?$')",
            says="'\"' + self.training.klCoefficient + '\" does not go with spec.oracle.type MOD: "
            "mixing is right for policies that were trained with a KL penalty; set more than 0'",
            field=".training.klCoefficient",
        ),
    )
