"""What an evaluation reads: fetched, checked against what it should be, and identified.

Everything that is wrong with a request or its inputs is said here, before a model is loaded.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palm.artifacts import PROVENANCE_FILE, model_folder, training_record, uri
from palm.contract import AdapterSettings, EvaluationRequest, ModelReward, TrainingRecord
from palm.errors import InvalidResult
from palm.evaluations import (
    MAX_RESULT_BYTES,
    MAX_RESULT_PROMPTS,
    MadeFrom,
    Provenance,
    Source,
    result_bytes,
)
from palm_evaluator.provenance import provenance
from palm_rewards import RewardScorer, needs_answer, reward_functions
from palm_store import ResultStore, file_sha256
from palm_store.job import (
    InvalidRequest,
    fetched_model,
    fetched_prompts,
    reward_model_folders,
)
from palm_store.prompts import Prompt
from palm_store.provenance import (
    files_sha256,
    folder_source,
    made_from,
    prompts_source,
    reward_sources,
)

_MAX_RECORD_BYTES = 8 * 1024 * 1024
_REMEMBERED = 65_536


@dataclass(frozen=True)
class Inputs:
    """Everything that an evaluation reads."""

    base: Path
    policy: Path | None
    prompts: list[Prompt]
    scorers: list[RewardScorer]
    provenance: Provenance
    mixture: tuple[Path, ...] = ()
    """Folders of the policies to mix, in the request's order."""


def fetched_inputs(request: EvaluationRequest, store: ResultStore, folder: Path) -> Inputs:
    """Fetch and check everything that an evaluation reads.

    Raises:
        InvalidRequest: Something is not there, or not what the request says it is.
        InvalidResult: A file of the policy is not the one that was trained.
        StoreUnavailable: S3 or Hugging Face does not answer.
    """
    judges = [item.name for item in request.rewards if needs_answer(item)]
    found = fetched_prompts(request.prompts, request.storage, answers_for=judges)
    prompts = found.prompts
    check_prompts(request, prompts)
    policies = [
        _policy(request, store, digest, folder / "policies" / digest)
        for digest in _trained_policies(request)
    ]
    base = fetched_model(request.base_model, folder / "base", request.storage)
    folders: dict[str, Path] = {}
    fetch = reward_model_folders(folder / "reward-models", request.storage)

    def model_files(reward: ModelReward) -> Path:
        folders[reward.uri] = fetch(reward)
        return folders[reward.uri]

    scorers = _scorers(request, model_files)
    models = {name: folder_source(name, path) for name, path in folders.items()}
    # Of a mixture all are mixed; else there is one at most.
    mixed = policies if request.mixture is not None else []
    policy, source = policies[0] if policies and not mixed else (None, None)
    made = made_from(
        base_model=folder_source(request.base_model, base),
        prompts=prompts_source(request.prompts.uri, prompts, revision=found.revision),
        rewards=reward_sources(request.rewards, models),
    )
    known = provenance(
        request,
        made,
        policy=source,
        training=training_inputs(policy) if policy is not None else None,
        mixture=tuple(part for _, part in mixed) or None,
    )
    return Inputs(base, policy, prompts, scorers, known, mixture=tuple(path for path, _ in mixed))


def check_prompts(request: EvaluationRequest, prompts: list[Prompt]) -> None:
    """Refuse prompts that are too many for a result file.

    Raises:
        InvalidRequest: They are; the message says what would help.
    """
    size = result_bytes(prompts=len(prompts), rewards=len(request.rewards))
    if len(prompts) > MAX_RESULT_PROMPTS or size > MAX_RESULT_BYTES:
        raise InvalidRequest(
            f"{len(prompts):,} evaluation prompts with {len(request.rewards)} rewards are too many "
            f"for a result file of {MAX_RESULT_BYTES:,} bytes; set prompts.evaluation.limit"
        )


def check_adapter(folder: Path, adapter: AdapterSettings, *, policy: str) -> None:
    """Refuse a policy whose files are not of the kind, or the rank, that the request says.

    Raises:
        InvalidRequest: They are not.
    """
    file = folder / "adapter_config.json"
    if adapter.type == "Full":
        if file.is_file():
            raise InvalidRequest(
                f"policy {policy} should be a full model, its files are an adapter"
            )
        return
    try:
        settings: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        rank = int(settings["r"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InvalidRequest(
            f"policy {policy} should be a LoRA adapter of rank {adapter.rank}; its "
            "adapter_config.json is not there or has no rank"
        ) from None
    if rank != adapter.rank:
        raise InvalidRequest(
            f"the adapter of policy {policy} has rank {rank}; the request says {adapter.rank}"
        )


def training_inputs(policy: Path) -> MadeFrom | None:
    """Return from what a policy was trained; None where its training did not say.

    Args:
        policy: Its folder, whose files are those of its record.

    Raises:
        InvalidResult: What it says cannot be read.
    """
    file = policy / PROVENANCE_FILE
    if not file.is_file():
        return None
    if file.stat().st_size > _MAX_RECORD_BYTES:
        raise InvalidResult(f"{PROVENANCE_FILE} of the policy has {file.stat().st_size:,} bytes")
    try:
        return MadeFrom.model_validate_json(file.read_bytes())
    except ValueError:
        raise InvalidResult(f"{PROVENANCE_FILE} of the policy cannot be read") from None


def _trained_policies(request: EvaluationRequest) -> list[str]:
    """Return the digests of the policies to fetch: none for the base policy."""
    if request.mixture is not None:
        return [part.policy_digest for part in request.mixture]
    return [request.policy_digest] if request.policy_digest is not None else []


def _policy(
    request: EvaluationRequest, store: ResultStore, digest: str, folder: Path
) -> tuple[Path, Source]:
    """Download a policy and hold every file against the record of its training."""
    record = _record(request, store, digest)
    name = _shown(request, digest)
    store.download_folder(model_folder(digest), folder)
    for file, expected in record.files.items():
        path = folder / file
        if not path.is_file() or file_sha256(path) != expected:
            raise InvalidResult(
                f"{file} of policy {name} is not the file that was trained: "
                f"{'its SHA-256 differs from the record' if path.is_file() else 'it is not there'}"
            )
    if request.adapter is not None:
        check_adapter(folder, request.adapter, policy=name)
    where = uri(request.storage, model_folder(digest))
    return folder, Source(uri=where, sha256=files_sha256(record.files))


def _shown(request: EvaluationRequest, digest: str) -> str:
    """Return a policy for people: the one of the request, or one that it is mixed of."""
    if request.mixture is None:
        return request.policy
    return f"{digest}, of which {request.policy} is mixed,"


def _record(request: EvaluationRequest, store: ResultStore, digest: str) -> TrainingRecord:
    content = store.read(training_record(digest), max_bytes=_MAX_RECORD_BYTES)
    where = uri(request.storage, training_record(digest))
    if content is None:
        name = _shown(request, digest)
        raise InvalidRequest(f"policy {name} is not trained: there is no {where}")
    try:
        record = TrainingRecord.model_validate_json(content)
    except ValueError:
        raise InvalidRequest(f"{where} cannot be read: it is no training record") from None
    if record.policy_digest != digest:
        raise InvalidRequest(f"{where} is of policy {record.policy_digest}; expected {digest}")
    return record


def _scorers(request: EvaluationRequest, model_files: Any) -> list[RewardScorer]:
    try:
        return reward_functions(request.rewards, model_folder=model_files, remembered=_REMEMBERED)
    except ValueError as problem:
        raise InvalidRequest(str(problem)) from None
