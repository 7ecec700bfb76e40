"""One contract, two stores: the fake that ships and the real S3 server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from palm.contract import StorageLocation
from palm.errors import InvalidResult, StoreUnavailable
from palm_store import InMemoryStore, ResultStore, S3Store
from stores import s3_location


@pytest.fixture(params=["memory", pytest.param("s3", marks=pytest.mark.cluster)])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ResultStore:
    if request.param == "memory":
        return InMemoryStore()
    return S3Store(s3_location(request.getfixturevalue("cluster"), "store", monkeypatch))


def test_what_was_written_is_read(store: ResultStore) -> None:
    store.write("a/b.json", b"{}")
    assert store.read("a/b.json", max_bytes=2) == b"{}"


def test_an_absent_object_reads_as_none(store: ResultStore) -> None:
    assert store.read("absent.json", max_bytes=10) is None


def test_an_object_exists_once_it_is_written(store: ResultStore) -> None:
    assert not store.exists("marker.json")
    store.write("marker.json", b"1")
    assert store.exists("marker.json")


def test_a_later_write_replaces_the_earlier(store: ResultStore) -> None:
    store.write("twice", b"one")
    store.write("twice", b"two")
    assert store.read("twice", max_bytes=10) == b"two"


def test_only_the_first_of_two_conditional_writes_succeeds(store: ResultStore) -> None:
    content = b"first"
    assert store.write_if_absent("once", content)
    assert not store.write_if_absent("once", content)
    assert not store.write_if_absent("once", b"second")
    assert store.read("once", max_bytes=10) == b"first"


def test_an_object_that_is_too_large_is_refused_with_its_size(store: ResultStore) -> None:
    store.write("large", b"x" * 2_000)
    with pytest.raises(InvalidResult, match=r"large.* has 2,000 bytes; at most 1,999 are read"):
        store.read("large", max_bytes=1_999)


def test_a_folder_lists_what_is_below_it_and_nothing_else(store: ResultStore) -> None:
    store.write("one/a", b"1")
    store.write("one/deep/b", b"22")
    store.write("one-more/c", b"333")
    assert store.list("one") == {"a": 1, "deep/b": 2}


def test_an_absent_folder_lists_nothing(store: ResultStore) -> None:
    assert store.list("nothing") == {}


def test_a_folder_survives_the_way_up_and_down(store: ResultStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "a.json").write_bytes(b"{}")
    (source / "deep" / "b.bin").write_bytes(bytes(range(256)))
    sizes = {"a.json": 2, "deep/b.bin": 256}
    assert store.upload_folder(source, "models/x") == sizes
    assert store.download_folder("models/x", tmp_path / "target") == sizes
    assert (tmp_path / "target" / "deep" / "b.bin").read_bytes() == bytes(range(256))


def test_what_is_not_wanted_of_a_folder_stays_there(store: ResultStore, tmp_path: Path) -> None:
    for name in ("model.safetensors", "pytorch_model.bin", "original/Consolidated.00.PTH"):
        store.write(f"models/x/{name}", b"1")
    read = store.download_folder("models/x", tmp_path / "target", without=(".bin", ".pth"))
    assert read == {"model.safetensors": 1}
    assert [path.name for path in (tmp_path / "target").rglob("*")] == ["model.safetensors"]
    store.write("models/y/pytorch_model.bin", b"1")
    with pytest.raises(InvalidResult, match=r"but 1 files that are not read \(.bin"):
        store.download_folder("models/y", tmp_path / "other", without=(".bin",))


def test_downloading_an_absent_folder_is_an_error(store: ResultStore, tmp_path: Path) -> None:
    with pytest.raises(InvalidResult, match=r"there is nothing below .*absent"):
        store.download_folder("absent", tmp_path)


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    store = InMemoryStore()
    store.write("models/x/../../escaped", b"!")
    with pytest.raises(InvalidResult, match="not a plain path"):
        store.download_folder("models/x", tmp_path / "target")
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.cluster
def test_an_absent_bucket_is_named_with_s3s_own_code(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = s3_location(cluster, "store", monkeypatch).model_copy(update={"bucket": "no-such"})
    with pytest.raises(StoreUnavailable, match=r"s3://no-such/.*a\.json at http.*NoSuchBucket"):
        S3Store(location).write("a.json", b"{}")


@pytest.mark.cluster
def test_an_absent_bucket_is_not_an_absent_object(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = s3_location(cluster, "store", monkeypatch).model_copy(update={"bucket": "no-such"})
    with pytest.raises(StoreUnavailable, match="NoSuchBucket"):
        S3Store(location).read("a.json", max_bytes=10)


@pytest.mark.cluster
def test_wrong_credentials_are_refused_without_being_repeated(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = s3_location(cluster, "store", monkeypatch)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    with pytest.raises(StoreUnavailable, match="SignatureDoesNotMatch") as refused:
        S3Store(location).read("a.json", max_bytes=10)
    assert "not-the-secret" not in str(refused.value)


def test_a_server_that_does_not_answer_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    endpoint = f"http://127.0.0.1:{unused_port}"
    store = S3Store(StorageLocation(bucket="b", endpoint=endpoint))
    with pytest.raises(StoreUnavailable, match=rf"s3://b/key at {endpoint}: EndpointConnection"):
        store.read("key", max_bytes=10)


@pytest.mark.parametrize("action", [lambda s: s.exists("k"), lambda s: s.list("k")])
def test_every_reading_says_that_the_store_is_unavailable(
    action: Callable[[ResultStore], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StoreUnavailable, match="NoCredentialsError"):
        action(S3Store(StorageLocation(bucket="b", endpoint="http://127.0.0.1:9")))
