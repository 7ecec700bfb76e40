"""Exit codes of the images: a contract with the operator's pod failure policy.

They follow ``sysexits.h`` where it has a name for it. 42 is what images of 0.1.0 said for 64 and
65; the operator still understands it.

====  ===============  =========================================================================
code  name             what happened, and what is done
====  ===============  =========================================================================
0     DONE             done, or found done
64    INVALID_REQUEST  the request, or a model or setting that it names, cannot be used; not retried
65    INVALID_DATA     the prompts cannot be used, or an evaluation's log-probabilities or rewards
                       are not finite; not retried
70    FAILED           anything unforeseen; retried, a training from its last checkpoint
71    NO_RESOURCES     out of memory (GPU or host, caught) or disk; retried, but rather mend it
75    UNAVAILABLE      S3 or the network does not answer, or only an error; retried
143   INTERRUPTED      SIGTERM: a training has written a checkpoint first; retried
137   (SIGKILL)        the kernel's out-of-memory killer, or a grace period that ran out; retried
====  ===============  =========================================================================
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a Job of the images ended."""

    DONE = 0
    INVALID_REQUEST = 64
    INVALID_DATA = 65
    FAILED = 70
    NO_RESOURCES = 71
    UNAVAILABLE = 75
    KILLED = 137
    INTERRUPTED = 143


FORMERLY_INVALID = 42
"""What images of 0.1.0 ended with where a second try cannot help."""

NOT_RETRIED = (FORMERLY_INVALID, ExitCode.INVALID_REQUEST, ExitCode.INVALID_DATA)
"""Trying again does not help."""
