"""A vLLM server for rollouts that ends before the training: stand-ins, no GPU."""

import os
import sys
import time
from pathlib import Path
from subprocess import Popen

import pytest

from jobs import training_request
from palm.contract import Execution
from palm.exit_codes import ExitCode
from palm_store.job import Ended, code_of
from palm_trainer import __main__ as trainer
from palm_trainer import launch
from palm_trainer.processes import end_process
from palm_trainer.rollout_server import ServerLost, rollout_server
from palm_trainer.workplace import Failure, Trained, Workplace

DONE = Trained(finished=True, steps=3, seconds=1.0, final_rewards={})
FOREVER = "import time; time.sleep(60)"
NOTES_ITSELF = "import os, sys, time; open(sys.argv[1] + '/pid', 'w').write(str(os.getpid())); "


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def python(program: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", program, *map(str, arguments)]


def trained(place: Workplace, training: str, server: str) -> Trained:
    with rollout_server(python(server, place.folder), ["3"]) as lost:
        return launch.launched(python(training, place.folder), place, {}, lost)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_training_is_stopped_once_its_server_has_ended(place: Workplace) -> None:
    began = time.monotonic()
    waits = NOTES_ITSELF + "time.sleep(60)"
    with pytest.raises(ServerLost) as caught:
        trained(place, waits, "import time; time.sleep(2); raise SystemExit(3)")
    assert time.monotonic() - began < 20
    assert not is_running(int((place.folder / "pid").read_text()))
    message = str(caught.value)
    assert "the vLLM server for rollouts (GPU 3) ended with exit code 3" in message
    assert "more rollouts.gpus" in message
    assert code_of(caught.value) == ExitCode.FAILED


def test_a_server_that_was_killed_names_the_memory_limit(place: Workplace) -> None:
    with pytest.raises(ServerLost, match=r"was ended by SIGKILL .* resources\.limits\.memory"):
        trained(place, FOREVER, "import os; os.kill(os.getpid(), 9)")


@pytest.mark.parametrize("code", [ExitCode.FAILED, ExitCode.UNAVAILABLE])
def test_processes_that_miss_the_server_first_do_not_hide_its_end(
    place: Workplace, code: ExitCode
) -> None:
    place.put_failure(Failure(code, "the vLLM server can't be reached"))
    with rollout_server(python("raise SystemExit(1)"), ["3"]) as lost:
        while lost() is None:
            time.sleep(0.05)
        with pytest.raises(ServerLost, match="ended with exit code 1"):
            launch.launched(python("raise SystemExit(1)"), place, {}, lost)


def test_a_process_with_a_reason_of_its_own_is_believed(place: Workplace) -> None:
    place.put_failure(Failure(ExitCode.NO_RESOURCES, "CUDA out of memory"))
    with pytest.raises(Ended, match="CUDA out of memory"):
        trained(place, FOREVER, "raise SystemExit(1)")


def test_a_server_lives_as_long_as_the_training_and_no_longer(place: Workplace) -> None:
    place.put_outcome(DONE)
    waits = NOTES_ITSELF + "time.sleep(60)"
    until_it_runs = (
        "import os, sys, time\n"
        "while not (os.path.exists(sys.argv[1] + '/pid') and open(sys.argv[1] + '/pid').read()):\n"
        "    time.sleep(0.05)"
    )
    assert trained(place, until_it_runs, waits) == DONE
    assert not is_running(int((place.folder / "pid").read_text()))


def test_a_process_that_ignores_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    stubborn = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"child = subprocess.Popen([sys.executable, '-c', {FOREVER!r}])\n"
        "open(sys.argv[1] + '/pid.part', 'w').write(str(child.pid))\n"
        "os.rename(sys.argv[1] + '/pid.part', sys.argv[1] + '/pid')\n"
        "time.sleep(60)"
    )
    process = Popen(python(stubborn, tmp_path), start_new_session=True)
    while not (tmp_path / "pid").exists():
        time.sleep(0.05)
    child = int((tmp_path / "pid").read_text())
    began = time.monotonic()
    end_process(process, grace=0.5)
    assert 0.5 <= time.monotonic() - began < 10
    assert process.returncode == -9
    deadline = time.monotonic() + 10
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(child)


def test_the_trainer_watches_the_server_that_it_starts(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = "import os, sys; sys.exit(int(os.environ['CUDA_VISIBLE_DEVICES']))"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    monkeypatch.setattr(launch, "server_command", lambda *_, **__: python(says))
    execution = Execution(processes=2, rollouts="vLLMServer", rollout_gpus=1)
    request = training_request(execution=execution)
    with trainer._rollout_server(request, place, 99, has_gpu=True) as (environment, lost):
        assert environment == {"CUDA_VISIBLE_DEVICES": "4,5"}
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,5,6"
        with pytest.raises(ServerLost, match=r"\(GPU 6\) ended with exit code 6"):
            launch.launched(python(FOREVER), place, environment, lost)
