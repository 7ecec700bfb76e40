"""The embedded cluster's server of models, asked by OpenAI's own client."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from jobs import random_adapter, random_model
from palm_devcluster.serving.models import UnusableModel, load_models
from palm_devcluster.serving.server import arguments
from palm_trainer.toy import cached_toy_model

pytestmark = pytest.mark.model

MODULE = "palm_devcluster.serving.server"
QUESTION = [{"role": "user", "content": "What is 2 + 3?"}]


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", MODULE, *words]


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    """A client of a server of the base model and two adapters."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    adapter = random_adapter()
    process = subprocess.Popen(
        command(
            "--model_name=base",
            f"--model_dir={cached_toy_model() / 'model'}",
            "--enable-lora",
            "--max-lora-rank=8",
            "--lora-modules",
            f"brief={adapter}",
            f"detailed={adapter}",
            "--host=127.0.0.1",
            f"--http_port={port}",
        ),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    made = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                made.models.list()
                break
            except openai.APIConnectionError:
                assert process.poll() is None, "the server ended"
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield made
    finally:
        made.close()
        process.terminate()
        assert process.wait(timeout=30) in (0, -signal.SIGTERM)


def said(client: openai.OpenAI, model: str, **options: object) -> str:
    answer = client.chat.completions.create(
        model=model, messages=QUESTION, **{"max_tokens": 12, "temperature": 0, **options}
    )
    return answer.choices[0].message.content or ""


def test_models_are_listed_under_their_names_and_adapters_name_their_base(client):
    listed = {model.id: model.model_dump().get("parent") for model in client.models.list()}
    assert listed == {"base": None, "brief": "base", "detailed": "base"}


def test_a_stream_says_what_the_whole_answer_says(client):
    whole = said(client, "base", max_tokens=48)
    assert "Answer: 5" in whole
    stream = client.chat.completions.create(
        model="base", messages=QUESTION, max_tokens=48, temperature=0, stream=True
    )
    parts = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert "".join(parts) == whole


def test_an_adapter_changes_the_answer_and_the_base_stays_the_base(client):
    base = said(client, "base", max_tokens=24)
    assert said(client, "brief", max_tokens=24) != base
    assert said(client, "base", max_tokens=24) == base


def test_completions_take_a_plain_prompt_and_obey_their_limit(client):
    answer = client.completions.create(model="detailed", prompt="1 + 1", max_tokens=5)
    assert answer.model == "detailed"
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 5


def test_the_newer_name_of_the_limit_is_obeyed(client):
    answer = client.chat.completions.create(
        model="base", messages=QUESTION, max_completion_tokens=3, temperature=0
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 3


def test_a_temperature_samples(client):
    answers = {said(client, "base", temperature=5.0, max_tokens=24) for _ in range(4)}
    assert len(answers) > 1


def test_an_unknown_model_is_refused_with_those_that_there_are(client):
    with pytest.raises(openai.NotFoundError, match="there are: base, brief, detailed"):
        said(client, "gpt-4")


@pytest.mark.parametrize("path", ["/load_model", "/reset", "/v1/responses"])
def test_nothing_else_is_offered(client, path):
    url = str(client.base_url).removesuffix("/v1/")
    with pytest.raises(openai.NotFoundError):
        client.post(f"{url}{path}", body={"model": "base"}, cast_to=object)


def test_many_requests_at_once_are_each_answered_by_their_own_model(client):
    names = ["base", "brief", "detailed"] * 8
    expected = {name: said(client, name) for name in set(names)}
    with ThreadPoolExecutor(len(names)) as pool:
        answers = list(pool.map(lambda name: said(client, name), names))
    assert answers == [expected[name] for name in names]


def test_a_folder_without_a_model_ends_the_server_with_its_name(tmp_path):
    words = ("--model_name=a", f"--model_dir={tmp_path}")
    done = subprocess.run(command(*words), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert str(tmp_path) in done.stderr.strip().splitlines()[-1]


def test_an_adapter_without_safetensors_is_refused(tmp_path):
    with pytest.raises(UnusableModel, match=r"holds no adapter_model\.safetensors"):
        load_models("base", random_model() / "model", {"brief": tmp_path})


def test_an_adapter_needs_a_name_and_a_folder(capsys):
    with pytest.raises(SystemExit):
        arguments().parse_args(["--model_name=a", "--model_dir=b", "--lora-modules", "x"])
    assert "'x' must be NAME=FOLDER" in capsys.readouterr().err
