"""``python -m palm_trainer.worker FOLDER``: one process of a launch, one GPU.

It finds request, prompts and models in the folder; its errors go there too, because a launcher's
exit code tells only that some process failed.
"""

import os
import sys
import traceback
from pathlib import Path

from palm.exit_codes import ExitCode
from palm_rewards import reward_functions
from palm_store import S3Store
from palm_store.job import InvalidRequest, code_of, reward_model_folders
from palm_trainer.arguments import Rollouts
from palm_trainer.machines import this_machine
from palm_trainer.workplace import Failure, Workplace


def main() -> int:
    """Train as one of the processes; return the exit code."""
    place = Workplace(Path(sys.argv[1]))
    try:
        _train(place)
    except Exception as problem:
        # The border of the process.
        traceback.print_exc()
        place.put_failure(Failure(code_of(problem), str(problem) or type(problem).__name__))
        return ExitCode.FAILED
    return ExitCode.DONE


def _train(place: Workplace) -> None:
    # The process group must exist before anything asks which process this is.
    from accelerate import PartialState

    from palm_trainer.training import present_hardware, train

    request, prompts = place.request()
    rollouts: Rollouts = (
        "Transformers" if request.execution.rollouts == "Auto" else request.execution.rollouts
    )
    machine = this_machine(request.execution, os.environ)
    wanted = request.execution.all_processes
    hardware = present_hardware(wanted, rollouts)
    state = PartialState(cpu=not hardware.cuda)
    place.put_begun()
    if state.num_processes != wanted:
        raise RuntimeError(
            f"{state.num_processes} processes were started, {wanted} are needed: each would train "
            "on another share of a batch than it should"
        )
    folders = reward_model_folders(place.reward_models, request.storage)
    try:
        scorers = reward_functions(request.rewards, model_folder=folders)
    except ValueError as problem:
        raise InvalidRequest(str(problem)) from None
    trained = train(
        request,
        place,
        prompts=prompts,
        scorers=scorers,
        store=S3Store(request.storage),
        hardware=hardware,
        machine=machine,
    )
    state.wait_for_everyone()
    if state.is_local_main_process:
        place.put_outcome(trained)


if __name__ == "__main__":
    sys.exit(main())
