"""What goes wrong, as exit codes and one sentence on standard error.

The codes are part of the interface: 0 the answer is there and is good, 1 `validate` found faults,
2 the question cannot be answered as put (usage, bad input), 3 the answer is there and is "no"
(uncovered, not certified), 4 the cluster, a gateway or a policy does not answer or refuses.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from palm.errors import PalmError

OK = 0
FAULTS = 1
BAD_INPUT = 2
NOT_GRANTED = 3
UNAVAILABLE = 4
INTERRUPTED = 130

EXIT_CODES = """Exit codes: 0 done; 1 `validate` found faults; 2 wrong usage or input, with file,
field, value and rule on standard error; 3 done, and the answer is no (see the command); 4
the cluster, a gateway or a policy does not answer, or refuses; 130 interrupted."""


class InvalidInput(PalmError):
    """An argument or a file is not as the command needs it: what, which value, which rule."""


class NotGranted(PalmError):
    """What was asked for cannot be had from this input: no cover, no certificate."""


class Unavailable(PalmError):
    """The cluster, a gateway or a policy does not answer, or refuses: who, and what to do."""


@contextmanager
def failures() -> Iterator[None]:
    """Turn what may go wrong into one sentence and an exit code."""
    try:
        yield
    except NotGranted as error:
        _end(str(error), NOT_GRANTED)
    except Unavailable as error:
        _end(str(error), UNAVAILABLE)
    except BrokenPipeError:
        # The reader has gone (`palm … | head`); the interpreter must not try to flush to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(OK) from None
    except (PalmError, ValueError, OSError) as error:
        _end(str(error), BAD_INPUT)
    except MemoryError:
        _end("not enough memory for this input", BAD_INPUT)
    except KeyboardInterrupt:
        _end("interrupted", INTERRUPTED)


def warn(sentence: str) -> None:
    """Say something on standard error that does not stop the command."""
    print(f"warning: {sentence}", file=sys.stderr)


def _end(sentence: str, code: int) -> None:
    print(f"error: {sentence}", file=sys.stderr)
    raise typer.Exit(code) from None
