"""Objects that are to be written to S3, as values."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ObjectWrite:
    """An object to be written to S3."""

    key: str
    content: bytes
    if_absent: bool = False
    """Whether an object that is there already stays, and is as good."""
    exclusive: bool = False
    """Whether one that is there already means that the plan is outdated."""
    claims: bool = False
    """It says what is relied on. What was found before it was there is looked at again: a purge of
    others could not know."""
