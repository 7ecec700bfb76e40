"""What is launched on several GPUs. No GPU was at hand: commands and files are checked here."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from palm.contract import Execution
from palm.exit_codes import ExitCode
from palm_store.job import Ended, Interrupted, InvalidRequest, code_of
from palm_trainer import launch
from palm_trainer.machines import Machine, this_machine
from palm_trainer.workplace import Failure, Trained, Workplace

ALONE = Machine()
SECOND = Machine(index=1, count=2, host="a-n-0-0.a", port=29500)


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def command(
    place: Workplace, *, has_gpu: bool = True, machine: Machine = ALONE, **execution: Any
) -> list[str]:
    return launch.launch_command(Execution(**execution), place, machine, has_gpu=has_gpu)


def value(arguments: list[str], flag: str) -> str:
    return arguments[arguments.index(flag) + 1]


@pytest.mark.parametrize(
    ("sharding", "kind", "stage"),
    [
        ("None", "MULTI_GPU", None),
        ("ZeRO2", "DEEPSPEED", 2),
        ("ZeRO3", "DEEPSPEED", 3),
        ("FSDP", "FSDP", None),
    ],
)
def test_the_sharding_chooses_the_configuration(
    place: Workplace, sharding: Any, kind: str, stage: int | None
) -> None:
    arguments = command(place, processes=4, sharding=sharding)
    assert value(arguments, "--num_processes") == "4"
    chosen = yaml.safe_load(Path(value(arguments, "--config_file")).read_text())
    assert (chosen["distributed_type"], chosen["mixed_precision"]) == (kind, "bf16")
    assert chosen.get("deepspeed_config", {}).get("zero_stage") == stage


def test_on_a_cpu_there_is_neither_sharding_nor_half_precision(place: Workplace) -> None:
    arguments = command(place, has_gpu=False, processes=2, sharding="ZeRO3")
    assert value(arguments, "--nproc_per_node") == "2"
    assert "--config_file" not in arguments


@pytest.mark.parametrize("sharding", ["None", "ZeRO2", "ZeRO3", "FSDP"])
def test_each_node_starts_its_share_of_the_processes_and_meets_at_the_first(
    place: Workplace, sharding: Any
) -> None:
    arguments = command(place, machine=SECOND, nodes=2, processes=4, sharding=sharding)
    assert value(arguments, "--num_processes") == "8"
    assert value(arguments, "--num_machines") == "2"
    assert value(arguments, "--machine_rank") == "1"
    assert value(arguments, "--main_process_ip") == "a-n-0-0.a"
    assert value(arguments, "--main_process_port") == "29500"


def test_the_same_on_cpus(place: Workplace) -> None:
    arguments = command(place, has_gpu=False, machine=SECOND, nodes=2, processes=3)
    assert "--standalone" not in arguments
    assert value(arguments, "--nnodes") == "2"
    assert value(arguments, "--nproc_per_node") == "3"
    assert value(arguments, "--node_rank") == "1"
    assert value(arguments, "--master_addr") == "a-n-0-0.a"
    assert value(arguments, "--master_port") == "29500"


@pytest.mark.model
def test_accelerate_starts_the_share_of_one_node(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What accelerate makes of the command: its own parser and translation to torch's launcher."""
    from accelerate.commands import launch as accelerates
    from accelerate.utils.launch import prepare_multi_gpu_env

    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    arguments = command(place, machine=SECOND, nodes=2, processes=4)
    parsed = accelerates.launch_command_parser().parse_args(arguments[3:])
    found, _, _ = accelerates._validate_launch_command(parsed)
    prepare_multi_gpu_env(found)
    assert found.multi_gpu
    assert (found.nnodes, found.node_rank, found.nproc_per_node) == ("2", 1, "4")
    assert found.rdzv_endpoint == "a-n-0-0.a:29500"
    assert (found.rdzv_backend, found.rdzv_conf) == ("static", "timeout=1800")


def test_one_node_is_launched_as_ever(place: Workplace) -> None:
    assert "--num_machines" not in command(place, processes=4)
    assert not launch.is_launched(Execution())
    assert launch.is_launched(Execution(nodes=2))


NODES = {"JOB_COMPLETION_INDEX": "1", "PALM_MAIN_ADDRESS": "a-n-0-0.a:29500"}


def test_a_node_knows_itself_by_what_kubernetes_and_the_operator_say() -> None:
    assert this_machine(Execution(nodes=2), NODES) == SECOND
    assert this_machine(Execution(), NODES) == ALONE


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"JOB_COMPLETION_INDEX": "2"}, "is '2'; of 2 nodes"),
        ({"JOB_COMPLETION_INDEX": ""}, "is ''; of 2 nodes"),
        ({"PALM_MAIN_ADDRESS": "a"}, "must be host:port"),
        ({"PALM_MAIN_ADDRESS": "a:b"}, "must be host:port"),
    ],
)
def test_a_node_that_does_not_know_itself_is_refused(wrong: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        this_machine(Execution(nodes=2), NODES | wrong)


@pytest.mark.model
@pytest.mark.parametrize("path", sorted(launch.CONFIGURATIONS.glob("*.yaml")), ids=lambda p: p.stem)
def test_accelerate_takes_the_configuration(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    assert load_config_from_file(str(path)).num_machines == 1


def test_the_server_samples_on_the_last_gpus(place: Workplace) -> None:
    execution = Execution(processes=3, rollouts="vLLMServer", rollout_gpus=1)
    assert launch.gpu_split(execution, ["0", "1", "2", "3"]) == (["0", "1", "2"], ["3"])
    arguments = launch.server_command(execution, place, longest=700)
    assert value(arguments, "--model") == str(place.base)
    assert value(arguments, "--host") == "127.0.0.1"
    assert value(arguments, "--tensor_parallel_size") == "1"
    assert value(arguments, "--max_model_len") == "700"


@pytest.mark.model
def test_trl_takes_the_servers_command(place: Workplace) -> None:
    from trl.scripts.vllm_serve import build_command, make_parser

    execution = Execution(processes=3, rollouts="vLLMServer", rollout_gpus=2)
    arguments = launch.server_command(execution, place, longest=700)[3:]
    (parsed,) = make_parser().parse_args_into_dataclasses(arguments)
    command = build_command(parsed)
    assert str(place.base) in command
    assert value(command, "--max-model-len") == "700"
    assert value(command, "--tensor-parallel-size") == "2"


def test_colocated_rollouts_leave_every_gpu_to_the_training() -> None:
    execution = Execution(processes=2, rollouts="vLLMColocate")
    assert launch.gpu_split(execution, ["0", "1"]) == (["0", "1"], [])


def test_too_few_gpus_are_refused() -> None:
    execution = Execution(processes=3, rollouts="vLLMServer", rollout_gpus=2)
    with pytest.raises(InvalidRequest, match="need 5 GPUs; this container has 4"):
        launch.gpu_split(execution, ["0", "1", "2", "3"])


@pytest.mark.parametrize(
    ("wanted", "has_vllm", "has_gpu", "chosen"),
    [
        ("Auto", True, True, "vLLMColocate"),
        ("Auto", False, True, "Transformers"),
        ("Auto", True, False, "Transformers"),
        ("Transformers", True, True, "Transformers"),
        ("vLLMServer", True, True, "vLLMServer"),
    ],
)
def test_vllm_samples_where_it_can(wanted: Any, has_vllm: bool, has_gpu: bool, chosen: str) -> None:
    execution = Execution(rollouts=wanted)
    assert launch.chosen_rollouts(execution, has_vllm=has_vllm, has_gpu=has_gpu) == chosen


@pytest.mark.parametrize(
    ("has_vllm", "has_gpu", "says"), [(False, True, "no vLLM"), (True, False, "no GPU")]
)
def test_vllm_that_cannot_be_had_is_refused(has_vllm: bool, has_gpu: bool, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        launch.chosen_rollouts(
            Execution(rollouts="vLLMColocate"), has_vllm=has_vllm, has_gpu=has_gpu
        )


def test_sharding_without_deepspeed_is_refused() -> None:
    launch.check_sharding(Execution(sharding="FSDP"), has_deepspeed=False)
    with pytest.raises(InvalidRequest, match="ZeRO3 is wanted, but this image has no DeepSpeed"):
        launch.check_sharding(Execution(sharding="ZeRO3"), has_deepspeed=False)


def run(place: Workplace, program: str) -> Trained:
    return launch.launched([sys.executable, "-c", program, str(place.folder)], place, {})


def test_a_launch_returns_what_the_first_process_said(place: Workplace) -> None:
    done = Trained(finished=True, steps=3, seconds=1.0, final_rewards={"a": 0.5})
    place.put_outcome(done)
    assert run(place, "") == done


def test_the_first_process_that_gives_up_says_how_the_job_ends(place: Workplace) -> None:
    place.put_failure(Failure(ExitCode.NO_RESOURCES, "CUDA out of memory"))
    place.put_failure(Failure(ExitCode.FAILED, "connection closed by peer"))
    with pytest.raises(Ended, match="CUDA out of memory") as caught:
        run(place, "raise SystemExit(1)")
    assert code_of(caught.value) == 71


def test_a_process_that_vanishes_is_said_to(place: Workplace) -> None:
    with pytest.raises(launch.ProcessLost, match="ended with -9"):
        run(place, "import os; os.kill(os.getpid(), 9)")


def test_an_outcome_of_a_launch_that_failed_is_not_believed(place: Workplace) -> None:
    place.put_outcome(Trained(finished=True, steps=3, seconds=1.0, final_rewards={}))
    with pytest.raises(launch.ProcessLost):
        run(place, "raise SystemExit(1)")


def test_the_launched_process_outlives_the_signal_of_its_launcher(place: Workplace) -> None:
    """It is told by the file; the signal goes to a process group that it is not in."""
    program = "import os, sys; sys.exit(0 if os.getsid(0) == os.getpid() else 1)"
    place.put_outcome(Trained(finished=False, steps=1, seconds=1.0, final_rewards={}))
    assert not run(place, program).finished


def test_nodes_that_have_not_met_end_at_once(place: Workplace) -> None:
    place.stop.make()
    with pytest.raises(Interrupted, match="before the training began"):
        run(place, "import time; time.sleep(60)")


def test_worker_and_server_are_programs() -> None:
    for module in ("accelerate.commands.launch", "palm_trainer.worker"):
        found = subprocess.run(
            [sys.executable, "-c", f"import importlib.util as u; assert u.find_spec('{module}')"],
            check=False,
        )
        assert found.returncode == 0
