"""Real evaluations through the Job's own command, against a real S3 server."""

import hashlib
from io import BytesIO
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs import (
    REWARDS,
    commit_policy,
    evaluation_request,
    random_adapter,
    random_model,
    run_job,
    upload_random_model,
)
from palm.artifacts import evaluation_result, evaluation_samples, model_folder
from palm.contract import (
    AdapterSettings,
    ModelReward,
    PolicyResult,
    RewardFunction,
    StorageLocation,
)
from palm.evaluations import MixedPolicy, SamplesFile
from palm_evaluator.__main__ import chosen_engine
from palm_store import S3Store
from palm_store.job import InvalidRequest
from stores import s3_environment, s3_location

POLICY = "b" * 32


@pytest.fixture
def storage(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> StorageLocation:
    return s3_location(cluster, "evaluator", monkeypatch)


def result_of(store: S3Store, digest: str | None) -> PolicyResult:
    content = store.read(evaluation_result(digest, "e" * 32), max_bytes=1_000_000)
    assert content is not None
    return PolicyResult.model_validate_json(content)


@pytest.mark.model
@pytest.mark.cluster
def test_the_base_policy_has_a_result_without_divergence(
    cluster: Any, storage: StorageLocation
) -> None:
    store = upload_random_model(storage)
    done = run_job("palm_evaluator", evaluation_request(storage), s3_environment(cluster))
    assert done.returncode == 0, done.stderr
    assert "sampled 20/20 responses" in done.stdout
    result = result_of(store, None)
    assert (result.prompts, result.samples, result.engine) == (10, 20, "Transformers")
    assert (result.divergence.estimator, result.divergence.mean) == ("exact", 0.0)
    assert [item.name for item in result.rewards] == ["brevity", "helpfulness"]
    assert len(result.prompt_rewards) == 10
    # An untrained model answers nothing: known answers without any sampling noise.
    assert [item.mean for item in result.rewards] == [0.0, 0.0]


@pytest.mark.model
@pytest.mark.cluster
def test_a_trained_policy_that_is_the_base_has_no_divergence_and_a_second_run_ends_at_once(
    cluster: Any, storage: StorageLocation
) -> None:
    store = upload_random_model(storage)
    commit_policy(store, POLICY, random_model() / "model")
    request = evaluation_request(
        storage, policy="w1", policy_digest=POLICY, adapter=AdapterSettings(type="Full")
    )
    environment = s3_environment(cluster) | {"PALM_IMAGE": "evaluator:test"}
    done = run_job("palm_evaluator", request, environment)
    assert done.returncode == 0, done.stderr
    result = result_of(store, POLICY)
    assert result.divergence.mean == pytest.approx(0.0, abs=1e-6)
    provenance = result.provenance
    assert provenance is not None
    assert provenance.policy is not None
    assert provenance.base_model.sha256 == provenance.policy.sha256
    assert provenance.image == "evaluator:test"
    responses = provenance.responses
    assert responses is not None
    key = responses.uri.removeprefix(f"s3://{storage.bucket}/{storage.prefix}/")
    content = store.read(key, max_bytes=1_000_000)
    assert content is not None
    assert hashlib.sha256(content).hexdigest() == responses.sha256
    assert pq.read_table(BytesIO(content)).num_rows == 20
    samples = store.read(evaluation_samples(POLICY, "e" * 32), max_bytes=1_000_000)
    assert samples is not None
    assert len(SamplesFile.model_validate_json(samples).responses) == 8
    again = run_job("palm_evaluator", request, s3_environment(cluster))
    assert again.returncode == 0
    assert "is evaluated already" in again.stdout
    assert "sampled" not in again.stdout


@pytest.mark.model
@pytest.mark.cluster
def test_policies_are_fetched_checked_and_mixed_and_the_result_names_them(
    cluster: Any, storage: StorageLocation
) -> None:
    store = upload_random_model(storage)
    parts = ("c" * 32, "d" * 32)
    request = evaluation_request(
        storage,
        policy="w1",
        policy_digest=POLICY,
        adapter=AdapterSettings(type="LoRA", rank=8),
        mixture=tuple(MixedPolicy(policy_digest=part, weight=0.5) for part in parts),
    )
    commit_policy(store, parts[0], random_adapter(0))
    missing = run_job("palm_evaluator", request, s3_environment(cluster))
    assert missing.returncode == 64
    assert f"policy {parts[1]}, of which w1 is mixed, is not trained" in missing.stderr
    commit_policy(store, parts[1], random_adapter(1))
    done = run_job("palm_evaluator", request, s3_environment(cluster))
    assert done.returncode == 0, done.stderr
    result = result_of(store, POLICY)
    assert (result.engine, result.divergence.estimator) == ("Transformers", "exact")
    assert result.divergence.mean > 0.01
    provenance = result.provenance
    assert provenance is not None
    assert provenance.policy is None
    assert provenance.mixture is not None
    assert [source.uri.split("/")[-2] for source in provenance.mixture] == list(parts)


@pytest.mark.cluster
def test_a_result_that_cannot_be_read_is_no_result(cluster: Any, storage: StorageLocation) -> None:
    S3Store(storage).write(evaluation_result(None, "e" * 32), b"{}")
    done = run_job("palm_evaluator", evaluation_request(storage), s3_environment(cluster))
    assert "cannot be read and will be replaced" in done.stdout
    assert done.returncode == 65  # this test has put no prompts there


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "there is no object s3://evaluator/"),
        ({"base_model": "hf://org/unpinned"}, "there is no object"),
    ],
)
def test_a_request_without_its_inputs_exits_with_a_sentence(
    cluster: Any, storage: StorageLocation, changes: dict[str, Any], sentence: str
) -> None:
    request = evaluation_request(storage, **changes)
    done = run_job("palm_evaluator", request, s3_environment(cluster))
    assert done.returncode == 65, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.cluster
def test_a_reward_model_that_is_not_there_exits_with_its_uri(
    cluster: Any, storage: StorageLocation
) -> None:
    upload_random_model(storage)
    humor = RewardFunction(name="humor", model=ModelReward(uri="s3://evaluator/no-reward-model"))
    request = evaluation_request(storage, rewards=(*REWARDS, humor))
    done = run_job("palm_evaluator", request, s3_environment(cluster))
    assert done.returncode == 64, done.stderr
    assert "s3://evaluator/no-reward-model" in done.stderr


def test_a_request_of_another_schema_exits_with_a_sentence() -> None:
    text = evaluation_request().model_dump_json(by_alias=True)
    done = run_job("palm_evaluator", text.replace('"schemaVersion":1', '"schemaVersion":2'), {})
    assert done.returncode == 64, done.stderr
    assert "EvaluationRequest is not valid: schemaVersion" in done.stderr


def test_without_vllm_transformers_is_chosen_and_vllm_refused() -> None:
    assert chosen_engine("Auto") == "Transformers"
    assert chosen_engine("Transformers") == "Transformers"
    with pytest.raises(InvalidRequest, match="this image has no vLLM"):
        chosen_engine("vLLM")


@pytest.mark.cluster
def test_a_policy_that_is_not_trained_or_not_as_it_was_trained_is_refused(
    cluster: Any, storage: StorageLocation
) -> None:
    store = upload_random_model(storage)
    request = evaluation_request(
        storage, policy="w1", policy_digest=POLICY, adapter=AdapterSettings(type="Full")
    )
    done = run_job("palm_evaluator", request, s3_environment(cluster))
    assert done.returncode == 64, done.stderr
    assert f"policy w1 is not trained: there is no s3://{storage.bucket}/" in done.stderr
    commit_policy(store, POLICY, random_model() / "model")
    store.write(f"{model_folder(POLICY)}/model.safetensors", b"half of it")
    done = run_job("palm_evaluator", request, s3_environment(cluster))
    assert done.returncode == 70, done.stderr
    assert "model.safetensors of policy w1 is not the file that was trained" in done.stderr
    assert store.read(evaluation_result(POLICY, "e" * 32), max_bytes=1_000_000) is None


@pytest.mark.cluster
def test_an_adapter_of_another_rank_exits_64_before_a_model_is_loaded(
    cluster: Any, storage: StorageLocation
) -> None:
    store = upload_random_model(storage)
    commit_policy(store, POLICY, random_adapter())
    request = evaluation_request(
        storage, policy="w1", policy_digest=POLICY, adapter=AdapterSettings(type="LoRA", rank=16)
    )
    done = run_job("palm_evaluator", request, s3_environment(cluster))
    assert done.returncode == 64, done.stderr
    assert "the adapter of policy w1 has rank 8; the request says 16" in done.stderr
