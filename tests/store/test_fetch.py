from pathlib import Path
from typing import Any

import pytest

from palm.contract import StorageLocation
from palm.errors import StoreUnavailable
from palm_store import S3Store, fetch
from palm_store.fetch import HuggingFaceUri, S3Uri, parsed
from stores import s3_location


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://bucket/a/model", S3Uri("bucket", "a/model")),
        ("s3://bucket/a/model/", S3Uri("bucket", "a/model")),
        (
            "hf://Qwen/Qwen2.5-3B-Instruct@aa8e725",
            HuggingFaceUri("Qwen/Qwen2.5-3B-Instruct", "aa8e725"),
        ),
    ],
)
def test_a_uri_names_a_folder_or_a_pinned_repository(uri: str, expected: object) -> None:
    assert parsed(uri) == expected


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "s3://bucket",
        "s3://bucket/",
        "hf://Qwen/Qwen2.5-3B",
        "hf://Qwen@main",
        "file:///etc",
        "/etc",
    ],
)
def test_another_uri_is_refused_with_the_two_forms_there_are(uri: str) -> None:
    with pytest.raises(ValueError, match="neither s3://bucket/prefix nor hf://"):
        parsed(uri)


def test_a_repository_without_network_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(StoreUnavailable, match="hf://org/name@main: cannot be downloaded"):
        fetch("hf://org/name@main", tmp_path / "model", StorageLocation(bucket="b"))


@pytest.mark.cluster
def test_a_folder_of_another_bucket_is_fetched(
    cluster: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = s3_location(cluster, "models", monkeypatch)
    S3Store(other).write("m/config.json", b"{}")
    S3Store(other).write("m/pytorch_model.bin", b"a pickle")
    folder = fetch(
        f"s3://models/{other.prefix}/m",
        tmp_path / "m",
        other.model_copy(update={"bucket": "results", "prefix": "elsewhere"}),
    )
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"config.json": b"{}"}
