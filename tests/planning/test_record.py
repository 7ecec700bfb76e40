"""The record: append-only, chained, every event once, whoever is killed when."""

import asyncio
import json
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

import records
from builders import NOW, SETTINGS, World, portfolio_body
from palm import artifacts
from palm.schema import sha256_of
from palm_operator.api.portfolio import parse_portfolio
from palm_operator.calls.requests import storage_location
from palm_operator.plan import Plan
from palm_operator.record.chain import Recorded
from palm_operator.record.events import entry_bytes, parsed_entry
from palm_operator.record.news import deletion
from palm_operator.running.asking import Asker
from palm_operator.running.executor import Executor
from palm_operator.running.observer import Cache
from palm_operator.running.reconciler import Reconciler
from palm_operator.running.records import Records, whole_record
from palm_operator.serving.revisions import history
from palm_store import InMemoryStore

FOLDER = artifacts.record_folder("ml", "assistant")


def settled(made: World) -> World:
    made.run()
    for _ in range(4):
        made.serve()
        made.step()
    return made


def entries(made: World) -> list[dict[str, Any]]:
    return records.entries(made.store.objects, FOLDER)


def events(made: World, *types: str) -> list[dict[str, Any]]:
    return records.events(made.store.objects, FOLDER, *types)


def assert_chained(made: World) -> None:
    assert made.body["status"]["record"] == {
        "uri": f"s3://palm/runs/{FOLDER}",
        "entries": len(entries(made)),
        "sha256": records.assert_chained(made.store.objects, FOLDER),
    }


def test_everything_that_happens_is_recorded_in_order_and_chained():
    made = settled(World(body=portfolio_body()))
    first = made.body["status"]["portfolio"]
    made.body["spec"]["training"] = {"seed": 7, "parallelism": 9}
    made.body["metadata"]["generation"] = 2
    settled(made)
    assert_chained(made)
    kinds = [event["type"] for event in events(made)]
    assert kinds[:2] == ["Created", "Inputs"]
    assert kinds.count("OracleCall") == 10
    assert kinds.count("Inputs") == kinds.count("Decided") == kinds.count("Deployed") == 2
    assert kinds.index("Decided") > kinds.index("OracleCall")
    assert [event["number"] for event in events(made, "Deployed", "Retired")] == [1, 2, 1]
    deployed, second = events(made, "Deployed")
    assert (deployed["reason"], second["reason"]) == ("First", "Revision")
    assert deployed["time"] == first["since"]
    assert deployed["manifest"]["sha256"] == first["manifest"]["sha256"]
    assert [p["service"] for p in deployed["policies"]] == [p["service"] for p in first["policies"]]
    assert deployed["guarantee"]["epsilon"] == first["guarantee"]["epsilon"]
    inputs = events(made, "Inputs")[1]
    assert (inputs["generation"], inputs["inputs"]["training"]["seed"]) == (2, 7)
    decided = events(made, "Decided")[0]
    assert {p["name"] for p in decided["policies"]} == {p["name"] for p in first["policies"]}


def test_an_oracle_call_names_its_jobs_and_the_objects_they_made():
    made = settled(World(body=portfolio_body()))
    for call in events(made, "OracleCall"):
        for made_by in (call["training"], call["evaluation"]):
            assert sha256_of(made.store.objects[made_by["key"]]) == made_by["sha256"]
            assert made.jobs[made_by["job"]]["metadata"]["uid"] == made_by["uid"]


def test_what_is_found_in_s3_has_no_job():
    made = settled(World(body=portfolio_body()))
    body = portfolio_body()
    body["metadata"] |= {"name": "other", "uid": "other-uid"}
    other = World(body=body, store=made.store)
    other.run()
    key = artifacts.record_folder("ml", "other")
    found = [
        event
        for name, content in other.store.objects.items()
        if name.startswith(key)
        for event in json.loads(content)["events"]
        if event["type"] == "OracleCall"
    ]
    assert len(found) == 5
    assert not any("job" in call["training"] for call in found)


def test_a_failed_job_is_recorded_once_without_its_message():
    made = World(body=portfolio_body())
    for _ in range(20):
        made.step()
        for name in made.unfinished:
            made.finish(name, outcome="Failed" if "w02" in name else "Complete")
    (failed,) = events(made, "OracleCallFailed")
    assert failed["policy"].startswith("w02-")
    assert failed["reason"] == "BackoffLimitExceeded"
    assert "backoff limit" not in json.dumps(entries(made))


def test_an_idle_operator_writes_nothing():
    made = settled(World(body=portfolio_body()))
    before = dict(made.store.objects)
    plan = made.step()
    assert not plan.writes
    assert made.store.objects == before


@pytest.mark.parametrize("after", range(0, 16, 3))
def test_whoever_is_killed_after_an_entry_was_written_records_nothing_twice(after: int):
    whole = settled(World(body=portfolio_body()))
    made = World(body=portfolio_body())
    writing = 0
    for _ in range(30):
        will_write = any(write.exclusive for write in made.planned().writes)
        writing += will_write
        killed = will_write and writing == after + 1
        made.step(creates=0 if killed else None)
        for name in made.unfinished:
            made.finish(name)
        made.serve()
    assert_chained(made)
    told = records.told(made.store.objects, FOLDER)
    assert told == records.told(whole.store.objects, FOLDER)


def test_many_events_are_divided_among_entries_and_none_is_lost(monkeypatch):
    whole = settled(World(body=portfolio_body()))
    monkeypatch.setattr("palm_operator.record.news.EVENTS_LIMIT", 2)
    made = World(body=portfolio_body())
    for _ in range(3):
        settled(made)
    assert max(len(entry["events"]) for entry in entries(made)) == 2
    assert_chained(made)
    assert records.told(made.store.objects, FOLDER) == records.told(whole.store.objects, FOLDER)


def test_a_reason_that_is_none_is_not_recorded():
    made = World(body=portfolio_body())
    made.step()
    job = made.jobs[made.unfinished[0]]
    failed = {"type": "Failed", "status": "True", "reason": "\x1b[2J", "message": "no"}
    job["status"] = {"conditions": [failed]}
    made.step()
    (event,) = events(made, "OracleCallFailed")
    assert event["reason"] == ""


def test_a_rollback_is_recorded_with_what_it_went_back_to():
    made = settled(World(body=portfolio_body()))
    made.body["spec"]["pruning"] = {"mu": "0.3"}
    settled(made)
    first = made.body["status"]["revisions"][0]
    pin = {"revision": first["revision"], "sha256": first["manifest"]["sha256"]}
    made.body["spec"]["serving"] = {"pin": pin}
    settled(made)
    made.body["spec"]["serving"] = {}
    settled(made)
    pins = events(made, "Pinned")
    assert [event.get("sha256") for event in pins] == [pin["sha256"], None]
    reasons = [event["reason"] for event in events(made, "Deployed")]
    assert reasons == ["First", "Pruning", "Pinned", "Pruning"]
    assert_chained(made)


def test_no_secret_of_a_template_is_in_it():
    template = {
        "env": [{"name": "HF_TOKEN", "value": "hunter2-secret"}],
        "annotations": {"note": "hunter2-secret"},
        "args": ["hunter2-secret"],
    }
    template.pop("args")
    body = portfolio_body(
        training={"template": template}, evaluation={"template": template},
        serving={"template": template},
    )  # fmt: skip
    body["spec"]["storage"]["s3"]["credentialsSecret"] = {"name": "palm-s3"}
    made = settled(World(body=body))
    assert events(made, "Deployed")
    assert "hunter2" not in json.dumps(entries(made))
    assert "credential" not in json.dumps(entries(made)).lower()


def test_another_portfolio_of_the_name_goes_on_with_the_chain_and_counts_anew():
    made = settled(World(body=portfolio_body()))
    body = portfolio_body()
    body["metadata"]["uid"] = "22222222-2222-3333-4444-555555555555"
    again = settled(World(body=body, store=made.store))
    assert_chained(again)
    assert [event["number"] for event in events(again, "Deployed")] == [1, 1]
    assert len(events(again, "OracleCall")) == 5
    assert len(events(again, "Created")) == 2
    assert {entry["portfolio"]["uid"] for entry in entries(again)} == {
        made.body["metadata"]["uid"],
        body["metadata"]["uid"],
    }


def test_a_deletion_ends_the_record_once():
    made = settled(World(body=portfolio_body()))
    body = deepcopy(made.body)
    body["metadata"]["deletionTimestamp"] = "2026-02-03T04:05:06Z"
    portfolio = parse_portfolio(body)
    recorded = whole_record(made.store, portfolio)
    (write,) = deletion(portfolio, recorded, now=made.now).writes
    assert made.store.write_if_absent(write.key, write.content)
    assert events(made, "Deleted") == [{"type": "Deleted", "time": "2026-02-03T04:05:06Z"}]
    assert not deletion(portfolio, whole_record(made.store, portfolio), now=made.now).writes
    assert not deletion(portfolio, Recorded(), now=made.now).writes


def test_an_end_that_somebody_removed_stays_missing():
    made = settled(World(body=portfolio_body()))
    count = len(entries(made))
    last = f"{FOLDER}/{count:08d}.json"
    sha256 = sha256_of(made.store.objects.pop(last))
    made.body["spec"]["pruning"] = {"mu": "0.3"}
    settled(made)
    assert last not in made.store.objects
    following = json.loads(made.store.objects[f"{FOLDER}/{count + 1:08d}.json"])
    assert following["previous"] == sha256


def test_an_entry_that_somebody_changed_is_not_hidden_and_stops_nothing():
    made = settled(World(body=portfolio_body()))
    count = len(entries(made))
    for key, content in ((f"{FOLDER}/00000002.json", b"{}"), (f"{FOLDER}/note.txt", b"hello")):
        made.store.objects[key] = content
    made.body["spec"]["pruning"] = {"mu": "0.3"}
    made.run()
    assert made.store.objects[f"{FOLDER}/00000002.json"] == b"{}"
    assert f"{FOLDER}/{count + 1:08d}.json" in made.store.objects


class CountingStore(InMemoryStore):
    """Counts what is asked of a record."""

    asked = 0

    def read(self, key: str, *, max_bytes: int) -> bytes | None:
        self.asked += key.startswith("records/")
        return super().read(key, max_bytes=max_bytes)

    def list(self, folder: str) -> dict[str, int]:
        self.asked += folder.startswith("records/")
        return super().list(folder)


def test_a_record_is_read_once_and_then_as_far_as_it_grew():
    store = CountingStore()
    made = settled(World(body=portfolio_body(), store=store))
    count, reader = len(entries(made)), Records()
    store.asked = 0
    whole = reader.read(store, made.portfolio)
    assert (whole.sequence, store.asked) == (count, count + 1)
    assert reader.read(store, made.portfolio) == whole
    assert store.asked == count + 1
    made.body["spec"]["pruning"] = {"mu": "0.3"}
    made.step()
    key = artifacts.record_entry("ml", "assistant", count + 1)
    reader.grown(storage_location(made.portfolio.spec), key)
    store.asked = 0
    grown = reader.read(store, made.portfolio)
    assert grown.sequence == len(entries(made)) > count
    assert store.asked == grown.sequence - count + 1
    assert grown == whole_record(store, made.portfolio)


def test_a_plan_made_before_the_record_grew_is_not_carried_out():
    made = World(body=portfolio_body())
    plan: Plan = made.planned()
    (write,) = (write for write in plan.writes if write.exclusive)
    made.store.write(write.key, b"another operator's")
    executor = Executor(None, lambda _: made.store, Cache())  # type: ignore[arg-type]
    assert not executor._store(made.portfolio, replace(plan, discards=()))
    assert made.store.objects[write.key] == b"another operator's"


def test_an_entry_is_read_back_as_it_was_written():
    made = settled(World(body=portfolio_body()))
    for key, content in made.store.objects.items():
        if key.startswith(FOLDER):
            entry = parsed_entry(content)
            assert entry_bytes(entry) == content
            assert len(entry.parsed) == len(entry.events)


def test_a_status_that_was_lost_hides_no_deployment():
    made = settled(World(body=portfolio_body()))
    made.body["spec"]["pruning"] = {"mu": "0.3"}
    settled(made)
    del made.body["status"]
    settled(made)
    (known,) = made.body["status"]["revisions"]
    assert (known["number"], known["reason"]) == (3, "StatusLost")
    last = events(made, "Deployed")[-1]
    assert (last["number"], last["time"]) == (3, made.body["status"]["portfolio"]["since"])
    assert {event["number"] for event in events(made, "Retired")} == {1, 2}
    assert_chained(made)


def test_two_deployments_within_one_second_are_two():
    portfolio = settled(World(body=portfolio_body())).portfolio
    first = portfolio.status.portfolio
    assert first is not None
    second = first.model_copy(
        update={"manifest": first.manifest.model_copy(update={"sha256": "0" * 64})}
    )
    for shown, numbers in ((first, [1]), (second, [1, 2])):
        found = history(portfolio, shown, has_leftovers=True, recorded=1, now=NOW)
        assert [entry.number for entry in found] == numbers


def test_a_number_that_somebody_forged_is_not_counted_on():
    made = settled(World(body=portfolio_body()))
    count = len(entries(made))
    forged = json.loads(made.store.objects[f"{FOLDER}/{count:08d}.json"])
    forged |= {"sequence": count + 1, "events": events(made, "Deployed")}
    forged["events"][0]["number"] = 10**30
    made.store.objects[f"{FOLDER}/{count + 1:08d}.json"] = json.dumps(forged).encode()
    made.body["spec"]["pruning"] = {"mu": "0.3"}
    settled(made)
    assert [entry["number"] for entry in made.body["status"]["revisions"]] == [1, 2]


class OneBody:
    """A cluster that has one Portfolio, or none, and takes its status."""

    def __init__(self, body: dict[str, Any] | None) -> None:
        self.body = body

    async def portfolio(self, namespace: str, name: str) -> dict[str, Any] | None:
        return self.body

    async def report(self, body: Any, status: Any) -> bool:
        assert self.body is not None
        self.body["status"] = status
        return True

    async def tell(self, *_: Any, **__: Any) -> str:
        return "an-event"


@pytest.mark.parametrize("state", ["paused", "refused"])
def test_an_end_is_recorded_also_of_what_a_new_operator_never_worked_on(state: str):
    made = settled(World(body=portfolio_body()))
    if state == "paused":
        made.body["metadata"]["annotations"] = {"palm-operator.dev/paused": "yes"}
    else:
        made.body["spec"]["search"] = {"mode": "Grid", "maxOracleCalls": 2}
        made.body["status"].pop("portfolio")  # nor does anybody look at servers
    cluster = OneBody(made.body)
    reconciler = Reconciler(
        cluster,  # type: ignore[arg-type]
        lambda _: made.store,
        SETTINGS,
        Asker(print),  # type: ignore[arg-type]
        clock=lambda: made.now,
    )

    async def life() -> None:
        await reconciler.reconcile("ml", "assistant")
        assert not events(made, "Deleted")
        cluster.body = None
        for _ in range(2):
            await reconciler.reconcile("ml", "assistant")

    asyncio.run(life())
    assert len(events(made, "Deleted")) == 1
    records.assert_chained(made.store.objects, FOLDER)
