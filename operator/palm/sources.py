"""What trainer and evaluator both read: prompts, adapters, the place of artefacts."""

from typing import Literal

from pydantic import Field

from palm.schema import Model


class PromptSource(Model):
    """Prompts: JSON lines or Parquet, one prompt per row, all texts or all chat messages."""

    uri: str = Field(min_length=1, max_length=1024, pattern=r"^(s3|hf)://.+")
    """s3://bucket/key or hf://datasets/organization/name@revision/path; a * in the last part stands
    for any part of a file's name."""
    limit: int | None = Field(default=None, ge=1, le=1_000_000)
    """Use only the first so many prompts."""
    prompt_column: str = Field(default="prompt", min_length=1, max_length=128)
    """Which column has the prompt: a text, or a list of messages with role and content."""
    answer_column: str = Field(default="answer", min_length=1, max_length=128)
    """Which column has the reference answer that verifiable rewards compare with."""


class StorageLocation(Model):
    """Where artefacts live; credentials come from the environment, never from here."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""


class AdapterSettings(Model):
    """What is trained: a LoRA adapter of some rank, or every parameter."""

    type: Literal["LoRA", "Full"] = "LoRA"
    rank: int = Field(default=16, ge=1, le=512)
    """Rank of the adapter; ignored for Full."""
