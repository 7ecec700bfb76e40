"""Stops recorded containers without an agent: orphans, and everything when a cluster ends."""

import signal
import time
from pathlib import Path

from palm_devcluster.node.records import ContainerRecord

_POLL_S = 0.05
_KILL_S = 10.0


def stop_containers(folder: Path, grace: float) -> int:
    """Stop every container below ``folder`` (a Pod, or a node's root).

    Args:
        folder: Where ``containers/<name>/<attempt>`` lie at any depth.
        grace: Seconds between SIGTERM and SIGKILL.

    Returns:
        How many were running.

    Raises:
        TimeoutError: A container did not end although it was killed.
    """
    records = [ContainerRecord(path) for path in folder.glob("**/containers/*") if path.is_dir()]
    running = [(record, number) for record in records for number in record.numbers()]
    running = [(record, number) for record, number in running if record.attempt(number).alive]
    _signal_until_ended(running, signal.SIGTERM, grace)
    left = _signal_until_ended(running, signal.SIGUSR1, _KILL_S)
    if left:
        raise TimeoutError(f"{left[0][0].folder}: still running {_KILL_S:g} s after SIGKILL")
    return len(running)


def _signal_until_ended(
    running: list[tuple[ContainerRecord, int]], which: signal.Signals, seconds: float
) -> list[tuple[ContainerRecord, int]]:
    deadline = time.monotonic() + seconds
    asked: set[tuple[ContainerRecord, int]] = set()
    left = running
    while left := [(record, number) for record, number in left if record.attempt(number).alive]:
        for key in left:
            if key not in asked and key[0].signal(key[1], which):
                asked.add(key)
        if time.monotonic() >= deadline:
            break
        time.sleep(_POLL_S)
    return left
