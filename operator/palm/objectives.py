"""How an objective is computed: by a program, by a reward model, or by the user's own function.

Everything here but ``timeout_seconds`` determines a reward's values, and so is part of the digests
of policies and results.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from palm.schema import Model, Name

PLACEHOLDERS = re.compile(r"\{(prompt|response)\}")


class VerifiableReward(Model):
    """A reward computed by a program from the response and the prompt's reference answer."""

    type: Literal[
        "BrevityIfCorrect",
        "ArithmeticSteps",
        "Correct",
        "ExactMatch",
        "Regex",
        "Length",
        "ValidJSON",
    ]
    """BrevityIfCorrect: correct answers score 1 - length/maxTokens, wrong ones 0 (paper eq. 3).
    ArithmeticSteps: share of worked steps of the toy task that are valid. Correct: 1 where the last
    answer that the response names is the reference. ExactMatch: 1 where the whole response is the
    reference. Regex: 1 where pattern is found. Length: 1 - length/maxTokens. ValidJSON: 1 where the
    response is one JSON value, in a code fence or not."""
    max_tokens: int = Field(default=256, ge=1, le=1_000_000)
    """L_max of BrevityIfCorrect and Length, in tokens of the policy's tokenizer."""
    pattern: str | None = Field(default=None, min_length=1, max_length=1024)
    """Of Regex, in RE2 syntax: searched for in time linear in the response's length."""

    @property
    def needs_answer(self) -> bool:
        """Say whether every prompt must have a reference answer."""
        return self.type in ("BrevityIfCorrect", "Correct", "ExactMatch")

    @model_validator(mode="after")
    def _pattern_belongs_to_regex(self) -> Self:
        if (self.pattern is not None) != (self.type == "Regex"):
            raise ValueError(f"type is {self.type!r}; pattern belongs to Regex, which needs it")
        return self


class ModelReward(Model):
    """A reward given by a reward model, and how its inputs and outputs are to be read."""

    uri: str = Field(min_length=1, max_length=1024, pattern=r"^(s3|hf)://.+")
    """s3://bucket/prefix or hf://organization/name@revision."""
    architecture: Literal["SequenceClassification", "ScoreHead"] = "SequenceClassification"
    """ScoreHead: a base model with a linear score_head read at the last token (safe-rlhf)."""
    label_index: int = Field(default=0, ge=0, le=1023)
    """Which logit is the reward."""
    sign: Literal["Positive", "Negative"] = "Positive"
    """Negative turns a cost model into a reward."""
    template: Literal["Chat", "Pair", "Response", "Format"] = "Chat"
    """Chat: the reward model's chat template over prompt and response. Pair: tokenizer(prompt,
    response). Response: the response alone. Format: the text of ``format``."""
    format: str | None = Field(default=None, min_length=1, max_length=2048)
    """Of Format: a text with {prompt} and {response}. Of Pair: a text with {prompt}, its first
    part; omitted: the prompt. The prompt of a chat is its last message."""
    activation: Literal["None", "Sigmoid", "Softmax"] = "None"
    """Applied to the logits before labelIndex is read."""
    max_length: int = Field(default=1024, ge=8, le=131_072)
    """Longest input in tokens, or what the model can take if that is less."""
    truncation_side: Literal["Left", "Right"] = "Left"
    """Which end a longer input loses."""
    stop_strings: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = Field(
        default=(), max_length=8
    )
    """The response is cut before the first of them."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. The operator's settings must allow it."""

    @model_validator(mode="after")
    def _format_fits_its_template(self) -> Self:
        found = set(PLACEHOLDERS.findall(self.format or ""))
        needed: dict[str, set[str]] = {"Format": {"prompt", "response"}, "Pair": {"prompt"}}
        if self.template == "Format" and found != needed["Format"]:
            raise ValueError("template Format needs a format with {prompt} and {response}")
        if self.format is not None and found != needed.get(self.template):
            raise ValueError(
                "format belongs to template Format, with {prompt} and {response}, or Pair, with "
                f"{{prompt}}; template is {self.template!r}"
            )
        return self


class EntrypointReward(Model):
    """A reward that a Python function in the image of trainer and evaluator computes."""

    function: str = Field(
        min_length=3,
        max_length=256,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$",
    )
    """package.module:function, marked with palm_rewards.reward(version=…)."""
    version: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")
    """The version that the function must say of itself; another one is refused."""


class RewardFunction(Model):
    """One objective: exactly one of ``verifiable``, ``model`` and ``entrypoint``."""

    name: Name
    verifiable: VerifiableReward | None = None
    model: ModelReward | None = None
    entrypoint: EntrypointReward | None = None
    timeout_seconds: int = Field(default=600, ge=1, le=86_400)
    """Longest time that scoring a batch of at most 256 responses may take."""

    @model_validator(mode="after")
    def _exactly_one_kind(self) -> Self:
        kinds = (self.verifiable, self.model, self.entrypoint)
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError(
                f"reward {self.name!r} must have exactly one of verifiable, model and entrypoint"
            )
        return self
