"""retentionPolicy: what is in use is written down; what only one Portfolio uses goes with it."""

import asyncio
import copy
import json
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import NOW, World, portfolio_body
from palm import artifacts
from palm.contract import StorageLocation
from palm.errors import InvalidResult, StoreUnavailable
from palm_operator.api.portfolio import parse_portfolio
from palm_operator.calls.evidence import MAX_BYTES
from palm_operator.calls.reading import Found
from palm_operator.calls.uses import Uses, uses_of
from palm_operator.life import retention
from palm_operator.life.purging import digests_in
from palm_operator.names import FINALIZER
from palm_operator.running.observer import Cache
from palm_operator.running.purger import Purger, UseUnknown
from palm_store import InMemoryStore

LOCATION = StorageLocation(bucket="palm", prefix="runs")
MINE, THEIRS = "ml/assistant", "ml/other"
COARSE = {"strategy": "PALM", "mu": "1", "alpha": "1"}


def finished(store: InMemoryStore, name: str = "assistant", **spec) -> World:
    """A Portfolio that has all it wants, with model files as the trainer writes them."""
    body = portfolio_body(training={"parallelism": 9}, **spec)
    body["metadata"] |= {"name": name, "uid": f"uid-of-{name}"}
    made = World(body=body, store=store)
    made.run()
    assert made.condition("Ready")["status"] == "True"
    for key in list(store.objects):
        if key.endswith("trained.json"):
            store.objects[key.replace("trained.json", "model/weights.safetensors")] = b"w"
    return made


def purged(store, *, whose: str = MINE, cache: Cache | None = None):
    purger = Purger(lambda _: store, cache or Cache())
    return asyncio.run(purger.purge(LOCATION, whose))


def below(store: InMemoryStore, folder: str) -> set[str]:
    return {key for key in store.objects if key.startswith(f"{folder}/")}


def left(store: InMemoryStore) -> dict[str, bytes]:
    """All but the record of what was deployed, which stays."""
    return {k: v for k, v in store.objects.items() if not k.startswith("records/")}


def policies(store: InMemoryStore) -> set[str]:
    return {key.split("/")[1] for key in below(store, "policies")}


def test_what_is_relied_on_is_in_s3_before_a_job_is():
    made = World(body=portfolio_body())
    for _ in range(40):
        plan = made.step()
        told = b"".join(made.store.objects[key] for key in below(made.store, "portfolios"))
        for job in plan.creates:
            assert job["metadata"]["labels"]["palm-operator.dev/digest"].encode() in told
        for name in made.unfinished:
            made.finish(name)
    used = below(made.store, "portfolios/ml/assistant/uses")
    assert len(used) == 3  # the base policy's, the extremes', the whole grid's
    assert not made.planned().writes


def test_a_record_of_use_that_somebody_changed_is_written_again():
    made = finished(InMemoryStore())
    used = uses_of(made.portfolio, made.work)
    made.store.objects[used.key] = b"{}"
    (write,) = made.step().writes
    assert (write.key, write.content) == (used.key, used.content)
    assert not made.step().writes
    with pytest.raises(InvalidResult, match="not as it was written"):
        used.parse(b"{}")


def test_digests_are_found_in_any_text_and_nothing_else_is():
    digest, sha = "0123456789abcdef" * 2, "0123456789abcdef" * 4
    text = f'{{"a": "{digest}", "sha256": "{sha}", "x": "s3://b/policies/{digest[::-1]}/model"}}'
    assert digests_in(text.encode()) == {digest, digest[::-1]}


def test_alone_in_the_bucket_a_portfolio_leaves_nothing():
    store = InMemoryStore()
    finished(store)
    store.objects["base/README"] = b"not ours"
    count = len(left(store))
    done = purged(store)
    assert left(store) == {"base/README": b"not ours"}
    assert (done.deleted, done.kept) == (count - 1, 0)


def test_what_another_portfolio_uses_stays_and_nothing_of_it_is_made_again():
    store = InMemoryStore()
    finished(store)
    other = finished(store, "other", grid=COARSE)
    shared, all_of_both = {p.digest for p in other.work.policies}, policies(store)
    assert shared < all_of_both
    done = purged(store)
    assert policies(store) == shared
    assert done.kept > 0
    assert not below(store, "portfolios/ml/assistant")
    assert not other.planned().acts
    # The last of them takes the rest along.
    purged(store, whose=THEIRS)
    assert left(store) == {}


def test_a_deleted_portfolio_that_was_retained_counts_as_a_use():
    store = InMemoryStore()
    finished(store)
    other = finished(store, "other", grid=COARSE)
    kept = {p.digest for p in other.work.policies}
    del other  # S3 alone tells of it
    purged(store)
    assert policies(store) == kept


def test_one_that_wrote_no_record_of_use_is_found_by_its_manifests():
    store = InMemoryStore()
    finished(store)
    other = finished(store, "other", grid=COARSE)
    for key in below(store, "portfolios/ml/other/uses"):
        del store.objects[key]
    purged(store)
    # The base policy's result and the payoff table too, which a manifest does not name.
    assert policies(store) == {p.digest for p in other.work.policies}
    assert other.condition("Ready")["status"] == "True"
    assert not other.planned().creates


def test_what_an_abandoned_revision_has_made_goes_too():
    store = InMemoryStore()
    made = finished(store)
    made.body["spec"]["training"]["seed"] = 7
    made.step()
    for name in made.unfinished:
        made.finish(name)
    made.step()
    made.body["spec"]["training"]["seed"] = 0
    made.step()
    purged(store)
    assert left(store) == {}


def test_of_a_shared_policy_only_the_own_result_goes():
    store = InMemoryStore()
    made = finished(store)
    other = finished(store, "other", evaluation={"seed": 9})
    before = policies(store)
    purged(store)
    assert policies(store) == before
    results = {key for key in store.objects if "/evaluations/" in key}
    assert results == {p.result_key for p in other.work.policies}
    assert made.work.base_key not in store.objects
    assert other.work.base_key in store.objects


def test_checkpoints_go_with_their_policy():
    store = InMemoryStore()
    made = finished(store)
    other = finished(store, "other", grid=COARSE)
    for policy in made.work.policies:
        store.objects[f"checkpoints/{policy.digest}/8-a/complete.json"] = b"{}"
    purged(store)
    left = {key.split("/")[1] for key in below(store, "checkpoints")}
    assert left == {policy.digest for policy in other.work.policies}


class Dying(InMemoryStore):
    """A store whose user is killed at the n-th deletion."""

    def __init__(self, objects: dict[str, bytes], deletions: int) -> None:
        super().__init__()
        self.objects, self.left, self.order = dict(objects), deletions, []

    def delete(self, key: str) -> None:
        if self.left == 0:
            raise StoreUnavailable("killed")
        self.left -= 1
        self.order.append(key)
        super().delete(key)


@lru_cache
def shared() -> dict[str, bytes]:
    """What two Portfolios have that share a prefix."""
    store = InMemoryStore()
    finished(store)
    finished(store, "other", grid=COARSE)
    return store.objects


@lru_cache
def uninterrupted() -> Dying:
    store = Dying(shared(), -1)
    purged(store)
    return store


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 40))
def test_cut_off_anywhere_a_purge_is_finished_by_the_next(deletions):
    assert len(uninterrupted().order) < 40
    store = Dying(shared(), deletions)
    try:
        purged(store)
    except StoreUnavailable:
        # What somebody believes in is whole.
        believed = {key.split("/")[1] for key in store.objects if key.endswith("trained.json")}
        for digest in believed:
            assert f"policies/{digest}/model/weights.safetensors" in store.objects
    store.left = -1
    purged(store)
    assert store.objects == uninterrupted().objects


def test_commit_markers_go_first_and_the_record_of_use_last():
    kinds = ["marker" if k.endswith("trained.json") else "uses" if "/uses/" in k else
             "record" if k.startswith("portfolios/") else "thing"
             for k in uninterrupted().order]  # fmt: skip
    assert sorted(kinds, key=["marker", "thing", "record", "uses"].index) == kinds
    assert set(kinds) == {"marker", "thing", "record", "uses"}


def test_where_others_cannot_be_read_nothing_goes():
    store = InMemoryStore()
    finished(store)
    store.objects["portfolios/ml/other/uses/huge.json"] = b" " * (MAX_BYTES + 1)
    before = dict(store.objects)
    with pytest.raises(UseUnknown, match=r"portfolios/ml/other/uses/huge\.json"):
        purged(store)
    assert store.objects == before


def test_what_is_purged_is_not_remembered_however_it_is_reached():
    store, cache = InMemoryStore(), Cache()
    made = finished(store)
    elsewhere = LOCATION.model_copy(update={"endpoint": "https://S3.example.com"})
    key = made.work.policies[0].record_key
    for location in (LOCATION, elsewhere):
        found = Found(valid=Uses(key, "0" * 32, b""))
        cache.keep(location, key, frozenset(), found)
    cache.keep(LOCATION.model_copy(update={"prefix": "others"}), key, frozenset(), found)
    purged(store, cache=cache)
    assert cache.recalled(LOCATION, key, frozenset()) is None
    assert cache.recalled(elsewhere, key, frozenset()) is None
    others = LOCATION.model_copy(update={"prefix": "others"})
    assert cache.recalled(others, key, frozenset()) is not None


def test_what_was_found_before_it_was_claimed_is_looked_at_again():
    made, cache = World(body=portfolio_body()), Cache()
    assert [write.key for write in made.planned().writes if write.claims]
    key = made.work.base_key
    cache.keep(LOCATION, key, frozenset(), Found(valid=Uses(key, "0" * 32, b"")))
    cache.doubt(LOCATION.model_copy(update={"prefix": "others"}))
    assert cache.recalled(LOCATION, key, frozenset()) is not None
    cache.doubt(LOCATION.model_copy(update={"endpoint": "https://s3.example.com"}))
    assert cache.recalled(LOCATION, key, frozenset()) is None


def test_the_finalizer_is_there_with_delete_alone_and_others_are_left():
    body = portfolio_body()
    body["metadata"]["finalizers"] = ["example.com/theirs"]
    assert not retention.purges(body)
    assert retention.finalizers(body, ours=False) is None
    assert retention.finalizers(body, ours=True) == ["example.com/theirs", FINALIZER]
    body["metadata"]["finalizers"] = [FINALIZER, "example.com/theirs"]
    assert retention.finalizers(body, ours=True) is None
    assert retention.finalizers(body, ours=False) == ["example.com/theirs"]
    body["spec"]["retentionPolicy"] = "Delete"
    assert retention.purges(body)


def test_what_keeps_a_deleted_portfolio_says_how_it_gets_free_and_is_told_once():
    body = portfolio_body()
    plan = retention.leaving(parse_portfolio(body), "StorageUnavailable", "no answer", now=NOW)
    said = {c.type: c for c in plan.status.conditions}
    way_out = """kubectl patch pfo assistant -n ml --type=merge -p '{"spec":{"retentionPolicy":"""
    assert way_out in said["Purged"].message
    assert said["Purged"].message.startswith("no answer")
    assert said["Purged"].status == said["Ready"].status == "False"
    assert [(e.type, e.reason) for e in plan.events] == [("Warning", "StorageUnavailable")]
    again = copy.deepcopy(body)
    again["status"] = json.loads(plan.status.model_dump_json(by_alias=True, exclude_none=True))
    following = retention.leaving(parse_portfolio(again), "StorageUnavailable", "no", now=NOW)
    assert following.events == ()
    waiting = retention.leaving(parse_portfolio(again), "WaitingForJobs", "Job a", now=NOW)
    assert [(e.type, e.reason) for e in waiting.events] == [("Normal", "WaitingForJobs")]


def test_writers_are_named_and_not_all_of_them():
    reason, message = retention.writers_said([f"Job {i}" for i in range(5)])
    assert reason == "WaitingForJobs"
    assert "Job 0, Job 1, Job 2 and 2 more" in message


def test_two_that_share_go_one_after_the_other_and_the_last_takes_all():
    store = InMemoryStore()
    finished(store)
    finished(store, "other", grid=COARSE)
    purger = Purger(lambda _: store, Cache())

    async def both() -> None:
        await asyncio.gather(purger.purge(LOCATION, MINE), purger.purge(LOCATION, THEIRS))

    asyncio.run(both())
    assert left(store) == {}


def test_keys_of_a_portfolio_are_below_its_own_folder():
    assert artifacts.uses("ml", "assistant", "0" * 32).startswith(
        artifacts.own_folder("ml", "assistant") + "/uses/"
    )
