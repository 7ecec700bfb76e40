"""Named, timed stages of the demo, printed for people as they run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console


class DemoError(Exception):
    """The demo cannot go on; the message is the sentence the user reads."""


@dataclass
class Stages:
    """Prints what happens and remembers how long each stage took, in seconds."""

    console: Console
    seconds: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    @contextmanager
    def stage(self, name: str, sentence: str) -> Iterator[None]:
        """Time one stage; a failing stage is named."""
        self.console.print(f"[bold cyan]==>[/] [bold]{sentence}[/]")
        begin = time.monotonic()
        try:
            yield
        except DemoError as error:
            raise DemoError(f"{sentence}: {error}") from error
        self.seconds[name] = round(time.monotonic() - begin, 1)
        self.console.print(f"    done in {format_seconds(self.seconds[name])}", style="dim")

    def say(self, sentence: str) -> None:
        """Print one indented line of progress."""
        self.console.print(f"    {sentence}", highlight=False, markup=False, soft_wrap=True)

    @property
    def elapsed(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self.started


def format_seconds(seconds: float) -> str:
    """Return ``4.2 s`` or ``3 min 12 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
