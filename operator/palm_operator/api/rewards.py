"""What a Portfolio says about its objectives."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from palm.contract import (
    EntrypointReward,
    Model,
    ModelReward,
    Name,
    RewardFunction,
    VerifiableReward,
)
from palm.presets import PRESETS, PresetName
from palm_operator.api.rules import SIGNED_DECIMAL, number, rule, rules, uri_rules
from palm_operator.api.types import SignedDecimal

_OWN_FIELDS = {"uri", "preset"}


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


_OF_FORMAT = [n for n, p in PRESETS.items() if p.settings.get("template") == "Format"]
_OF_PAIR = [n for n, p in PRESETS.items() if p.settings.get("template") == "Pair"]
_TEMPLATE = (
    "(has(self.template) ? self.template : !has(self.preset) ? 'Chat' : "
    f"self.preset in {_OF_FORMAT} ? 'Format' : self.preset in {_OF_PAIR} ? 'Pair' : 'Response')"
)


class RewardModel(Model):
    """A reward model; what is left out is the preset's, else a sequence classifier's of one label.

    Presets for the paper's reward models, with their licenses: docs/rewards.md.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"has(self.format) || {_TEMPLATE} != 'Format' || "
                f"(has(self.preset) && self.preset in {_OF_FORMAT})",
                "template Format needs a format with {prompt} and {response}",
                field=".template",
            ),
            rule(
                f"!has(self.format) || {_TEMPLATE} in ['Format', 'Pair'] && "
                "self.format.contains('{prompt}') && "
                f"self.format.contains('{{response}}') == ({_TEMPLATE} == 'Format')",
                "belongs to template Format, with {prompt} and {response}, or Pair, with {prompt}",
                field=".format",
            ),
        )
    )

    uri: str = Field(min_length=1, max_length=1024, pattern=r"^(s3|hf)://.+")
    """s3://bucket/prefix or hf://organization/name@revision."""
    preset: PresetName | None = None
    """How one of the paper's reward models is read; fields beside it win."""
    architecture: Literal["SequenceClassification", "ScoreHead"] | None = None
    """ScoreHead: a base model with a linear score_head read at the last token (safe-rlhf)."""
    label_index: int | None = Field(default=None, ge=0, le=1023)
    """Which logit is the reward; 0."""
    sign: Literal["Positive", "Negative"] | None = None
    """Negative turns a cost model into a reward; Positive."""
    template: Literal["Chat", "Pair", "Response", "Format"] | None = None
    """Chat: the reward model's chat template over prompt and response (the default). Pair:
    tokenizer(prompt, response). Response: the response alone. Format: the text of format."""
    format: str | None = Field(default=None, min_length=1, max_length=2048)
    """Of Format: a text with {prompt} and {response}. Of Pair: a text with {prompt}, its first
    part; omitted: the prompt. The prompt of a chat is its last message."""
    activation: Literal["None", "Sigmoid", "Softmax"] | None = None
    """Applied to the logits before labelIndex is read; None."""
    max_length: int | None = Field(default=None, ge=8, le=131_072)
    """Longest input in tokens, or what the model can take if that is less; 1024."""
    truncation_side: Literal["Left", "Right"] | None = None
    """Which end a longer input loses; Left."""
    stop_strings: list[Annotated[str, Field(min_length=1, max_length=64)]] | None = Field(
        default=None, max_length=8
    )
    """The response is cut before the first of them."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model; refused unless the operator's settings allow
    it."""

    def resolved(self) -> ModelReward:
        """Return how the model is read, with nothing left open."""
        settings = dict(PRESETS[self.preset].settings) if self.preset else {}
        if self.template not in (None, settings.get("template")):
            settings.pop("format", None)
        given = {n: value for n, value in self if n not in _OWN_FIELDS and value is not None}
        return ModelReward.model_validate({"uri": self.uri, **settings, **given})


_KINDS = " + ".join(f"(has(self.{n}) ? 1 : 0)" for n in ("verifiable", "model", "entrypoint"))


class Reward(Model):
    """One objective; its position is its coordinate in every weight vector."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"{_KINDS} == 1",
                says="'reward \"' + self.name + '\" must have exactly one of verifiable, model and "
                f"entrypoint; it has ' + ({_KINDS} == 0 ? 'none' : 'several')",
            )
        )
    )

    name: Name
    """Unique in the Portfolio; names the reward in results, tables and the status."""
    verifiable: VerifiableReward | None = Field(
        default=None,
        json_schema_extra=rules(
            rule(
                "has(self.pattern) == (self.type == 'Regex')",
                "belongs to type Regex, which needs it",
                field=".pattern",
            ),
            rule(
                # An error of matches() is a pattern that is none.
                "!has(self.pattern) || ''.matches(self.pattern) || !''.matches(self.pattern)",
                "must be a regular expression in RE2 syntax",
                field=".pattern",
            ),
        ),
    )
    """A reward that a program computes."""
    model: RewardModel | None = Field(
        default=None, json_schema_extra=rules(*uri_rules("self.uri", ".uri"))
    )
    """A reward that a model gives."""
    entrypoint: EntrypointReward | None = None
    """A reward that a Python function in the image of trainer and evaluator computes."""
    timeout_seconds: int = Field(default=600, ge=1, le=86_400)
    """Longest time that scoring a batch of at most 256 responses may take."""
    range: RewardRange | None = None
    """Omitted: offset and scale are the mean and standard deviation over the base policy."""

    def function(self) -> RewardFunction:
        """Return what the images need to compute this reward."""
        return RewardFunction(
            name=self.name,
            verifiable=self.verifiable,
            model=self.model.resolved() if self.model else None,
            entrypoint=self.entrypoint,
            timeout_seconds=self.timeout_seconds,
        )
