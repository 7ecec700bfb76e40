"""Real evaluations through the Job's own command, against a real S3 server."""

from typing import Any

import pytest

from jobs import REWARDS, evaluation_request, random_model, run_job, upload_random_model
from palm.artifacts import evaluation_result, model_folder
from palm.contract import (
    AdapterSettings,
    ModelReward,
    PolicyResult,
    RewardFunction,
    StorageLocation,
)
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
    store.upload_folder(random_model() / "model", model_folder(POLICY))
    request = evaluation_request(
        storage, policy="w1", policy_digest=POLICY, adapter=AdapterSettings(type="Full")
    )
    done = run_job("palm_evaluator", request, s3_environment(cluster))
    assert done.returncode == 0, done.stderr
    assert result_of(store, POLICY).divergence.mean == pytest.approx(0.0, abs=1e-6)
    again = run_job("palm_evaluator", request, s3_environment(cluster))
    assert again.returncode == 0
    assert "is evaluated already" in again.stdout
    assert "sampled" not in again.stdout


@pytest.mark.cluster
def test_a_result_that_cannot_be_read_is_no_result(cluster: Any, storage: StorageLocation) -> None:
    S3Store(storage).write(evaluation_result(None, "e" * 32), b"{}")
    done = run_job("palm_evaluator", evaluation_request(storage), s3_environment(cluster))
    assert "cannot be read and will be replaced" in done.stdout
    assert done.returncode == 42  # this test has put no prompts there


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "there is no object s3://evaluator/"),
        ({"base_model": "hf://org/unpinned"}, "there is no object"),
    ],
)
def test_a_request_without_its_inputs_exits_42_with_a_sentence(
    cluster: Any, storage: StorageLocation, changes: dict[str, Any], sentence: str
) -> None:
    request = evaluation_request(storage, **changes)
    done = run_job("palm_evaluator", request, s3_environment(cluster))
    assert done.returncode == 42, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.cluster
def test_a_reward_model_that_is_not_there_exits_42_with_its_uri(
    cluster: Any, storage: StorageLocation
) -> None:
    upload_random_model(storage)
    humor = RewardFunction(name="humor", model=ModelReward(uri="s3://evaluator/no-reward-model"))
    request = evaluation_request(storage, rewards=(*REWARDS, humor))
    done = run_job("palm_evaluator", request, s3_environment(cluster))
    assert done.returncode == 42, done.stderr
    assert "s3://evaluator/no-reward-model" in done.stderr


def test_a_request_of_another_schema_exits_42_with_a_sentence() -> None:
    text = evaluation_request().model_dump_json(by_alias=True)
    done = run_job("palm_evaluator", text.replace('"schemaVersion":1', '"schemaVersion":2'), {})
    assert done.returncode == 42, done.stderr
    assert "EvaluationRequest is not valid: schemaVersion" in done.stderr


def test_without_vllm_transformers_is_chosen_and_vllm_refused() -> None:
    assert chosen_engine("Auto") == "Transformers"
    assert chosen_engine("Transformers") == "Transformers"
    with pytest.raises(InvalidRequest, match="this image has no vLLM"):
        chosen_engine("vLLM")
