"""``python -m palm_trainer``: one oracle call, as a Job.

Reads a ``TrainingRequest`` from ``PALM_REQUEST``, trains, from the last checkpoint on where there
is one, writes the policy's files to S3 and then its commit marker. Finds the marker: says so and
ends. Credentials come from boto3's chain. Its exit codes are those of ``palm.exit_codes``.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from palm.artifacts import PROVENANCE_FILE, model_folder, training_record, uri
from palm.contract import TrainingRecord, TrainingRequest
from palm.errors import StoreUnavailable
from palm.evaluations import MadeFrom
from palm_rewards import RewardScorer, needs_answer, reward_functions
from palm_store import ResultStore, S3Store
from palm_store.job import (
    Interrupted,
    InvalidRequest,
    exit_code,
    fetched_model,
    fetched_prompts,
    quiet_libraries,
    request_from_environment,
    reward_model_folders,
)
from palm_store.prompts import FoundPrompts, Prompt
from palm_store.provenance import folder_source, made_from, prompts_source, reward_sources
from palm_trainer import launch
from palm_trainer.arguments import Hardware, trainer_arguments
from palm_trainer.checkpoints import Checkpoints, now, remove_leftovers, sha256_of_files
from palm_trainer.machines import Machine, this_machine
from palm_trainer.rollout_server import Lost, nothing_to_lose, rollout_server
from palm_trainer.stopping import sigterm_noted
from palm_trainer.workplace import Trained, Workplace


def main() -> int:
    """Train the policy of the request in the environment; return the exit code."""
    return exit_code(_run)


def _run() -> None:
    request = request_from_environment(TrainingRequest)
    machine = this_machine(request.execution, os.environ)
    store = S3Store(request.storage)
    where = uri(request.storage, model_folder(request.policy_digest))
    if store.exists(training_record(request.policy_digest)):
        print(f"policy {request.policy} is trained already: {where}", flush=True)
        if machine.is_first:
            _tidy(store, request)
        return
    with tempfile.TemporaryDirectory(prefix="palm-trainer-") as folder:
        place = Workplace(Path(folder))
        found, scorers = _prepared(request, place)
        place.put_inputs(_inputs(request, place, found))
        with sigterm_noted(place.stop):
            trained = _trained(request, place, machine, found.prompts, scorers, store)
            if trained.finished and machine.is_first:  # committed, whatever the signal wants
                shutil.copy(place.folder / PROVENANCE_FILE, place.model)
                _commit(store, _record(request, trained, place.model), place.model)
        if not trained.finished:
            raise Interrupted(
                f"interrupted by SIGTERM; the checkpoint of step {trained.steps} is in S3"
            )
    if not machine.is_first:
        print(f"node {machine.index} is done; the first node writes {where}", flush=True)
        return
    print(f"policy {request.policy} is trained: {where}", flush=True)
    _tidy(store, request)


def _prepared(
    request: TrainingRequest, place: Workplace
) -> tuple[FoundPrompts, list[RewardScorer]]:
    """Check and download everything; what is wrong must not cost a second of GPU time."""
    anything = Hardware(cuda=False, processes=request.execution.all_processes)
    try:
        steps = trainer_arguments(request, anything, place.trainer)["max_steps"]
    except ValueError as problem:
        raise InvalidRequest(str(problem)) from None
    launch.check_sharding(request.execution, has_deepspeed=launch.installed("deepspeed"))
    weights = ", ".join(
        f"{item.name} {weight:g}"
        for item, weight in zip(request.rewards, request.weights, strict=True)
    )
    print(f"policy {request.policy}: {steps} steps for weights {weights}", flush=True)
    models = [item.model.uri for item in request.rewards if item.model is not None]
    quiet_libraries([request.base_model, request.prompts.uri, *models])
    judges = [item.name for item in request.rewards if needs_answer(item)]
    found = fetched_prompts(request.prompts, request.storage, answers_for=judges)
    print(f"{len(found.prompts)} prompts", flush=True)
    fetched_model(request.base_model, place.base, request.storage)
    folders = reward_model_folders(place.reward_models, request.storage)
    if launch.is_launched(request.execution):
        # Each process loads its own; here they are only downloaded.
        for item in request.rewards:
            if item.model is not None:
                folders(item.model)
        return found, []
    try:
        return found, reward_functions(request.rewards, model_folder=folders)
    except ValueError as problem:
        raise InvalidRequest(str(problem)) from None


def _trained(
    request: TrainingRequest,
    place: Workplace,
    machine: Machine,
    prompts: list[Prompt],
    scorers: list[RewardScorer],
    store: ResultStore,
) -> Trained:
    print("loading libraries and model", flush=True)
    # Only now: what is wrong with a request should not take ten seconds of imports to say.
    from palm_rewards.base_model import check_base_model
    from palm_trainer.training import longest_in, present_hardware, train

    check_base_model(request.base_model, place.base)
    has_gpu = present_hardware().cuda
    rollouts = launch.chosen_rollouts(
        request.execution, has_vllm=launch.installed("vllm"), has_gpu=has_gpu
    )
    execution = request.execution.model_copy(update={"rollouts": rollouts})
    request = request.model_copy(update={"execution": execution})
    if launch.is_launched(execution) or rollouts == "vLLMServer":
        place.put_request(request, prompts)
        longest = longest_in(request, place, prompts)
        with _rollout_server(request, place, longest, has_gpu=has_gpu) as (environment, lost):
            command = launch.launch_command(execution, place, machine, has_gpu=has_gpu)
            return launch.launched(command, place, environment, lost)
    hardware = present_hardware(1, rollouts)
    return train(request, place, prompts=prompts, scorers=scorers, store=store, hardware=hardware)


@contextmanager
def _rollout_server(
    request: TrainingRequest, place: Workplace, longest: int, *, has_gpu: bool
) -> Iterator[tuple[dict[str, str], Lost]]:
    """Run vLLM beside the training where it is wanted.

    Yields:
        The training's environment, and what says whether the server has ended.
    """
    if not has_gpu:
        yield {}, nothing_to_lose
        return
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    visible = named.split(",") if named else [str(i) for i in range(torch.cuda.device_count())]
    training, sampling = launch.gpu_split(request.execution, visible)
    environment = {"CUDA_VISIBLE_DEVICES": ",".join(training)}
    if not sampling:
        yield environment, nothing_to_lose
        return
    command = launch.server_command(request.execution, place, longest=longest)
    with rollout_server(command, sampling) as lost:
        yield environment, lost


def _inputs(request: TrainingRequest, place: Workplace, found: FoundPrompts) -> MadeFrom:
    """Return from what the policy is trained: the contents that were downloaded."""
    folder = reward_model_folders(place.reward_models, request.storage)
    models = [item.model for item in request.rewards if item.model is not None]
    sources = {model.uri: folder_source(model.uri, folder(model)) for model in models}
    return made_from(
        base_model=folder_source(request.base_model, place.base),
        prompts=prompts_source(request.prompts.uri, found.prompts, revision=found.revision),
        rewards=reward_sources(request.rewards, sources),
    )


def _record(request: TrainingRequest, trained: Trained, folder: Path) -> TrainingRecord:
    return TrainingRecord(
        policy_digest=request.policy_digest,
        files=sha256_of_files(folder),
        steps=trained.steps,
        seconds=trained.seconds,
        final_rewards=trained.final_rewards,
    )


def _commit(store: ResultStore, record: TrainingRecord, folder: Path) -> None:
    marker = training_record(record.policy_digest)
    if store.exists(marker):  # a second Pod of the same Job was quicker; its files are the policy
        return
    store.upload_folder(folder, model_folder(record.policy_digest))
    # Written last: its existence means "trained".
    store.write_if_absent(marker, record.model_dump_json(by_alias=True).encode())


def _tidy(store: ResultStore, request: TrainingRequest) -> None:
    """Remove checkpoints that nobody will go on from; the policy is there, so it may fail."""
    try:
        Checkpoints(store, request.policy_digest, layout="").remove_all()
        for digest in remove_leftovers(store, at=now()):
            print(f"removed the checkpoints of policy {digest}: trained or abandoned", flush=True)
    except StoreUnavailable as problem:
        print(f"checkpoints are not removed: {problem}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
