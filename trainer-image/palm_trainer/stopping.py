"""SIGTERM while a training runs: noted at once, obeyed at the end of the step.

The note is a file, because the processes of ``accelerate launch`` do not get the Pod's signal.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class StopRequest:
    """Whether somebody asked for the end."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __bool__(self) -> bool:
        return self._path.exists()

    def make(self) -> None:
        """Ask for the end."""
        self._path.touch()


@contextmanager
def sigterm_noted(request: StopRequest) -> Iterator[None]:
    """Note SIGTERM instead of ending at once."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: request.make())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
