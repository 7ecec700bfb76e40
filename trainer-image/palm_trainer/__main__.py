"""``python -m palm_trainer``: one oracle call, as a Job.

Reads a ``TrainingRequest`` from ``PALM_REQUEST``, trains, writes the policy's files to S3 and
then its commit marker. Finds the marker: says so and ends. Credentials come from boto3's chain.

Exit codes: 0 done or found done; 42 the request or what it names is not valid, trying again does
not help; 1 anything else.
"""

import hashlib
import sys
import tempfile
from pathlib import Path

from palm.artifacts import model_folder, training_record, uri
from palm.contract import TrainingRecord, TrainingRequest
from palm_rewards import RewardScorer, reward_functions
from palm_store import ResultStore, S3Store
from palm_store.job import (
    InvalidRequest,
    exit_code,
    fetched_model,
    fetched_prompts,
    quiet_libraries,
    request_from_environment,
    reward_model_folders,
)
from palm_trainer.arguments import optimiser_steps


def main() -> int:
    """Train the policy of the request in the environment; return the exit code."""
    return exit_code(_run)


def _run() -> None:
    request = request_from_environment(TrainingRequest)
    store = S3Store(request.storage)
    where = uri(request.storage, model_folder(request.policy_digest))
    if store.exists(training_record(request.policy_digest)):
        print(f"policy {request.policy} is trained already: {where}", flush=True)
        return
    with tempfile.TemporaryDirectory(prefix="palm-trainer-") as folder:
        record = _trained(request, Path(folder))
        _commit(store, record, Path(folder) / "model")
    print(f"policy {request.policy} is trained: {where}", flush=True)


def _trained(request: TrainingRequest, folder: Path) -> TrainingRecord:
    """Train in a folder; the policy's files are then below ``model``."""
    try:
        steps = optimiser_steps(request.settings)
    except ValueError as problem:
        raise InvalidRequest(str(problem)) from None
    weights = ", ".join(
        f"{item.name} {weight:g}"
        for item, weight in zip(request.rewards, request.weights, strict=True)
    )
    print(f"policy {request.policy}: {steps} steps for weights {weights}", flush=True)
    models = [item.model.uri for item in request.rewards if item.model is not None]
    quiet_libraries([request.base_model, *models])
    prompts = fetched_prompts(request.prompts, request.storage)
    base = fetched_model(request.base_model, folder / "base", request.storage)
    scorers = _scorers(request, folder)
    print("loading libraries and model", flush=True)
    # Only now: what is wrong with a request should not take ten seconds of imports to say.
    from palm_trainer.training import train

    done = train(request, base=base, prompts=prompts, scorers=scorers, output=folder / "model")
    return TrainingRecord(
        policy_digest=request.policy_digest,
        files=_hashes(folder / "model"),
        steps=steps,
        seconds=done.seconds,
        final_rewards=done.final_rewards,
    )


def _scorers(request: TrainingRequest, folder: Path) -> list[RewardScorer]:
    try:
        return reward_functions(
            request.rewards,
            model_folder=reward_model_folders(folder / "reward-models", request.storage),
        )
    except ValueError as problem:
        raise InvalidRequest(str(problem)) from None


def _hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _commit(store: ResultStore, record: TrainingRecord, folder: Path) -> None:
    marker = training_record(record.policy_digest)
    if store.exists(marker):  # a second Pod of the same Job was quicker; its files are the policy
        return
    store.upload_folder(folder, model_folder(record.policy_digest))
    # Written last: its existence means "trained".
    store.write_if_absent(marker, record.model_dump_json(by_alias=True).encode())


if __name__ == "__main__":
    sys.exit(main())
