"""The end of child processes: asked for, then enforced, so that none holds a GPU or this one."""

import os
import signal
import subprocess
from contextlib import suppress

GRACE = 30.0
"""Seconds between SIGTERM and SIGKILL."""


def end_process(process: "subprocess.Popen[bytes]", *, grace: float = GRACE) -> None:
    """End a process that leads a session of its own, with all of its process group.

    Args:
        process: The process; it may have ended already.
        grace: Seconds that it has to end by itself.
    """
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=grace)
    # What it has left behind, too: an engine's processes keep their GPU's memory.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def how_it_ended(returncode: int) -> str:
    """Return how a process ended, for people: ``ended with exit code 1``."""
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    try:
        return f"was ended by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was ended by signal {-returncode}"
