"""Training on several GPUs, of one node or more: ``accelerate launch`` and its configurations."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from palm.contract import Execution
from palm.errors import PalmError
from palm.exit_codes import ExitCode
from palm_store.job import Ended, Interrupted, InvalidRequest
from palm_trainer.arguments import VLLM_PORT, Rollouts
from palm_trainer.machines import Machine
from palm_trainer.processes import end_process
from palm_trainer.rollout_server import Lost, nothing_to_lose
from palm_trainer.workplace import Trained, Workplace

CONFIGURATIONS = Path(__file__).with_name("configurations")
_FILES = {
    "None": "replicas.yaml",
    "ZeRO2": "zero2.yaml",
    "ZeRO3": "zero3.yaml",
    "FSDP": "fsdp.yaml",
}
_POLL = 0.5
_LAUNCHERS_GRACE = 40.0  # torch's launcher gives its own processes 30 s
_MAY_BE_THE_SERVERS = (ExitCode.FAILED, ExitCode.UNAVAILABLE)
"""What a process says of a server that does not answer, among others."""
# Nodes start apart: one may have to fetch the image first.
_PATIENCE = ("--rdzv_conf", "timeout=1800")


class ProcessLost(PalmError):
    """A training process ended without saying why."""


def chosen_rollouts(execution: Execution, *, has_vllm: bool, has_gpu: bool) -> Rollouts:
    """Return what samples responses.

    Raises:
        InvalidRequest: vLLM is wanted and not installed, or there is no GPU for it.
    """
    wanted = execution.rollouts
    usable = has_vllm and has_gpu
    if wanted == "Auto":
        return "vLLMColocate" if usable else "Transformers"
    if wanted != "Transformers" and not usable:
        lacks = "this image has no vLLM" if not has_vllm else "there is no GPU"
        raise InvalidRequest(f"rollouts {wanted} are wanted, but {lacks}")
    return wanted


def check_sharding(execution: Execution, *, has_deepspeed: bool) -> None:
    """Refuse a sharding that this image cannot do.

    Raises:
        InvalidRequest: It needs DeepSpeed, and that is not installed.
    """
    if execution.sharding.startswith("ZeRO") and not has_deepspeed:
        raise InvalidRequest(
            f"sharding {execution.sharding} is wanted, but this image has no DeepSpeed"
        )


def installed(package: str) -> bool:
    """Say whether a package can be imported, without doing it."""
    return find_spec(package) is not None


def is_launched(execution: Execution) -> bool:
    """Say whether a training takes more processes than this one."""
    return execution.all_processes > 1


def launch_command(
    execution: Execution, place: Workplace, machine: Machine, *, has_gpu: bool
) -> list[str]:
    """Return the command that trains with one process per GPU, on each of the nodes.

    Without GPUs (a try on CPU), the same processes run on the CPU and keep float32.
    """
    worker = ["-m", "palm_trainer.worker", str(place.folder)]
    if not has_gpu:
        # accelerate starts several processes on CPUs by MPI only.
        count = ["--nproc_per_node", str(execution.processes)]
        nodes = _torch_nodes(machine) or ["--standalone"]
        return [sys.executable, "-m", "torch.distributed.run", *nodes, *count, *worker]
    return [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--config_file",
        str(CONFIGURATIONS / _FILES[execution.sharding]),
        "--num_processes",
        str(execution.all_processes),
        *_accelerate_nodes(machine),
        *worker,
    ]


def _accelerate_nodes(machine: Machine) -> list[str]:
    if machine.count == 1:
        return []
    return [
        "--num_machines",
        str(machine.count),
        "--machine_rank",
        str(machine.index),
        "--main_process_ip",
        machine.host,
        "--main_process_port",
        str(machine.port),
        *_PATIENCE,
    ]


def _torch_nodes(machine: Machine) -> list[str]:
    if machine.count == 1:
        return []
    return [
        "--nnodes",
        str(machine.count),
        "--node_rank",
        str(machine.index),
        "--master_addr",
        machine.host,
        "--master_port",
        str(machine.port),
        *_PATIENCE,
    ]


def server_command(execution: Execution, place: Workplace, *, longest: int) -> list[str]:
    """Return the command of the vLLM server that samples on GPUs of its own.

    Args:
        execution: How the training is run.
        place: Where its base model lies.
        longest: The most tokens of a prompt with its response.
    """
    return [
        sys.executable,
        "-m",
        "trl.scripts.vllm_serve",
        "--model",
        str(place.base),
        "--host",
        "127.0.0.1",
        "--port",
        str(VLLM_PORT),
        "--tensor_parallel_size",
        str(execution.rollout_gpus),
        "--max_model_len",
        str(longest),
    ]


def gpu_split(execution: Execution, visible: list[str]) -> tuple[list[str], list[str]]:
    """Return the GPUs that train and those that sample: the last ones, where a server has some.

    Raises:
        InvalidRequest: There are fewer GPUs than that takes.
    """
    sampling = execution.rollout_gpus if execution.rollouts == "vLLMServer" else 0
    needed = execution.processes + sampling
    if len(visible) < needed:
        raise InvalidRequest(
            f"{execution.processes} training processes and {sampling} GPUs for rollouts need "
            f"{needed} GPUs; this container has {len(visible)}"
        )
    return visible[: execution.processes], visible[execution.processes : needed]


def launched(
    command: list[str],
    place: Workplace,
    environment: Mapping[str, str],
    lost: Lost = nothing_to_lose,
) -> Trained:
    """Run a launch to its end and return what came of it.

    Args:
        command: What launches the processes.
        place: Where they find what to do, and leave what came of it.
        environment: What they get beside this process's own.
        lost: Whether the server that they ask has ended; then they are stopped.

    Raises:
        Ended: A process said why it gave up.
        ProcessLost: One did not.
        ServerLost: The server that they ask has ended.
        Interrupted: The end was asked for before the processes had met.
    """
    # Its own session: a signal to this process's group must not end it before its checkpoint.
    process = subprocess.Popen(command, env={**os.environ, **environment}, start_new_session=True)
    try:
        while process.poll() is None:
            time.sleep(_POLL)
            if place.stop and not place.has_begun:
                raise Interrupted("interrupted by SIGTERM before the training began")
            if lost():
                break
    finally:
        end_process(process, grace=_LAUNCHERS_GRACE)
    if (outcome := place.outcome()) is not None and process.returncode == 0:
        return outcome
    failure = place.failure()
    if (gone := lost()) and (failure is None or failure.code in _MAY_BE_THE_SERVERS):
        raise gone
    if failure:
        raise Ended(failure.code, failure.message)
    raise ProcessLost(
        f"a training process ended with {process.returncode} and did not say why; where the "
        "kernel's out-of-memory killer ended it, a smaller batchSize or a larger memory limit helps"
    )
