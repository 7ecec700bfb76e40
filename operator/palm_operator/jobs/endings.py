"""Which of several nodes' Pods knows why their training failed. Pure.

The first to fail takes the others with it: they only say that somebody does not answer any more.
"""

from collections.abc import Sequence

from palm.exit_codes import NOT_RETRIED, ExitCode
from palm_operator.jobs.job_pods import Ending

_CODES = (
    *NOT_RETRIED, ExitCode.NO_RESOURCES, ExitCode.UNAVAILABLE, ExitCode.KILLED, ExitCode.FAILED,
    ExitCode.INTERRUPTED,
)  # fmt: skip


def most_telling(endings: Sequence[Ending]) -> Ending:
    """Return the ending that explains the others; of equal ones the last.

    Args:
        endings: Of the Pods of one try, at least one.
    """
    return min(reversed(endings), key=_rank)


def _rank(ending: Ending) -> int:
    if ending.reason == "OOMKilled":
        return 0
    return _CODES.index(ending.exit_code) if ending.exit_code in _CODES else len(_CODES)
