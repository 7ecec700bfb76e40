"""`palm audit`: what a record said when, and where it and a cluster disagree."""

import csv
import io
import json
from collections.abc import Callable
from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any

import pytest

from builders import World, portfolio_body
from cli.invoke import palm
from palm import artifacts
from palm.contract import EvaluationRequest, TrainingRequest
from palm_cli.audit_chain import Chain, chain, past
from palm_cli.audit_findings import findings
from palm_cli.audit_report import Audited, csv_text, document, facts, policy_rows, rows
from palm_operator import names
from palm_operator.times import parsed, stamp

FOLDER = artifacts.record_folder("ml", "assistant")


def settled(made: World) -> World:
    made.run()
    for _ in range(4):
        made.serve()
        made.step()
    return made


@pytest.fixture(scope="module")
def refreshed() -> World:
    """Three deployments: of two revisions, and then back to the first."""
    made = settled(World(body=portfolio_body()))
    made.body["spec"]["training"] = {"seed": 7, "parallelism": 9}
    settled(made)
    first = made.body["status"]["revisions"][0]
    pin = {"revision": first["revision"], "sha256": first["manifest"]["sha256"]}
    made.body["spec"]["serving"] = {"pin": pin}
    return settled(made)


def read(prompts: str) -> dict[str, Any]:
    """What an image says that it read; the argument is the first digit of the prompts' SHA-256."""
    return {
        "image": "registry.example/palm@sha256:1",
        "versions": {},
        "baseModel": {"uri": "s3://models/tiny", "sha256": "b" * 64},
        "prompts": {"uri": "s3://data/prompts.jsonl", "sha256": prompts * 64},
        "rewards": [],
    }


class Telling(World):
    """Its images say what they read."""

    def answer(self, request: TrainingRequest | EvaluationRequest) -> None:
        super().answer(request)
        if isinstance(request, EvaluationRequest):
            key = artifacts.evaluation_result(request.policy_digest, request.evaluation_digest)
            result = json.loads(self.store.objects[key])
            trained = {"training": read("c")} if request.policy_digest else {}
            result["provenance"] = {**read("e"), "requestSha256": "d" * 64, **trained}
            self.store.objects[key] = json.dumps(result).encode()


def settled_with_provenance() -> World:
    return settled(Telling(body=portfolio_body()))


def objects(made: World) -> dict[str, bytes]:
    start = f"{FOLDER}/"
    return {k.removeprefix(start): v for k, v in made.store.objects.items() if k.startswith(start)}


def record_of(made: World, found: dict[str, bytes] | None = None) -> Chain:
    said = made.portfolio.status.record
    entries = objects(made) if found is None else found
    return chain(entries, namespace="ml", name="assistant", said=said)


def audited(
    made: World, *, servers: list[Any] | None = None, record: Chain | None = None
) -> Audited:
    record = record or record_of(made)
    listed = list(made.services.values()) if servers is None else servers
    sha256 = made.body["status"]["portfolio"]["manifest"]["sha256"]
    manifest = made.store.objects.get(artifacts.manifest_copy("ml", "assistant", sha256))
    said = past(record)
    found = findings(made.portfolio, listed, record, said, manifest=manifest)
    return Audited("ml", "assistant", said, record, made.portfolio, found)


def kinds(made: Audited) -> set[str]:
    return {finding.kind for finding in made.found}


def test_cluster_and_record_agree_about_what_is_deployed(refreshed: World) -> None:
    made = audited(refreshed)
    assert made.agrees
    answer = document(made)
    shown = refreshed.body["status"]["portfolio"]
    deployed = answer["deployed"]
    assert (deployed["number"], deployed["reason"]) == (3, "Pinned")
    assert deployed["since"] == shown["since"]
    assert deployed["guarantee"]["epsilon"] == shown["guarantee"]["epsilon"]
    assert [p["name"] for p in deployed["policies"]] == [p["name"] for p in shown["policies"]]
    assert [p["since"] for p in deployed["policies"]] == [p["since"] for p in shown["policies"]]
    for policy in deployed["policies"]:
        service = refreshed.services[policy["service"]]["metadata"]
        assert policy["policyDigest"] == service["annotations"][names.ANNOTATION_POLICY_DIGEST]
        assert policy["ready"] is True
    # Pinned to the first revision: from its inputs, not from those of the spec now.
    assert deployed["inputs"]["revision"] == deployed["revision"]
    assert deployed["inputs"]["inputs"]["training"]["seed"] == 0
    assert answer["oracleCalls"] == {"recorded": 10, "failed": 0}
    assert answer["pin"]["revision"] == deployed["revision"]


def test_a_time_in_the_past_is_answered_from_the_record_alone(refreshed: World) -> None:
    record, history = record_of(refreshed), refreshed.body["status"]["revisions"]
    for entry in history:
        said = past(record, at=parsed(entry["deployed"]))
        assert said.deployed is not None
        assert said.inputs is not None
        assert (said.deployed.number, said.deployed.revision) == (
            entry["number"],
            entry["revision"],
        )
        assert said.inputs.revision == entry["revision"]
    before = parsed(history[0]["deployed"]) - timedelta(seconds=1)
    assert past(record, at=before).deployed is None
    assert past(record, at=datetime(2020, 1, 1, tzinfo=before.tzinfo)).uid == ""
    # Between the second switch and the retirement after it, the first one winds down.
    second = past(record, at=parsed(history[1]["deployed"]))
    assert [deployed.number for deployed in second.retiring] == [1]
    assert past(record, at=parsed(history[0]["retired"])).retiring == ()


def _unlabelled(service: dict[str, Any]) -> None:
    service["metadata"]["annotations"][names.ANNOTATION_POLICY_DIGEST] = "0" * 32


def _another_model(service: dict[str, Any]) -> None:
    text = json.dumps(service["spec"])
    digest = service["metadata"]["annotations"][names.ANNOTATION_POLICY_DIGEST]
    service["spec"] = json.loads(text.replace(digest, "0" * 32))


def _another_revision(service: dict[str, Any]) -> None:
    service["metadata"]["labels"][names.LABEL_REVISION] = "ffffffff"


def _another_owner(service: dict[str, Any]) -> None:
    service["metadata"]["ownerReferences"] = []


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (_unlabelled, "DigestDiffers"),
        (_another_model, "DigestDiffers"),
        (_another_revision, "OtherRevision"),
        (_another_owner, "NotRecorded"),
    ],
)
def test_a_server_that_is_not_as_recorded_is_found(
    refreshed: World, change: Callable[[dict[str, Any]], None], kind: str
) -> None:
    servers = deepcopy(list(refreshed.services.values()))
    change(servers[0])
    made = audited(refreshed, servers=servers)
    assert kinds(made) == {kind}
    assert servers[0]["metadata"]["name"] in made.found[0].message


def test_a_server_that_is_gone_and_one_too_many_are_found(refreshed: World) -> None:
    servers = deepcopy(list(refreshed.services.values()))
    extra = deepcopy(servers[0])
    extra["metadata"]["name"] = "assistant-w99-aaaaaa"
    assert kinds(audited(refreshed, servers=[*servers, extra])) == {"NotRecorded"}
    assert kinds(audited(refreshed, servers=servers[1:])) == {"NotServed"}


def test_what_is_being_published_is_no_disagreement() -> None:
    made = settled(World(body=portfolio_body()))
    made.body["spec"]["training"] = {"seed": 7, "parallelism": 9}
    for _ in range(12):
        made.step()
        for name in made.unfinished:
            made.finish(name)
    assert made.condition("Published")["status"] == "False"
    assert len(made.services) > made.body["status"]["portfolio"]["size"]
    made.step()
    assert audited(made).found == []


def test_a_deployment_without_a_record_and_a_record_without_a_deployment() -> None:
    made = settled(World(body=portfolio_body()))
    alone = audited(made, record=Chain())
    assert kinds(alone) >= {"NotRecorded"}
    undeployed = World(body=deepcopy(made.body), store=made.store, services=made.services)
    undeployed.body["status"].pop("portfolio")
    record = record_of(made)
    found = findings(undeployed.portfolio, [], record, past(record), manifest=None)
    assert {finding.kind for finding in found} == {"NotServed"}


def test_a_manifest_that_was_changed_or_removed_is_found() -> None:
    made = settled(World(body=portfolio_body()))
    sha256 = made.body["status"]["portfolio"]["manifest"]["sha256"]
    key = artifacts.manifest_copy("ml", "assistant", sha256)
    made.store.objects[key] += b" "
    assert kinds(audited(made)) == {"DigestDiffers"}
    del made.store.objects[key]
    assert kinds(audited(made)) == {"DigestDiffers"}


def _removed(found: dict[str, bytes]) -> None:
    del found["00000002.json"]


def _cut(found: dict[str, bytes]) -> None:
    del found[max(found)]


def _changed(found: dict[str, bytes]) -> None:
    found["00000002.json"] = found["00000002.json"].replace(b"OracleCall", b"oracleCall")


def _last_changed(found: dict[str, bytes]) -> None:
    found[max(found)] = found[max(found)].replace(b'"written":"2', b'"written":"3')


def _swapped(found: dict[str, bytes]) -> None:
    one, two = found["00000002.json"], found["00000003.json"]
    found["00000002.json"], found["00000003.json"] = two, one


def _garbage(found: dict[str, bytes]) -> None:
    found["00000003.json"] = b"not JSON"


def _foreign(found: dict[str, bytes]) -> None:
    found["../evil\x1b[31m"] = b"{}"


def _drawing(found: dict[str, bytes]) -> None:
    entry = json.loads(found[max(found)])
    entry["events"][-1]["reason"] = "\x1b[2J"
    found[max(found)] = json.dumps(entry).encode()


def _of_no_time(found: dict[str, bytes]) -> None:
    entry = json.loads(found[max(found)])
    entry["events"][-1]["time"] = "2026-99-99T00:00:00Z"
    found[max(found)] = json.dumps(entry).encode()


def _emptied(found: dict[str, bytes]) -> None:
    found.clear()


@pytest.mark.parametrize(
    "damage",
    [
        _removed,
        _cut,
        _changed,
        _last_changed,
        _swapped,
        _garbage,
        _foreign,
        _drawing,
        _of_no_time,
        _emptied,
    ],
)
def test_whatever_is_done_to_the_chain_shows(
    refreshed: World, damage: Callable[[dict[str, bytes]], None]
) -> None:
    found = objects(refreshed)
    damage(found)
    record = record_of(refreshed, found)
    assert record.faults
    assert "\x1b" not in "".join(record.faults)
    assert "ChainBroken" in kinds(audited(refreshed, record=record))


def test_an_operator_that_is_ahead_of_the_status_is_no_fault(refreshed: World) -> None:
    said = refreshed.portfolio.status.record
    assert said is not None
    older = said.model_copy(update={"entries": 1})
    first = record_of(refreshed, {"00000001.json": objects(refreshed)["00000001.json"]})
    older = older.model_copy(update={"sha256": first.sha256})
    assert not chain(objects(refreshed), namespace="ml", name="assistant", said=older).faults


def test_tables_and_csv_have_a_line_per_portfolio_and_per_policy(refreshed: World) -> None:
    made = audited(refreshed)
    size = refreshed.body["status"]["portfolio"]["size"]
    (row,) = rows([made])
    assert row[:2] == ["ml/assistant", str(size)]
    assert row[-1] == "yes"
    assert len(list(policy_rows(made))) == size
    assert dict(facts(made))["base model"] == "s3://models/tiny"
    lines = list(csv.DictReader(io.StringIO(csv_text([made]))))
    assert len(lines) == size
    assert {line["policies"] for line in lines} == {str(size)}
    assert all(line["policy_digest"] and line["inputs_sha256"] for line in lines)
    empty = Audited("ml", "other", past(Chain()), Chain())
    (line,) = csv.DictReader(io.StringIO(csv_text([empty])))
    assert (line["name"], line["policies"]) == ("other", "0")
    assert next(rows([empty]))[1] == "0"


def test_a_portfolio_that_was_made_anew_is_another_one() -> None:
    made = settled(World(body=portfolio_body()))
    first = made.body["status"]["portfolio"]
    body = portfolio_body()
    body["metadata"]["uid"] = "22222222-2222-3333-4444-555555555555"
    later = made.now + timedelta(days=1)
    body["metadata"]["creationTimestamp"] = stamp(later)
    again = World(body=body, store=made.store, now=later)
    again.step()
    record = record_of(again)
    assert past(record).deployed is None
    then = past(record, at=parsed(first["since"]) + timedelta(hours=1))
    assert then.deployed is not None
    assert then.uid == made.body["metadata"]["uid"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["assistant", "-A"], "-A is for all Portfolios"),
        (["--at", "yesterday"], "--at is"),
        (["assistant", "--storage", "s3://palm"], "--storage with a NAME needs --namespace"),
        (["assistant", "-n", "ml", "--storage", "palm"], "it must be s3://BUCKET/PREFIX"),
        (["--endpoint", "http://x"], "--endpoint and --region go with --storage"),
    ],
)
def test_wrong_questions_are_refused(arguments: list[str], message: str) -> None:
    ran = palm("audit", *arguments)
    assert ran.code == 2
    assert message in ran.err


def test_the_contents_that_policies_were_made_from_are_in_the_answer() -> None:
    made = settled_with_provenance()
    answer = audited(made)
    for policy in document(answer)["deployed"]["policies"]:
        training = policy["madeFrom"]["training"]
        assert training["read"]["baseModel"]["sha256"] == "b" * 64
        assert made.jobs[training["job"]]["metadata"]["uid"] == training["uid"]
    assert dict(facts(answer))["train prompts"] == f"sha256 {'c' * 64}"
    for line in csv.DictReader(io.StringIO(csv_text([answer]))):
        assert line["base_model_sha256"] == "b" * 64
        assert line["evaluation_prompts_sha256"] == "e" * 64


def test_contents_are_known_also_where_an_earlier_portfolio_of_the_name_made_them() -> None:
    made = settled_with_provenance()
    body = portfolio_body()
    body["metadata"]["uid"] = "22222222-2222-3333-4444-555555555555"
    again = settled(World(body=body, store=made.store, now=made.now))
    assert not [name for name in again.created if "train" in name]
    (policy, *_) = document(audited(again))["deployed"]["policies"]
    assert policy["madeFrom"]["training"]["read"]["baseModel"]["sha256"] == "b" * 64
