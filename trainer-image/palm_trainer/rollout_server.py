"""The vLLM server that samples on GPUs of its own, and is watched while a training asks it.

A training waits many minutes for a server that does not answer, for a large model takes as long to
load. One that has ended will never answer.
"""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from signal import SIGKILL

from palm.errors import PalmError
from palm_trainer.processes import end_process, how_it_ended


class ServerLost(PalmError):
    """The vLLM server ended before the training did."""


Lost = Callable[[], ServerLost | None]
"""Whether a training has lost what it needs."""


def nothing_to_lose() -> None:
    """Say that a training without a server has lost none."""


@contextmanager
def rollout_server(command: list[str], gpus: Sequence[str]) -> Iterator[Lost]:
    """Run the server as long as the context lasts; yield what says whether it has ended.

    Args:
        command: What starts it.
        gpus: Which GPUs it has.
    """
    # Its own session: a signal to this process's group must not end it before the checkpoint.
    server = subprocess.Popen(
        command,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(gpus)},
        start_new_session=True,
    )

    def lost() -> ServerLost | None:
        code = server.poll()
        return None if code is None else ServerLost(_sentence(code, gpus))

    try:
        yield lost
    finally:
        end_process(server)


def _sentence(code: int, gpus: Sequence[str]) -> str:
    """Return what happened and what to do; only the server's own lines say why."""
    where = f"GPU{'s' if len(gpus) > 1 else ''} {', '.join(gpus)}"
    remedy = (
        "the kernel's out-of-memory killer does that: raise resources.limits.memory of "
        "spec.training.template"
        if code == -SIGKILL
        else "its lines above say why; where its GPU memory is too small, more rollouts.gpus or a "
        "smaller maxCompletionTokens helps"
    )
    return (
        f"the vLLM server for rollouts ({where}) {how_it_ended(code)} before the training did: "
        f"{remedy}; rollouts.engine vLLMColocate or Transformers needs no server"
    )
