"""How far trainings are: read at most once per resync, with suspicion, and told briefly."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from builders import NOW, SETTINGS, World, portfolio_body
from palm.artifacts import training_progress
from palm.contract import StorageLocation
from palm.training_progress import TrainingProgress
from palm_operator.jobs.observed_jobs import Job
from palm_operator.names import Step
from palm_operator.planner import plan
from palm_operator.running.training_progress import TrainingObserver
from palm_store import InMemoryStore

DIGEST = "a" * 32
LOCATION = StorageLocation(bucket="b")
JOB = Job(name="t", uid="1", step=Step.TRAIN.value, digest=DIGEST, policy="w1", begun=True)


def progress(**changes: Any) -> TrainingProgress:
    told: dict[str, Any] = {
        "policy": "w1",
        "policy_digest": DIGEST,
        "step": 120,
        "steps": 833,
        "rewards": {"steps": 0.5, "brevity": 0.25},
        "kl_per_token": 0.0123456,
        "tokens_per_second": 4321.7,
        "seconds_left": 4803.0,
        "checkpoint_step": 100,
        "updated": "2026-01-02T03:04:05Z",
    }
    return TrainingProgress(**(told | changes))


class CountingStore(InMemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def read(self, key: str, *, max_bytes: int) -> bytes | None:
        self.reads += 1
        return super().read(key, max_bytes=max_bytes)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def observed(observer: TrainingObserver, *jobs: Job) -> dict[str, TrainingProgress]:
    return asyncio.run(observer.progress(LOCATION, jobs))


def told_by(store: InMemoryStore, content: bytes) -> None:
    store.write(training_progress(DIGEST), content)


def test_a_running_training_is_read_once_per_resync() -> None:
    store, clock = CountingStore(), Clock()
    observer = TrainingObserver(lambda _: store, every=300, clock=clock)
    told_by(store, progress().model_dump_json(by_alias=True).encode())
    for seconds in (0, 1, 100, 200, 299, 300, 301, 600):
        clock.now = seconds
        assert observed(observer, JOB) == {DIGEST: progress()}
    assert store.reads == 3


def test_a_training_that_waits_is_read_too_and_anew_once_it_runs() -> None:
    """It may wait to go on: its Job does not say so once its Pod is gone."""
    store = CountingStore()
    observer = TrainingObserver(lambda _: store, every=300)
    waiting = replace(JOB, begun=False)
    assert observed(observer, waiting) == {}
    assert observed(observer, waiting) == {}
    assert store.reads == 1
    told_by(store, progress().model_dump_json(by_alias=True).encode())
    assert observed(observer, JOB) == {DIGEST: progress()}
    assert store.reads == 2


def test_what_does_not_train_is_not_read() -> None:
    store = CountingStore()
    observer = TrainingObserver(lambda _: store, every=300)
    others = [
        replace(JOB, state="Complete"),
        replace(JOB, owned=False),
        replace(JOB, step=Step.EVALUATE.value),
    ]
    assert observed(observer, *others) == {}
    assert store.reads == 0


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"x" * 100_000,
        progress(policy_digest="b" * 32).model_dump_json(by_alias=True).encode(),
        progress().model_dump_json(by_alias=True).replace("120", "-1").encode(),
    ],
)
def test_what_cannot_be_believed_is_not_known(content: bytes) -> None:
    store = CountingStore()
    told_by(store, content)
    assert observed(TrainingObserver(lambda _: store, every=300), JOB) == {}


def test_the_status_tells_how_far_a_training_is() -> None:
    world = World()
    world.step()
    (base,) = world.unfinished
    world.finish(base)
    world.step()
    digest = next(r.policy_digest for r in world.requests.values() if hasattr(r, "weights"))
    seen = replace(world.observed, progress={digest: progress(policy_digest=digest)})
    (call,) = plan(world.portfolio, seen, SETTINGS, now=NOW).status.progress
    assert (call.step, call.steps, call.checkpoint_step) == (120, 833, 100)
    assert call.rewards == ["0.5", "0.25"]
    assert (call.tokens_per_second, call.kl_per_token, call.left) == ("4322", "0.01235", "1h20m")


def test_the_status_does_not_grow_with_the_grid() -> None:
    world = World(body=portfolio_body(grid={"mu": "0.1", "alpha": "0.1"}, training={
        "parallelism": 40}, search={"mode": "Grid", "maxOracleCalls": 100}))  # fmt: skip
    for _ in range(6):
        world.step()
        for name in [n for n in world.unfinished if len(world.created) < 6]:
            world.finish(name)
    running = {r.policy_digest for r in world.requests.values() if hasattr(r, "weights")}
    told = {digest: progress(policy_digest=digest) for digest in running}
    seen = replace(world.observed, progress=told)
    assert len(plan(world.portfolio, seen, SETTINGS, now=NOW).status.progress) <= 16
