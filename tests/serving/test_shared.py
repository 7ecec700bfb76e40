"""SharedAdapters on the embedded cluster: one server, every survivor, a refresh without a gap."""

import json
import os
import threading
import urllib.request

import pytest
import torch

from jobs import random_adapter, random_model
from palm_devcluster.paths import cache_folder
from palm_devcluster.serving.models import load_models
from palm_devcluster.vllm.environment import found, obstacle
from palm_operator import names
from serving_world import ask

pytestmark = [pytest.mark.cluster, pytest.mark.model]

NAMESPACE = "shared"
SERVING = {"mode": "SharedAdapters", "runtime": "vllm-cpu"}
PROMPTS, TOKENS = ("5", "a", "Take 4."), 6
_STARTING_SECONDS = 420  # vLLM on a busy CPU


@pytest.fixture(scope="module")
def shared(tenant, operator):
    """The Portfolio's first revision on one server, which is vLLM where the machine can have it."""
    tenant.apply(**SERVING)
    tenant.eventually(tenant.says("Published", "True"), seconds=_STARTING_SECONDS)
    return tenant


def said(url: str, model: str) -> list[str]:
    """What a model says most probably to each prompt."""
    return [_readable(_completed(url, model, prompt)) for prompt in PROMPTS]


def expected(seed: int) -> list[str]:
    """What the adapter of a seed says on its own, without any server."""
    served = load_models("base", random_model() / "model", {"it": random_adapter(seed)})["it"]
    texts = []
    for prompt in PROMPTS:
        given = served.tokenizer(prompt, return_tensors="pt")
        with torch.no_grad():
            made = served.model.generate(**given, max_new_tokens=TOKENS, do_sample=False)
        answer = made[0, given["input_ids"].shape[1] :]
        texts.append(_readable(served.tokenizer.decode(answer, skip_special_tokens=True)))
    return texts


def _completed(url: str, model: str, prompt: str) -> str:
    body = {"model": model, "prompt": prompt, "max_tokens": TOKENS, "temperature": 0}
    request = urllib.request.Request(
        f"{url}/v1/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        text: str = json.load(answer)["choices"][0]["text"]
    return text


def _readable(text: str) -> str:
    """Servers differ in how they show bytes that are no text."""
    return text.replace("\ufffd", "")


def models(url: str) -> list[dict]:
    with urllib.request.urlopen(f"{url}/v1/models", timeout=30) as answer:
        listed: list[dict] = json.load(answer)["data"]
    return listed


def test_one_server_answers_for_every_survivor_with_the_right_adapter(shared):
    policies = shared.policies
    assert len(policies) == 2
    (service,) = shared.objects("isvc")
    assert len(shared.objects("pods", "-l", names.LABEL_PORTFOLIO_UID)) == 1
    assert {p["service"] for p in policies} == {service["metadata"]["name"]}
    (url,) = {p["url"] for p in policies}
    answers = {p["name"]: said(url, p["model"]) for p in policies}
    # A policy's adapter is drawn from its index in the grid, which its name begins with.
    assert answers == {name: expected(int(name[1:3])) for name in answers}
    first, second = answers.values()
    assert all(a and b and a != b for a, b in zip(first, second, strict=True))


def test_the_server_is_vllm(shared):
    reason = None if found(cache_folder()) else obstacle(os.environ)
    if reason:
        pytest.skip(f"no vLLM, its tests ran on transformers: {reason}")
    listed = models(shared.policies[0]["url"])
    assert {model["owned_by"] for model in listed} == {"vllm"}
    assert {p["name"] for p in shared.policies} < {model["id"] for model in listed}


def test_a_refresh_brings_a_second_server_and_not_one_failed_request(shared):
    """Clients that follow the status, as a gateway does, see no gap."""
    (old,) = {p["service"] for p in shared.policies}
    codes, stop = [], threading.Event()

    def follow(index: int) -> None:
        while not stop.is_set():
            codes.append(ask(shared.policies[index]))
            stop.wait(0.5)  # reading the status costs more than the request

    clients = [threading.Thread(target=follow, args=(index,)) for index in (0, 1)]
    for client in clients:
        client.start()
    try:
        shared.apply(seed=7, **SERVING)
        shared.eventually(
            lambda: old not in {p["service"] for p in shared.policies}, seconds=_STARTING_SECONDS
        )
        shared.eventually(
            lambda: old not in {s["metadata"]["name"] for s in shared.objects("isvc")}
        )
        shared.eventually(lambda: len(shared.objects("pods", "-l", names.LABEL_PORTFOLIO_UID)) == 1)
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert len(codes) > 20
    assert set(codes) == {200}
    (url,) = {p["url"] for p in shared.policies}
    ours = {p["name"] for p in shared.policies}
    assert {m["id"] for m in models(url)} == {*ours, "base"}
