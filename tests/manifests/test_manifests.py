"""Manifests against golden files; ``PALM_GOLDEN=write pytest tests/manifests`` rewrites them."""

import copy
import os
from pathlib import Path

import pytest
import yaml

from builders import SETTINGS, World, make_portfolio, portfolio_body, request_of
from palm_operator import names
from palm_operator.api.portfolio import parse_portfolio
from palm_operator.jobs.manifests import base_evaluation_job, evaluation_job, training_job
from palm_operator.names import Step
from palm_operator.serving.inference_services import inference_service
from palm_operator.serving.shared import shared_server

GOLDEN = Path(__file__).with_name("golden")

TEMPLATE = {
    "image": "registry.example/mine:1",
    "resources": {
        "requests": {"memory": "8Gi"},
        "limits": {"cpu": "4", "nvidia.com/gpu": 1},
    },
    "nodeSelector": {"gpu": "h200"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "serviceAccountName": "trainer",
    "priorityClassName": "low",
    "imagePullSecrets": ["pull"],
    "env": [{"name": "HF_HUB_OFFLINE", "value": "1"}, {"name": "PALM_REQUEST", "value": "mine"}],
    "envFromSecrets": ["hub"],
    "labels": {"team": "ml", names.LABEL_DIGEST: "mine"},
    "annotations": {"note": "hello"},
}


@pytest.fixture(scope="module")
def made():
    body = portfolio_body(
        training={"queueName": "gpus", "template": TEMPLATE},
        storage={"s3": {"bucket": "palm", "credentialsSecret": {"name": "palm-s3"}}},
        serving={"template": {"serviceAccountName": "server", "nodeSelector": {"gpu": "l4"}}},
    )
    world = World(body=body)
    world.run()
    portfolio, work = world.portfolio, world.work
    policy = work.policies[2]
    full = portfolio_body(training={"adapter": {"type": "Full"}})
    spread = copy.deepcopy(body)
    spread["spec"]["training"]["nodes"] = 2
    return {
        "training_job": training_job(portfolio, work, policy, settings=SETTINGS),
        "training_job_set": training_job(parse_portfolio(spread), work, policy, settings=SETTINGS),
        "evaluation_job": evaluation_job(portfolio, work, policy, settings=SETTINGS, attempt=2),
        "base_evaluation_job": base_evaluation_job(portfolio, work, settings=SETTINGS),
        "inference_service_lora": inference_service(portfolio, work, policy),
        "shared_inference_service": shared_server(
            portfolio, work, work.policies[1:3], "InferenceService"
        ),
        "shared_llm_service": shared_server(
            portfolio, work, work.policies[1:3], "LLMInferenceService"
        ),
        "inference_service_full": inference_service(parse_portfolio(full), work, policy),
    }


@pytest.mark.parametrize(
    "name",
    [
        "training_job",
        "training_job_set",
        "evaluation_job",
        "base_evaluation_job",
        "shared_inference_service",
        "shared_llm_service",
        "inference_service_lora",
        "inference_service_full",
    ],
)
def test_a_manifest_is_its_golden_file(made, name):
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("PALM_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(made[name], sort_keys=False, width=100))
    assert made[name] == yaml.safe_load(path.read_text())


def test_what_is_ours_outranks_the_template(made):
    job = made["training_job"]
    assert request_of(job).policy == job["metadata"]["labels"][names.LABEL_POLICY]
    assert job["metadata"]["labels"][names.LABEL_DIGEST] == request_of(job).policy_digest
    variables = [v["name"] for v in job["spec"]["template"]["spec"]["containers"][0]["env"]]
    assert len(variables) == len(set(variables))


def test_a_request_is_not_expanded_by_the_kubelet():
    body = portfolio_body(prompts={"train": {"uri": "s3://data/$(HOME).jsonl"}})
    world = World(body=body)
    world.step()
    world.finish(world.unfinished[0])
    job = world.step().creates[0]
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert "$$(HOME)" in container["env"][0]["value"]
    assert request_of(job).prompts.uri == "s3://data/$(HOME).jsonl"


def test_a_pod_meets_the_restricted_profile(made):
    pod = made["training_job"]["spec"]["template"]["spec"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    security = pod["containers"][0]["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize(
    "name", ["a", "a" * 63, "a" * 253, "7-up", "team.model.v1", "x-" * 40 + "y"]
)
@pytest.mark.parametrize("namespace", ["d", "n" * 33])
def test_names_stay_within_the_limits_of_kubernetes_and_kserve(name, namespace):
    policy = "w00-1f9c2a"
    job = names.job_name(name, Step.TRAIN, policy, attempt=3)
    service = names.inference_service_name(name, namespace, policy)
    assert len(job) <= 63
    assert len(service) + len(namespace) <= 52
    for made in (job, service):
        assert made[0].isalpha()
        assert made.replace("-", "").isalnum()
        assert made.endswith((policy, f"{policy}-r3"))


def test_two_portfolios_never_share_a_shortened_name():
    one, other = "a" * 100 + "1", "a" * 100 + "2"
    assert names.stem(one, 30) != names.stem(other, 30)
    assert names.stem("a.b", 30) != names.stem("a-b", 30)


def test_a_short_name_is_kept():
    assert names.job_name("assistant", Step.EVALUATE, "w01-abcdef") == "assistant-eval-w01-abcdef"
    assert make_portfolio().metadata.name == "assistant"
