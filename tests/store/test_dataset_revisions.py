"""Prompts of a dataset whose branch moves while they are read, from a hub on loopback."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from jobs import evaluation_request, training_request
from palm.contract import PromptSource, RewardFunction, StorageLocation, VerifiableReward
from palm.errors import InvalidResult
from palm_evaluator.inputs import fetched_inputs
from palm_store import InMemoryStore
from palm_store.prompts import FoundPrompts, Prompt, read_prompts
from palm_store.provenance import prompts_source
from palm_trainer import __main__ as trainer
from palm_trainer.workplace import Workplace

EARLIER, LATER = "1" * 40, "2" * 40
NOWHERE = StorageLocation(bucket="b")
MOVING = PromptSource(uri="hf://datasets/org/name@main/data/part-*.jsonl")


class Hub(ThreadingHTTPServer):
    """Answers as huggingface_hub is answered; ``main`` moves on once its commit was told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.main: object = EARLIER
        self.asked: list[str] = []

    def content(self, revision: str, name: str) -> bytes:
        commit = str(self.main) if revision == "main" else revision
        return json.dumps({"prompt": f"{name} at {commit}"}).encode()


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, *, with_body: bool) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        headers = {}
        if parts[:5] == ["api", "datasets", "org", "name", "revision"]:
            commit = self.server.main if parts[5] == "main" else parts[5]
            content = json.dumps({"id": "org/name", "sha": commit}).encode()
            self.server.main = LATER
        elif parts[:5] == ["api", "datasets", "org", "name", "tree"]:
            self.server.asked.append(parts[5])
            content = json.dumps([self._entry(parts[5], name) for name in ("1", "2")]).encode()
        elif parts[:4] == ["datasets", "org", "name", "resolve"]:
            self.server.asked.append(parts[4])
            content = self.server.content(parts[4], parts[-1])
            headers = {"X-Repo-Commit": parts[4], "ETag": '"0"'}
        else:
            self.send_error(404)
            return
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def _entry(self, revision: str, number: str) -> dict[str, object]:
        size = len(self.server.content(revision, f"part-{number}.jsonl"))
        return {"type": "file", "path": f"data/part-{number}.jsonl", "size": size, "oid": "0"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    Thread(target=server.serve_forever, daemon=True).start()
    where = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", where)
    template = f"{where}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    yield server
    server.shutdown()
    server.server_close()


def test_a_branch_that_moves_is_read_at_the_one_commit_that_it_was_at(hub: Hub) -> None:
    found = read_prompts(MOVING, NOWHERE)
    assert found.revision == EARLIER
    assert [item.prompt for item in found.prompts] == [
        f"part-{number}.jsonl at {EARLIER}" for number in (1, 2)
    ]
    assert set(hub.asked) == {EARLIER}
    assert read_prompts(MOVING, NOWHERE).revision == LATER


def test_the_commit_is_part_of_where_prompts_are_from() -> None:
    found = FoundPrompts([Prompt("a", None)], EARLIER)
    known = prompts_source(MOVING.uri, found.prompts, revision=found.revision)
    assert (known.uri, known.revision) == (MOVING.uri, EARLIER)
    # The commit is not content: the same prompts at another one are the same.
    assert known.sha256 == prompts_source(MOVING.uri, found.prompts, revision=LATER).sha256


def test_trainer_and_evaluator_both_say_at_which_commit(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_prompts(MOVING, NOWHERE)
    made = trainer._inputs(training_request(prompts=MOVING), Workplace(tmp_path), found)
    assert made.prompts.revision == EARLIER
    hub.main = EARLIER
    monkeypatch.setattr("palm_evaluator.inputs.fetched_model", lambda uri, folder, _: folder)
    helpfulness = RewardFunction(name="long", verifiable=VerifiableReward(type="Length"))
    request = evaluation_request(prompts=MOVING, rewards=(helpfulness,))
    read = fetched_inputs(request, InMemoryStore(), tmp_path)
    assert read.provenance.prompts == made.prompts


@pytest.mark.parametrize("sha", ["main", "../../etc", "1" * 4000, None, "G" * 40])
def test_a_commit_that_is_none_is_refused_before_anything_is_downloaded(
    hub: Hub, sha: object
) -> None:
    hub.main = sha
    with pytest.raises(InvalidResult, match=r"org/name@main: the server says .* a commit has 40"):
        read_prompts(MOVING, NOWHERE)
    assert hub.asked == []
