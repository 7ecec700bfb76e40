"""What a Job's last exit code is for people; the contract itself is ``palm.exit_codes``."""

from dataclasses import dataclass
from typing import Literal

from palm.exit_codes import FORMERLY_INVALID, ExitCode

Why = Literal["Failed", "InvalidRequest", "InvalidData", "OutOfMemory", "DeadlineExceeded",
              "NeverStarted", "Evicted"]  # fmt: skip

OUT_OF_MEMORY = ExitCode.KILLED


@dataclass(frozen=True)
class Meaning:
    """What an exit code says.

    Attributes:
        why: Ends the reason of the condition.
        what: What happened, after "ended with exit code 64, ".
        remedy: What a person can do.
    """

    why: Why
    what: str
    remedy: str


_REQUEST = Meaning(
    "InvalidRequest",
    "its request, or what the request names, cannot be used: no second try would help",
    "correct what the last line of its log names",
)
_PROGRAM = Meaning(
    "Failed",
    "an error of the program",
    "look at its log",
)
_MEANINGS: dict[int, Meaning] = {
    FORMERLY_INVALID: _REQUEST,
    ExitCode.INVALID_REQUEST: _REQUEST,
    ExitCode.INVALID_DATA: Meaning(
        "InvalidData",
        "its prompts, or numbers of its policy or a reward, cannot be used: no second try would "
        "help",
        "correct the data that the last line of its log names",
    ),
    ExitCode.FAILED: _PROGRAM,
    ExitCode.NO_RESOURCES: Meaning(
        "OutOfMemory",
        "out of memory, of the GPU or the host, or of disk",
        "give it more of what its log names, in resources of spec.{section}.template",
    ),
    ExitCode.UNAVAILABLE: Meaning(
        "Failed",
        "trouble with S3 or the network that lasted through every retry",
        "see whether its Pods reach S3, with credentials that may read and write there",
    ),
    OUT_OF_MEMORY: Meaning(
        "OutOfMemory",
        "killed for want of memory",
        "raise resources.limits.memory in spec.{section}.template",
    ),
    ExitCode.INTERRUPTED: Meaning(
        "Failed",
        "stopped by SIGTERM more often than it is retried",
        "see what stops its Pods; training continues from its last checkpoint",
    ),
}


def meaning(code: int) -> Meaning:
    """Return what an exit code other than 0 means."""
    return _MEANINGS.get(code, _PROGRAM)
