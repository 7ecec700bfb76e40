"""Bring a folder of files to this machine, from the object store or from Hugging Face."""

import errno
import re
from dataclasses import dataclass
from pathlib import Path

from palm.contract import StorageLocation
from palm.errors import InvalidResult, StoreUnavailable
from palm_store.s3 import S3Store

# No pickles (.bin, .pt): loading one runs whatever its author wrote.
MODEL_FILES = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model", "*.jsonl")
# Pickles again, and the same weights for other libraries: an s3:// prefix may hold a whole mirror.
NOT_READ = (
    ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack", ".onnx", ".gguf", ".ot",
    ".tflite",
)  # fmt: skip
_S3 = re.compile(r"s3://(?P<bucket>[^/]+)/(?P<key>.+)")
_HUGGING_FACE = re.compile(r"hf://(?P<repository>[^/@]+/[^/@]+)@(?P<revision>[^@/]+)")


@dataclass(frozen=True)
class S3Uri:
    """``s3://bucket/key``."""

    bucket: str
    key: str


@dataclass(frozen=True)
class HuggingFaceUri:
    """``hf://organization/name@revision``: a revision is demanded, so that results repeat."""

    repository: str
    revision: str


def parsed(uri: str) -> S3Uri | HuggingFaceUri:
    """Return the parts of a URI.

    Raises:
        ValueError: It is neither ``s3://bucket/key`` nor ``hf://organization/name@revision``.
    """
    if match := _S3.fullmatch(uri):
        return S3Uri(match["bucket"], match["key"].strip("/"))
    if match := _HUGGING_FACE.fullmatch(uri):
        return HuggingFaceUri(match["repository"], match["revision"])
    raise ValueError(f"{uri!r} is neither s3://bucket/prefix nor hf://organization/name@revision")


def fetch(uri: str, folder: Path, storage: StorageLocation, *, with_code: bool = False) -> Path:
    """Download what a URI names into a folder: a model's files, never a pickle.

    Args:
        uri: ``s3://bucket/prefix`` (any bucket of the storage's endpoint) or
            ``hf://organization/name@revision``.
        folder: Where to put the files; made if absent.
        storage: Whose endpoint and region to use.
        with_code: With Python code that comes with a model of Hugging Face.

    Returns:
        The folder.

    Raises:
        ValueError: The URI has another form.
        InvalidResult: There is nothing at the URI, or a file's name leads out of the folder.
        StoreUnavailable: The other side does not answer.
    """
    source = parsed(uri)
    if isinstance(source, S3Uri):
        s3_bucket(source, storage).download_folder(source.key, folder, without=NOT_READ)
    else:
        _download_repository(source, folder, ["*.py"] if with_code else [])
    return folder


def s3_bucket(source: S3Uri, storage: StorageLocation) -> S3Store:
    """Return the store of another bucket at the same endpoint."""
    return S3Store(storage.model_copy(update={"bucket": source.bucket, "prefix": ""}))


def _download_repository(source: HuggingFaceUri, folder: Path, more: list[str]) -> None:
    # Only where it is used: the operator's image has no huggingface_hub.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = f"hf://{source.repository}@{source.revision}"
    try:
        snapshot_download(
            source.repository,
            revision=source.revision,
            local_dir=folder,
            allow_patterns=[*MODEL_FILES, *more],
        )
    except (RepositoryNotFoundError, RevisionNotFoundError) as problem:
        # A gated repository without a token is one, too.
        raise InvalidResult(
            f"{where}: {type(problem).__name__}: no such thing, or no access"
        ) from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as problem:
        raise StoreUnavailable(f"{where}: cannot be downloaded: {type(problem).__name__}") from None
    except OSError as problem:
        if problem.errno == errno.ENOSPC:
            raise
        raise StoreUnavailable(f"{where}: cannot be downloaded: {type(problem).__name__}") from None
    except http_errors() as problem:
        raise StoreUnavailable(f"{where}: {type(problem).__name__}") from None


def http_errors() -> type[Exception]:
    """Return what huggingface_hub raises of HTTP: answers that are errors, and no answer at all.

    Its HTTP library has changed, and with it the class of a connection that cannot be made.
    """
    from huggingface_hub import errors

    found: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]
    return found
