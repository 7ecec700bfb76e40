"""What every benchmark prints: medians, next to a bound or a peer measured in the same run."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy

_REPEATS = 7


def seconds(work: Callable[[], object]) -> float:
    """Return the median processor time of a few runs, in seconds.

    It is the wall time of what runs on one thread, unless others want the processor too.
    """
    times = []
    for _ in range(_REPEATS):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return statistics.median(times)


def line(
    name: str, measured: float, bound_name: str, bound: float, *, goal: float | None = None
) -> None:
    """Print one comparison of times in seconds: how many times the bound, and the goal."""
    aim = ""
    if goal is not None:
        aim = f"goal < {_shown(goal)}: {'kept' if measured < goal else 'MISSED'}, "
    print(
        f"{name}: {_shown(measured)} ({aim}{measured / bound:.1f} x the {_shown(bound)} of "
        f"{bound_name}; {machine()})",
        flush=True,
    )


def machine() -> str:
    """Return what the figures depend on."""
    model = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.exists():
        names = [row for row in described.read_text().splitlines() if row.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    return (
        f"{model}, {os.cpu_count()} cores, BLAS threads {threads}, numpy {np.__version__}, "
        f"scipy {scipy.__version__}"
    )


def _shown(value: float) -> str:
    return f"{1e3 * value:.1f} ms" if value < 1 else f"{value:.2f} s"
