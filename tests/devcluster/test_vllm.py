"""vLLM as a local runtime: when a machine can have it, and how a container's words reach it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from palm_devcluster.vllm import environment
from palm_devcluster.vllm.environment import obstacle
from palm_devcluster.vllm.server import command, vllm_arguments

WORDS = [
    "--model_name=assistant",
    "--model_dir=/mnt/models",
    "--host=127.0.0.2",
    "--model_name=base",
    "--model_dir=/mnt/models/base",
    "--enable-lora",
    "--max-loras=2",
    "--lora-modules",
    "a=/mnt/models/a",
    "b=/mnt/models/b",
]


def test_without_the_cpu_build_of_torch_the_reason_names_the_variable():
    assert "UV_FIND_LINKS is not set" in str(obstacle({}))


def test_a_folder_without_the_wheel_is_named(tmp_path):
    assert f"UV_FIND_LINKS is {tmp_path}" in str(obstacle({"UV_FIND_LINKS": str(tmp_path)}))


@pytest.mark.parametrize("separator", [",", " "])
def test_the_wheel_in_any_of_the_places_is_enough(tmp_path, separator):
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl").touch()
    assert obstacle({"UV_FIND_LINKS": f"/nonexistent{separator}{tmp_path}"}) is None


def test_what_the_operator_says_wins_and_adapters_pass_through():
    words = vllm_arguments(WORDS)
    assert {"--model=/mnt/models/base", "--served-model-name=base", "--host=127.0.0.2"} < set(words)
    assert words[-3:] == ["--lora-modules", "a=/mnt/models/a", "b=/mnt/models/b"]


def test_a_half_made_environment_is_not_used(tmp_path):
    made = environment.folder(tmp_path) / "bin" / "python"
    made.parent.mkdir(parents=True)
    made.touch()
    argv, reason = command(WORDS, tmp_path)
    assert reason
    assert argv[0] == sys.executable
    (environment.folder(tmp_path) / "complete").touch()
    argv, reason = command(WORDS, tmp_path)
    assert (argv[0], reason) == (str(made), "")


def test_a_machine_without_vllm_says_so_and_is_no_failure(tmp_path):
    left = {k: v for k, v in os.environ.items() if k != "UV_FIND_LINKS"}
    done = subprocess.run(
        [sys.executable, "-m", "palm_devcluster.vllm"],
        env={**left, "PALM_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "no vLLM: UV_FIND_LINKS is not set" in done.stderr
    assert not list(Path(tmp_path).glob("vllm-*"))
