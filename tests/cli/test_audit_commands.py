"""`palm audit` and `palm rollback` as commands, before a stand-in of the API server."""

import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import timedelta
from pathlib import Path

import pytest

from builders import World, portfolio_body
from cli.api_server import PORTFOLIOS, ApiServer
from cli.invoke import palm
from palm import artifacts
from palm.errors import StoreUnavailable


@pytest.fixture(scope="module")
def twice() -> World:
    """Deployed twice, with other policies."""
    made = World(body=portfolio_body())
    for training in ({"parallelism": 3}, {"seed": 7, "parallelism": 9}):
        made.body["spec"]["training"] = training
        made.run()
        for _ in range(4):
            made.serve()
            made.step()
    return made


@pytest.fixture
def api(twice: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    world = World(
        body=deepcopy(twice.body), store=deepcopy(twice.store), services=deepcopy(twice.services)
    )
    made = ApiServer(world)
    config = tmp_path / "config"
    config.write_text(json.dumps(made.kubeconfig))
    monkeypatch.setenv("KUBECONFIG", str(config))
    monkeypatch.setattr("palm_store.S3Store", lambda _: world.store)
    yield made
    made.close()


def test_audit_of_all_and_of_one_agrees(api: ApiServer) -> None:
    for arguments in (["-A"], [], ["assistant"], ["assistant", "-n", "ml"]):
        ran = palm("audit", *arguments, "-o", "json")
        assert (ran.code, ran.err) == (0, "")
        (found,) = ran.answer["portfolios"]
        assert (found["deployed"]["number"], found["agrees"]) == (2, True)
        assert ran.answer["policies"] == found["deployed"]["size"] > 1
        assert ran.answer["source"] == "both"
    table = palm("audit", "assistant")
    assert table.code == 0
    for part in ("AGREES", "POLICY", "base model", "s3://models/tiny", "deployed policies"):
        assert part in table.out
    lines = palm("audit", "-A", "-o", "csv").out.splitlines()
    assert len(lines) == 1 + found["deployed"]["size"]


def test_audit_says_where_they_disagree_and_exits_with_3(api: ApiServer) -> None:
    name = next(iter(api.world.services))
    del api.world.services[name]
    del api.world.store.objects[artifacts.record_entry("ml", "assistant", 2)]
    ran = palm("audit", "assistant")
    assert ran.code == 3
    assert f"ml/assistant: NotServed: policy {name.removeprefix('assistant-')}" in ran.out
    assert "ml/assistant: ChainBroken: entry 2 is missing" in ran.out


def test_audit_of_the_past_needs_no_server_and_with_a_storage_no_cluster(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = api.world.body["status"]["revisions"][0]
    api.world.services.clear()
    then = palm("audit", "assistant", "--at", first["deployed"], "-o", "json")
    assert then.code == 0
    assert then.answer["source"] == "record"
    assert then.answer["portfolios"][0]["deployed"]["revision"] == first["revision"]
    monkeypatch.delenv("KUBECONFIG")
    storage = ["--storage", "s3://palm/runs", "--at", first["deployed"], "-o", "json"]
    alone = palm("audit", "assistant", "-n", "ml", *storage)
    assert alone.answer["portfolios"] == then.answer["portfolios"]
    absent = palm("audit", "other", "-n", "ml", *storage)
    assert absent.code == 2
    assert "there is no record of ml/other" in absent.err


def test_what_is_gone_is_found_where_others_keep_their_records(api: ApiServer) -> None:
    body = portfolio_body()
    body["metadata"] |= {"name": "gone", "uid": "22222222-2222-3333-4444-555555555555"}
    later = api.world.now + timedelta(days=1)
    gone = World(body=body, store=api.world.store, now=later)
    gone.run()
    gone.step()
    since = gone.body["status"]["portfolio"]["since"]
    then = palm("audit", "-A", "--at", since, "-o", "json").answer["portfolios"]
    assert [one["name"] for one in then] == ["assistant", "gone"]
    assert then[1]["deployed"]["since"] == since
    assert len(palm("audit", "-A", "-o", "json").answer["portfolios"]) == 1
    before = api.world.body["status"]["revisions"][0]["deployed"]
    assert len(palm("audit", "-A", "--at", before, "-o", "json").answer["portfolios"]) == 1
    alone = palm("audit", "--storage", "s3://palm/runs", "-o", "json").answer["portfolios"]
    assert [one["name"] for one in alone] == ["assistant", "gone"]
    other = palm("audit", "--storage", "s3://palm/runs", "-n", "other", "-o", "json")
    assert other.answer["portfolios"] == []


def test_one_that_cannot_be_read_does_not_hide_the_others(api: ApiServer) -> None:
    newer = deepcopy(api.world.body)
    newer["metadata"]["name"] = "newer"
    newer["spec"]["inventedLater"] = True
    api.more = [newer]
    ran = palm("audit", "-A")
    assert ran.code == 4
    assert "ml/newer: Unreadable: Portfolio ml/newer cannot be read by this version" in ran.out
    assert "ml/assistant" in ran.out
    assert "without 1 that could not be read" in ran.out
    answer = palm("audit", "-A", "-o", "json").answer
    assert (answer["unread"], answer["agrees"]) == (1, False)
    assert [one["agrees"] for one in answer["portfolios"]] == [True, False]


def test_a_bucket_that_is_not_the_auditors_does_not_hide_the_others(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = deepcopy(api.world.body)
    foreign["metadata"]["name"] = "foreign"
    foreign["spec"]["storage"]["s3"]["bucket"] = "theirs"
    api.more = [foreign]

    class Forbidden:
        def list(self, folder: str) -> dict[str, int]:
            raise StoreUnavailable(f"s3://theirs/{folder}: AccessDenied", code="AccessDenied")

    stores = {"palm": api.world.store, "theirs": Forbidden()}
    monkeypatch.setattr("palm_store.S3Store", lambda location: stores[location.bucket])
    for at in ([], ["--at", "2026-06-01T00:00:00Z"]):
        ran = palm("audit", "-A", "-o", "json", *at)
        assert ran.code == 4
        one, other = ran.answer["portfolios"]
        assert one["agrees"]
        assert "AccessDenied" in other["disagreements"][0]["message"]


def test_rollback_patches_the_pin_and_nothing_else(api: ApiServer) -> None:
    first = api.world.body["status"]["revisions"][0]
    shown = palm("rollback", "assistant", "--dry-run")
    assert (shown.code, api.patches) == (0, [])
    assert f"sha256: {first['manifest']['sha256']}" in shown.out
    ran = palm("rollback", "assistant")
    assert (ran.code, ran.err) == (0, "")
    assert "+   pin:" in ran.out
    ((path, patch),) = api.patches
    assert path.startswith(f"{PORTFOLIOS}/namespaces/ml/portfolios/assistant?")
    assert "fieldManager=palm-cli" in path
    pin = {"revision": first["revision"], "sha256": first["manifest"]["sha256"]}
    assert patch == {"metadata": {"resourceVersion": "1"}, "spec": {"serving": {"pin": pin}}}
    again = palm("rollback", "assistant", "--revision", "1", "-o", "json").answer
    assert (again["changes"], again["applied"], len(api.patches)) == (False, False, 1)
    undone = palm("rollback", "assistant", "--undo", "-o", "json").answer
    assert (undone["applied"], undone["pin"], undone["before"]) == (True, None, pin)
    assert api.patches[-1][1]["spec"] == {"serving": {"pin": None}}


def test_rollback_warns_where_git_owns_the_portfolio(api: ApiServer) -> None:
    api.world.body["metadata"]["managedFields"] = [{"manager": "argocd-controller"}]
    ran = palm("rollback", "assistant")
    assert ran.code == 0
    assert "Argo CD manages ml/assistant: commit this to Git too" in ran.err


def test_rollback_of_what_changed_meanwhile_changes_nothing(api: ApiServer) -> None:
    api.world.body["metadata"]["resourceVersion"] = "2"
    ran = palm("rollback", "assistant")
    assert ran.code == 4
    assert "was changed meanwhile; nothing was done" in ran.err
    unknown = palm("rollback", "assistant", "--revision", "ffffffff")
    assert unknown.code == 2
    assert "the last deployments are number 2" in unknown.err
    both = palm("rollback", "assistant", "--revision", "1", "--undo")
    assert both.code == 2
