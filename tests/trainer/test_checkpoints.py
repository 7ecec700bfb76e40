"""Checkpoints are whole or not there, and go when nobody will go on from them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from palm.artifacts import checkpoints, training_progress, training_record
from palm.errors import StoreUnavailable
from palm_store import InMemoryStore
from palm_store.job import InvalidRequest
from palm_trainer.checkpoints import Checkpoints, common, new_name, remove_leftovers
from palm_trainer.machines import Machine
from palm_trainer.parts import Parts

DIGEST = "a" * 32
LAYOUT = "1 processes, sharding None"


def folder(path: Path, content: str) -> Path:
    (path / "sub").mkdir(parents=True)
    (path / "optimizer.pt").write_text(content)
    (path / "sub" / "state.json").write_text(content)
    return path


def of(store: InMemoryStore, digest: str = DIGEST, layout: str = LAYOUT) -> Checkpoints:
    return Checkpoints(store, digest, layout=layout)


def restored(store: InMemoryStore, tmp_path: Path, layout: str = LAYOUT) -> str | None:
    made, target = of(store, layout=layout), tmp_path / "restored"
    marker = made.restore(target)
    if marker is None:
        return None
    assert made.last == marker.step
    return (made.folder_of(target, marker) / "sub" / "state.json").read_text()


def test_a_checkpoint_of_two_machines_is_whole_once_both_have_uploaded(tmp_path: Path) -> None:
    store, name = InMemoryStore(), new_name(7)
    first, second = (
        Checkpoints(store, DIGEST, layout=LAYOUT, machine=Machine(index=i, count=2)) for i in (0, 1)
    )
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "rng_state_1.pth").write_text("second's")
    second.write(tmp_path / "1", step=7, seconds=1.0, name=name)
    assert restored(store, tmp_path / "before") is None
    first.write(folder(tmp_path / "0", "first's"), step=7, seconds=1.0, name=name)
    assert restored(store, tmp_path) == "first's"
    (made,) = (tmp_path / "restored").iterdir()
    assert (made / "rng_state_1.pth").read_text() == "second's"
    assert not [key for key in store.list(checkpoints(DIGEST)) if key.startswith("parts/")]


def test_a_checkpoint_of_which_a_machine_uploads_nothing_does_not_exist(tmp_path: Path) -> None:
    store = InMemoryStore()
    made = Checkpoints(store, DIGEST, layout=LAYOUT)
    made._parts = Parts(store, DIGEST, Machine(count=2), patience=3, sleep=lambda _: None)
    with pytest.raises(StoreUnavailable, match="node 1 did not upload its files"):
        made.write(folder(tmp_path / "0", "x"), step=7, seconds=1.0)
    assert restored(store, tmp_path) is None


def test_machines_go_on_from_the_same_step_or_not_at_all(tmp_path: Path) -> None:
    store = InMemoryStore()
    of(store).write(folder(tmp_path / "7", "x"), step=7, seconds=1.0)
    marker = of(store).restore(tmp_path / "restored")
    assert common([marker, marker]) == marker
    assert common([None, None]) is None
    with pytest.raises(RuntimeError, match=r"different steps: \[7, 0\]"):
        common([marker, None])


def test_the_last_checkpoint_is_the_one_to_go_on_from(tmp_path: Path) -> None:
    store = InMemoryStore()
    for step in (9, 10, 100):
        of(store).write(folder(tmp_path / str(step), f"of {step}"), step=step, seconds=1.5)
    assert restored(store, tmp_path) == "of 100"


def test_a_new_checkpoint_removes_the_earlier_ones(tmp_path: Path) -> None:
    store = InMemoryStore()
    for step in (1, 2):
        of(store).write(folder(tmp_path / str(step), "x"), step=step, seconds=1.0)
    assert {name.split("-")[0] for name in store.list(checkpoints(DIGEST))} == {"00000002"}


@pytest.mark.parametrize(
    ("before", "now", "refused"),
    [
        ({"prompts s3://b/p": "1" * 64}, {"prompts s3://b/p": "1" * 64}, False),
        ({"prompts s3://b/p": "1" * 64}, {"prompts s3://b/p": "2" * 64}, True),
        ({}, {"prompts s3://b/p": "2" * 64}, False),  # an earlier image's
    ],
)
def test_no_training_goes_on_with_another_content(
    tmp_path: Path, before: dict[str, str], now: dict[str, str], refused: bool
) -> None:
    store = InMemoryStore()
    written = Checkpoints(store, DIGEST, layout=LAYOUT, inputs=before)
    written.write(folder(tmp_path / "7", "x"), step=7, seconds=1.0)
    made = Checkpoints(store, DIGEST, layout=LAYOUT, inputs=now)
    if not refused:
        assert made.restore(tmp_path / "restored") is not None
        return
    message = "prompts s3://b/p changed during the training: its SHA-256 is 222222222222… and was"
    with pytest.raises(InvalidRequest, match=message):
        made.restore(tmp_path / "restored")


def test_without_a_marker_there_is_no_checkpoint(tmp_path: Path) -> None:
    class Dying(InMemoryStore):
        def write(self, key: str, content: bytes) -> None:
            raise StoreUnavailable("S3 answered SlowDown (HTTP 503)")

    store = Dying()
    with pytest.raises(StoreUnavailable):
        of(store).write(folder(tmp_path / "new", "x"), step=3, seconds=1.0)
    assert store.objects
    assert restored(store, tmp_path) is None


def test_the_marker_is_written_last_and_removed_first(tmp_path: Path) -> None:
    journal: list[str] = []

    class Journal(InMemoryStore):
        def upload_folder(self, source: Path, folder: str) -> dict[str, int]:
            journal.append("files written")
            return super().upload_folder(source, folder)

        def write(self, key: str, content: bytes) -> None:
            journal.append("marker written")
            super().write(key, content)

        def delete(self, key: str) -> None:
            journal.append(f"{'marker' if key.endswith('complete.json') else 'file'} removed")
            super().delete(key)

    store = Journal()
    of(store).write(folder(tmp_path / "1", "x"), step=1, seconds=1.0)
    of(store).write(folder(tmp_path / "2", "x"), step=2, seconds=1.0)
    assert journal == ["files written", "marker written", "files written", "marker written",
                       "marker removed", "file removed", "file removed"]  # fmt: skip


@pytest.mark.parametrize("damage", ["missing", "truncated", "strange"])
def test_a_damaged_checkpoint_is_not_used_and_the_one_before_is(
    tmp_path: Path, damage: str
) -> None:
    store = InMemoryStore()
    of(store).write(folder(tmp_path / "5", "of 5"), step=5, seconds=1.0)
    before = dict(store.objects)
    of(store).write(folder(tmp_path / "6", "of 6"), step=6, seconds=1.0)
    store.objects |= before
    key = next(k for k in store.objects if "/00000006-" in k and k.endswith("optimizer.pt"))
    if damage == "missing":
        del store.objects[key]
    elif damage == "truncated":
        store.objects[key] = store.objects[key][:-1]
    else:
        store.objects[f"{key}.other"] = b"x"
    assert restored(store, tmp_path) == "of 5"


def test_another_layout_cannot_read_a_checkpoint(tmp_path: Path) -> None:
    store = InMemoryStore()
    of(store).write(folder(tmp_path / "5", "x"), step=5, seconds=1.0)
    assert restored(store, tmp_path, layout="2 processes, sharding ZeRO3") is None


def test_a_marker_of_another_policy_is_not_believed(tmp_path: Path) -> None:
    store = InMemoryStore()
    of(store, "b" * 32).write(folder(tmp_path / "5", "x"), step=5, seconds=1.0)
    store.objects |= {k.replace("b" * 32, DIGEST): v for k, v in store.objects.items()}
    assert restored(store, tmp_path) is None


def test_trained_and_abandoned_policies_lose_their_checkpoints_and_others_keep_them(
    tmp_path: Path,
) -> None:
    store = InMemoryStore()
    trained, going_on = "b" * 32, "c" * 32
    for digest in (trained, going_on):
        of(store, digest).write(folder(tmp_path / digest, "x"), step=1, seconds=1.0)
    store.write(training_record(trained), b"{}")
    store.write(training_progress(going_on), b"{}")
    now = datetime.now(UTC)
    assert remove_leftovers(store, at=now) == [trained]
    assert remove_leftovers(store, at=now + timedelta(days=29)) == []
    assert remove_leftovers(store, at=now + timedelta(days=31)) == [going_on]
    assert store.list("checkpoints") == {}
    assert store.exists(training_record(trained))
