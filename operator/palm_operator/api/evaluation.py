"""What a Portfolio says about the evaluation of its policies."""

from typing import Literal

from pydantic import ConfigDict, Field

from palm.contract import EvaluationSettings, Model
from palm.evaluations import Precision
from palm.rational import parse_decimal
from palm_operator.api.pods import PodTemplate
from palm_operator.api.rules import digits, number_rule, rule, rules
from palm_operator.api.types import Decimal

_MOST_SAMPLES = 1024


class EvaluationPrecision(Model):
    """Sample until the means are exact enough."""

    standard_error: Decimal = Field(
        json_schema_extra=rules(number_rule("{0} > 0.0", "must be greater than 0"))
    )
    """Largest standard error of any mean in training units: of a reward with a range, as a share
    of it, else in standard deviations of the base policy; the KL term counts as klCoefficient·KL.
    Prompts differ too: where more samples cannot reach it, the evaluator says so and stops."""
    max_samples_per_prompt: int = Field(default=64, ge=1, le=_MOST_SAMPLES)
    """Where it ends even so."""


class Evaluation(Model):
    """How a policy's reward vector is estimated."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.precision) || "
                "self.precision.maxSamplesPerPrompt >= self.samplesPerPrompt",
                says=f"{digits('self.precision.maxSamplesPerPrompt', _MOST_SAMPLES)} + "
                "' must be at least samplesPerPrompt, ' + "
                f"{digits('self.samplesPerPrompt', _MOST_SAMPLES)}",
                field=".precision.maxSamplesPerPrompt",
            ),
            rule(
                "self.decoding != 'Greedy' || (self.samplesPerPrompt == 1 && !has(self.precision))",
                "Greedy has one response per prompt: set samplesPerPrompt to 1 and no precision",
                field=".decoding",
            ),
        )
    )

    engine: Literal["Auto", "vLLM", "Transformers"] = "Auto"
    """Auto: vLLM where the image has it."""
    decoding: Literal["Sampling", "Greedy"] = "Sampling"
    """Sampling: at temperature 1 from the whole distribution, each response with a seed of its own
    that all policies share. Greedy: the likeliest token every time; the KL term is then left out of
    what policies are worth (paper B.3)."""
    samples_per_prompt: int = Field(default=4, ge=1, le=_MOST_SAMPLES)
    precision: EvaluationPrecision | None = None
    """Sample more than samplesPerPrompt where the means are not exact enough."""
    confidence: Decimal = Field(
        default="0.95",
        json_schema_extra=rules(
            number_rule("({0} >= 0.5 && {0} < 1.0)", "must be at least 0.5 and less than 1")
        ),
    )
    """Of the guarantee, whose sampling error is bounded with it; it starts no Job."""
    seed: int = Field(default=0, ge=0, le=2_147_483_647)
    active_deadline_seconds: int | None = Field(default=None, ge=1, le=31_536_000)
    """How long an evaluation Job may run, retries included; then it has failed."""
    template: PodTemplate = PodTemplate()

    def settings(self, max_completion_tokens: int) -> EvaluationSettings:
        """Return what determines a result file."""
        return EvaluationSettings(
            engine=self.engine,
            decoding=self.decoding,
            samples_per_prompt=self.samples_per_prompt,
            max_completion_tokens=max_completion_tokens,
            seed=self.seed,
            precision=self._precision(),
        )

    def _precision(self) -> Precision | None:
        if self.precision is None:
            return None
        return Precision(
            standard_error=float(parse_decimal(self.precision.standard_error)),
            max_samples_per_prompt=self.precision.max_samples_per_prompt,
        )
