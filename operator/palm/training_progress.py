"""What a training leaves in S3 while it runs: how far it is, and what it can go on from.

Both are written by the trainer. The operator reads the progress, with suspicion, and never the
checkpoints: what a training goes on from is its own business.
"""

from typing import Annotated, Literal

from pydantic import Field

from palm.contract import Digest, Model, Name

MAX_PROGRESS_BYTES = 64 * 1024

Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class TrainingProgress(Model):
    """How far a training is; one small object, replaced again and again."""

    schema_version: Literal[1] = 1
    policy: str = Field(max_length=253)
    policy_digest: Digest
    step: int = Field(ge=0)
    """Optimiser steps taken."""
    steps: int = Field(ge=1)
    """Optimiser steps there will be."""
    rewards: dict[Name, float] = Field(max_length=16)
    """Mean raw reward per objective over the last logged step."""
    kl_per_token: float | None = None
    """Divergence from the base policy per token, as the algorithm measures it; a diagnostic: the
    KL of a whole response is the evaluation's to estimate."""
    tokens_per_second: float | None = Field(default=None, ge=0)
    """Tokens of prompts and responses, since the process began to train."""
    seconds_left: float | None = Field(default=None, ge=0)
    checkpoint_step: int | None = Field(default=None, ge=0)
    """The step that a killed training would go on from; None: it would begin again."""
    updated: Time


class Checkpoint(Model):
    """The commit marker of a checkpoint: written last, its existence means "complete"."""

    schema_version: Literal[1] = 1
    policy_digest: Digest
    step: int = Field(ge=1)
    files: dict[str, Sha256] = Field(min_length=1, max_length=10_000)
    """File name below the checkpoint's folder -> SHA-256."""
    inputs: dict[Annotated[str, Field(max_length=1200)], Sha256] = Field(
        default_factory=dict, max_length=32
    )
    """What the training reads -> SHA-256 of what was there; empty of an image that did not say."""
    layout: str = Field(max_length=253)
    """How the training was spread over processes; only the same layout can read the files."""
    seconds: float = Field(ge=0)
    """Wall time of the training loop so far, of all its runs."""
    written: Time
