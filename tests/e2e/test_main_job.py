"""The main job on the embedded cluster, installed the way a user installs it.

One Portfolio is made for the whole module, with real training of the toy model; the operator is
killed once while Jobs run. Each test states one law about what came out.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from cli.invoke import palm
from palm import artifacts
from palm.contract import Calibration, PolicyResult
from palm.grid import construct_grid
from palm.objective import scalarize
from palm.route_table import parse_route_table
from palm.routing import objectives, ranking, weight_vector
from palm_devcluster.demo import gateway, install
from palm_devcluster.demo.asking import chat
from palm_devcluster.demo.stages import Stages
from palm_devcluster.demo.tools import Tools
from palm_devcluster.demo.watch import conditions, failure_of, is_done
from palm_store import S3Store
from palm_trainer.toy import cached_toy_model

pytestmark = [pytest.mark.cluster, pytest.mark.model]

NAME = "small"
NAMESPACE = install.DEMO_NAMESPACE
BETA = 0.01
MU, ALPHA = Fraction(1), Fraction(1, 2)  # five weight vectors
PRUNING_MU = 0.05


@dataclass(frozen=True)
class World:
    """The cluster with the operator installed."""

    tools: Tools
    store: S3Store
    endpoint: str
    gateway_url: str

    def portfolio(self) -> Any:
        return self.tools.read("portfolios", NAME, "--namespace", NAMESPACE)

    def jobs(self) -> list[Any]:
        selector = f"palm-operator.dev/portfolio={NAME}"
        return self.tools.items("jobs", "--namespace", NAMESPACE, "-l", selector)

    def services(self) -> list[Any]:
        selector = f"palm-operator.dev/portfolio={NAME}"
        return self.tools.items("inferenceservices", "--namespace", NAMESPACE, "-l", selector)


def wait_for(condition: Any, what: str, seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.5)
    raise AssertionError(f"{what}: not within {seconds} s")


@pytest.fixture(scope="module")
def world(cluster) -> Iterator[World]:
    tools = Tools(cluster.kubectl, cluster.helm, cluster.kubeconfig)
    cluster.create_bucket(install.BUCKET)
    store = S3Store(install.storage(cluster))
    install.upload_toy(store, cached_toy_model(), Stages(Console(quiet=True)))
    install.prepare_namespaces(tools, cluster)
    install.install_operator(tools, cluster, install.checkout())
    yield World(tools, store, cluster.s3.endpoint, install.gateway_url(cluster))
    # It looks after every namespace: other modules have operators of their own.
    tools.helm("uninstall", install.RELEASE, "--namespace", install.SYSTEM_NAMESPACE, "--wait")
    wait_for(lambda: not operator_pods(tools), "the operator is gone", 60)


def small_portfolio(endpoint: str) -> dict[str, Any]:
    prompts = {"uri": f"s3://{install.BUCKET}/toy/prompts.jsonl"}
    unit = {"min": "0", "max": "1"}
    resources = {"limits": {"cpu": "1", "memory": "2Gi"}}
    return {
        "apiVersion": "palm-operator.dev/v1alpha1",
        "kind": "Portfolio",
        "metadata": {"name": NAME},
        "spec": {
            "baseModel": {"uri": f"s3://{install.BUCKET}/toy/model"},
            "prompts": {"train": prompts, "evaluation": prompts},
            "rewards": [
                {
                    "name": "brevity",
                    "verifiable": {"type": "BrevityIfCorrect", "maxTokens": 48},
                    "range": unit,
                },
                {"name": "helpfulness", "verifiable": {"type": "ArithmeticSteps"}, "range": unit},
            ],
            "grid": {"mu": str(MU), "alpha": str(ALPHA)},
            "pruning": {"mu": str(PRUNING_MU)},
            "training": {
                "klCoefficient": str(BETA),
                "adapter": {"type": "Full"},
                "episodes": 768,
                "batchSize": 64,
                "completionsPerPrompt": 4,
                "maxCompletionTokens": 48,
                "learningRate": "0.0006",
                "parallelism": 2,
                "template": {"resources": resources},
            },
            "evaluation": {"samplesPerPrompt": 4, "template": {"resources": resources}},
            "serving": {"template": {"resources": {"requests": {"cpu": "50m", "memory": "256Mi"}}}},
            "storage": {
                "s3": {
                    "bucket": install.BUCKET,
                    "prefix": "small",
                    "endpoint": endpoint,
                    "credentialsSecret": {"name": install.SECRET},
                }
            },
        },
    }


def operator_pods(tools: Tools) -> list[Any]:
    """The operator's own, not the gateway's beside it."""
    selector = "app.kubernetes.io/name=palm-operator"
    return tools.items("pods", "--namespace", install.SYSTEM_NAMESPACE, "-l", selector)


@pytest.fixture(scope="module")
def finished(world: World) -> Any:
    """A published Portfolio whose operator was killed while its first Jobs ran."""
    manifest = small_portfolio(world.endpoint)
    world.tools.kubectl("apply", "--namespace", NAMESPACE, "-f", "-", manifest=manifest)
    wait_for(
        lambda: [job for job in world.jobs() if job.get("status", {}).get("active")],
        "a Job runs",
        120,
    )
    (victim,) = operator_pods(world.tools)
    world.tools.kubectl(
        "delete", "pod", victim["metadata"]["name"], "--namespace", install.SYSTEM_NAMESPACE,
        "--grace-period=0", "--force",
    )  # fmt: skip

    def done() -> Any:
        portfolio = world.portfolio()
        assert not failure_of(portfolio), failure_of(portfolio)
        return portfolio if is_done(portfolio) else None

    portfolio = wait_for(done, "the Portfolio is published", 600)
    (survivor,) = operator_pods(world.tools)
    assert survivor["metadata"]["uid"] != victim["metadata"]["uid"]
    return portfolio


def test_every_weight_vector_is_trained_or_certified_without(finished, world):
    calls = finished["status"]["oracleCalls"]
    assert calls["planned"] == calls["succeeded"]
    assert calls["succeeded"] + calls["saved"] == len(construct_grid(MU, ALPHA, dimension=2))
    assert calls["summary"] == f"{calls['succeeded']}/{calls['succeeded']}"


def test_a_killed_operator_makes_no_second_job_for_any_weight_vector(finished, world):
    labels = [job["metadata"]["labels"] for job in world.jobs()]
    training = Counter(
        label["palm-operator.dev/digest"]
        for label in labels
        if label["palm-operator.dev/step"] == "train"
    )
    assert len(training) == finished["status"]["oracleCalls"]["planned"]
    assert set(training.values()) == {1}


def test_the_reported_portfolio_is_what_the_core_computes_from_s3(finished, world):
    """Recomputed here from result files alone, without the operator's code."""
    manifest = read_manifest(finished, world)
    calibration = Calibration.model_validate_json(only_object(world, "small/calibrations"))
    grid = construct_grid(MU, ALPHA, dimension=2)
    normalized = []
    for entry in manifest["policies"]:
        digest = entry["policyDigest"]
        text = only_object(world, f"small/policies/{digest}/evaluations")
        result = PolicyResult.model_validate_json(text)
        utility = np.array([r.mean for r in result.rewards]) - BETA * result.divergence.mean
        normalized.append((utility - calibration.offset) / np.array(calibration.scale))
    values = scalarize(weights=grid, utilities=np.array(normalized))
    optimum = optimum_of(grid, [entry["index"] for entry in manifest["policies"]], values)
    names = [entry["name"] for entry in manifest["policies"]]
    chosen = [names.index(p["name"]) for p in finished["status"]["portfolio"]["policies"]]
    covered = values >= (optimum - PRUNING_MU * abs(optimum))[:, None] - 1e-12
    assert covered[:, chosen].any(axis=1).all()
    assert len(chosen) == smallest_cover_size(covered)
    shortfall = 1 - values[:, chosen].max(axis=1) / optimum
    epsilon = float(finished["status"]["portfolio"]["guarantee"]["grid"]["epsilon"])
    assert epsilon == pytest.approx(shortfall.max(), abs=1e-3)


def optimum_of(grid: np.ndarray, trained: list[int], values: np.ndarray) -> np.ndarray:
    """The best observed where a policy was trained, else the lowest chord above: opt is convex."""
    best, t = values.max(axis=1), grid[:, 0]
    optimum = best.copy()
    for index in set(range(len(grid))) - set(trained):
        chords = [
            np.interp(t[index], [t[a], t[b]], [best[a], best[b]])
            for a in trained
            for b in trained
            if t[a] < t[index] < t[b]
        ]
        optimum[index] = max(min(chords), best[index])
    return optimum


def only_object(world: World, folder: str) -> bytes:
    """The only one in the folder itself; an evaluation's responses and samples lie below."""
    (name,) = [name for name in world.store.list(folder) if "/" not in name]
    return world.store.read(f"{folder}/{name}", max_bytes=1 << 23)


def read_manifest(portfolio: Any, world: World) -> Any:
    uri = portfolio["status"]["portfolio"]["manifest"]["uri"]
    key = uri.removeprefix(f"s3://{install.BUCKET}/")
    return json.loads(world.store.read(key, max_bytes=1 << 23))


def smallest_cover_size(covered: np.ndarray) -> int:
    """Brute force: at most five policies have 31 non-empty subsets."""
    count = covered.shape[1]
    return min(
        bin(subset).count("1")
        for subset in range(1, 1 << count)
        if covered[:, [i for i in range(count) if subset >> i & 1]].any(axis=1).all()
    )


def test_each_survivor_has_an_inference_service_that_names_its_model_in_s3(finished, world):
    services = {service["metadata"]["name"]: service for service in world.services()}
    manifest = {entry["name"]: entry for entry in read_manifest(finished, world)["policies"]}
    policies = finished["status"]["portfolio"]["policies"]
    assert len(services) == len(policies)
    for policy in policies:
        predictor = services[policy["service"]]["spec"]["predictor"]
        folder = artifacts.model_folder(manifest[policy["name"]]["policyDigest"])
        assert predictor["model"]["storageUri"] == f"s3://{install.BUCKET}/small/{folder}"


def test_each_survivor_answers_a_user_under_the_url_of_the_status(finished, world):
    assert conditions(finished)["Ready"]["status"] == "True"
    for policy in finished["status"]["portfolio"]["policies"]:
        assert chat(policy["url"], policy["name"], "What is 2 + 3?")
    ready = {
        service["metadata"]["name"]
        for service in world.services()
        if any(c["type"] == "Ready" and c["status"] == "True"
               for c in service["status"]["conditions"])
    }  # fmt: skip
    assert ready == {p["service"] for p in finished["status"]["portfolio"]["policies"]}


def test_each_preference_is_answered_by_its_best_policy_through_the_gateway(finished, world):
    routes = world.tools.read("configmap", f"{NAME}-routes", "--namespace", NAMESPACE)
    table = parse_route_table(routes["data"]["routes.json"])
    for preference in gateway.extremes(table.rewards):
        routed = gateway.ask(world.gateway_url, f"{NAMESPACE}/{NAME}", preference, "What is 2 + 3?")
        best = ranking(objectives(weight_vector(preference, table.rewards), table))[0]
        assert routed.policy == table.policies[best].name
        assert routed.answer
        assert "below optimal" in routed.bound


def test_a_person_reads_what_every_policy_said_to_the_same_prompts(
    finished, world, cluster, monkeypatch
):
    keys = {"ACCESS_KEY_ID": cluster.s3.access_key, "SECRET_ACCESS_KEY": cluster.s3.secret_key}
    for name, value in keys.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    ran = palm("samples", f"{NAMESPACE}/{NAME}", "-o", "json")
    assert ran.code == 0, ran.err
    deployed = [p["name"] for p in finished["status"]["portfolio"]["policies"]]
    assert [policy["name"] for policy in ran.answer["policies"]] == ["base", *deployed]
    for prompt in ran.answer["prompts"]:
        assert [said["policy"] for said in prompt["responses"]] == ["base", *deployed]
        assert all(said["tokens"] > 0 and said["rewards"] for said in prompt["responses"])
    table = palm("samples", f"{NAMESPACE}/{NAME}", "-o", "markdown")
    assert all(f"| {name} |" in table.out for name in deployed)


def test_a_person_sees_the_portfolio_in_kubectl_get(finished, world):
    header, row = world.tools.kubectl("get", "pfo", NAME, "-n", NAMESPACE).strip().splitlines()
    assert header.split("  ")[0] == "NAME"
    for column in ("READY", "POLICIES", "ORACLE CALLS", "EPSILON", "REVISION", "AGE"):
        assert column in header
    assert finished["status"]["oracleCalls"]["summary"] in row
    assert finished["status"]["revision"] in row


def test_job_logs_show_the_steps_of_training(finished, world):
    job = next(
        job["metadata"]["name"]
        for job in world.jobs()
        if job["metadata"]["labels"]["palm-operator.dev/step"] == "train"
    )
    log = world.tools.kubectl("logs", f"job/{job}", "-n", NAMESPACE)
    assert "12/12" in log


def test_an_idle_operator_writes_nothing(finished, world):
    before = world.portfolio()["metadata"]["resourceVersion"]
    time.sleep(5)  # long enough for several debounced passes
    assert world.portfolio()["metadata"]["resourceVersion"] == before


def test_deleting_the_portfolio_takes_its_children_and_leaves_s3(finished, world):
    """Last in the module: it removes what the others look at."""
    digests = {entry["policyDigest"] for entry in read_manifest(finished, world)["policies"]}
    world.tools.kubectl("delete", "portfolio", NAME, "--namespace", NAMESPACE, "--timeout=60s")
    wait_for(lambda: not world.jobs() and not world.services(), "children are collected", 60)
    for digest in digests:
        assert world.store.exists(f"small/{artifacts.training_record(digest)}")


def test_the_repository_does_not_shadow_the_operator_module():
    import operator

    assert operator.itemgetter(1)((0, 1)) == 1
    assert not (Path(__file__).parents[2] / "operator" / "__init__.py").exists()
