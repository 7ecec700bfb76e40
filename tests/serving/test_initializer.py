"""The storage initializer: what KServe asks of its image, against the cluster's S3."""

import pytest

from palm.contract import StorageLocation
from palm_devcluster.serving.initializer import _pinned, main
from palm_store import S3Store

pytestmark = pytest.mark.cluster


@pytest.fixture
def store(cluster, monkeypatch) -> S3Store:
    """A bucket, and the variables that KServe makes of a Secret and its annotations."""
    cluster.create_bucket("initializer")
    for name, value in {
        "AWS_ENDPOINT_URL": cluster.s3.endpoint,
        "AWS_DEFAULT_REGION": cluster.s3.region,
        "AWS_ACCESS_KEY_ID": cluster.s3.access_key,
        "AWS_SECRET_ACCESS_KEY": cluster.s3.secret_key,
    }.items():
        monkeypatch.setenv(name, value)
    return S3Store(StorageLocation(bucket="initializer", endpoint=cluster.s3.endpoint))


def test_each_uri_goes_into_its_folder(store, tmp_path, capsys):
    store.write("base/config.json", b"{}")
    store.write("base-2/config.json", b"another model")
    store.write("runs/w0/adapter.json", b"[]")
    base, adapter = tmp_path / "models" / "base", tmp_path / "models" / "adapter"
    words = ["s3://initializer/base/", str(base), "s3://initializer/runs/w0", str(adapter)]
    assert main(words) == 0
    assert {p.name: p.read_bytes() for p in base.iterdir()} == {"config.json": b"{}"}
    assert (adapter / "adapter.json").read_bytes() == b"[]"
    assert "downloaded s3://initializer/base/" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("s3://initializer/nothing", "there is nothing below s3://initializer/nothing"),
        ("gs://bucket/model", "neither s3://"),
    ],
)
def test_what_cannot_be_downloaded_is_the_last_line(store, tmp_path, capsys, uri, told):
    assert main([uri, str(tmp_path)]) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"{uri} cannot be downloaded: ")
    assert told in last


def test_a_revision_is_read_as_kserve_writes_it():
    assert _pinned("hf://org/model:0abc") == "hf://org/model@0abc"
    assert _pinned("s3://b/a:b") == "s3://b/a:b"


@pytest.mark.parametrize("words", [[], ["s3://b/k"]])
def test_a_uri_without_a_folder_is_a_wrong_call(words):
    assert main(words) == 2
