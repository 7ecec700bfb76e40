"""Where prompts lie: objects of S3, or files of a Hugging Face dataset at a pinned revision.

A branch of a dataset may move between two requests: it is resolved to a commit once, and everything
is listed and downloaded at that commit.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from palm.contract import PromptSource, StorageLocation
from palm.errors import InvalidResult, StoreUnavailable
from palm_store.fetch import S3Uri, http_errors, parsed, s3_bucket
from palm_store.prompts.reading import MAX_PROMPTS_BYTES, checked, parsed_prompts
from palm_store.prompts.rows import Columns, Prompt

_DATASET = re.compile(
    r"hf://datasets/(?P<repository>[^/@]+/[^/@]+)@(?P<revision>[^@/]+)/(?P<path>.+)"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PATIENCE = 60.0  # seconds, for one answer


@dataclass(frozen=True)
class DatasetUri:
    """``hf://datasets/organization/name@revision/path``, the way huggingface_hub writes it."""

    repository: str
    revision: str
    path: str


@dataclass(frozen=True)
class FoundPrompts:
    """The prompts of a source, and at which commit they were read."""

    prompts: list[Prompt]
    revision: str | None = None
    """The commit that a Hugging Face revision resolved to; None: they are objects of S3."""


def read_prompts(source: PromptSource, storage: StorageLocation) -> FoundPrompts:
    """Return the prompts of a source, in the order of its files' names and of their rows.

    A ``*`` in the last part of the URI stands for any part of a file's name.

    Raises:
        ValueError: The URI has another form, or a file cannot be used.
        InvalidResult: There is no such file, or it is too large.
        StoreUnavailable: The other side does not answer.
    """
    columns = Columns(source.prompt_column, source.answer_column)
    prompts: list[Prompt] = []
    is_many = "*" in source.uri.rsplit("/", 1)[-1]
    revision, files = _files(source.uri, storage)
    for name, content in files:
        left = None if source.limit is None else source.limit - len(prompts)
        if left == 0:
            break
        prompts += parsed_prompts(content, left, columns, name=name if is_many else "")
    return FoundPrompts(checked(prompts), revision)


def dataset_uri(uri: str) -> DatasetUri:
    """Return the parts of a dataset's URI.

    Raises:
        ValueError: It has another form.
    """
    match = _DATASET.fullmatch(uri)
    if match is None:
        raise ValueError(
            f"{uri!r} is neither s3://bucket/key nor "
            "hf://datasets/organization/name@revision/path/of/file"
        )
    return DatasetUri(match["repository"], match["revision"], match["path"])


def matching(names: list[str], path: str) -> list[str]:
    """Return the names that a path stands for, sorted; a ``*`` does not reach into folders."""
    return sorted(
        name for name in names if fnmatchcase(name, path) and name.count("/") == path.count("/")
    )


def _files(uri: str, storage: StorageLocation) -> tuple[str | None, Iterator[tuple[str, bytes]]]:
    """Return the commit where there is one, and the files' names and contents."""
    if uri.startswith("hf://"):
        dataset = dataset_uri(uri)
        commit = _commit(dataset)
        return commit, _dataset_files(dataset, commit)
    return None, _objects(uri, storage)


def _objects(uri: str, storage: StorageLocation) -> Iterator[tuple[str, bytes]]:
    source = parsed(uri)
    if not isinstance(source, S3Uri):
        raise ValueError(f"{uri!r} must be s3://bucket/key")
    store = s3_bucket(source, storage)
    folder, _, pattern = source.key.rpartition("/")
    if "*" not in pattern:
        content = store.read(source.key, max_bytes=MAX_PROMPTS_BYTES)
        if content is None:
            raise InvalidResult(f"there is no object {uri}")
        yield source.key, content
        return
    sizes = store.list(folder)
    names = matching(list(sizes), pattern)
    _check_files(uri, {name: sizes[name] for name in names})
    for name in names:
        content = store.read(f"{folder}/{name}".lstrip("/"), max_bytes=MAX_PROMPTS_BYTES)
        yield name, content or b""


def _commit(source: DatasetUri) -> str:
    """Return the commit that a dataset's revision is at now."""
    # Only where it is used: the operator's image has no huggingface_hub.
    from huggingface_hub import HfApi

    with _hub_errors(_where(source)):
        sha: Any = HfApi().dataset_info(
            source.repository, revision=source.revision, timeout=_PATIENCE
        ).sha  # fmt: skip
    # It goes into results and the record, and into the paths of further requests.
    if not isinstance(sha, str) or not _COMMIT.fullmatch(sha):
        raise InvalidResult(
            f"{_where(source)}: the server says {str(sha)[:60]!r} is its commit; a commit has 40 "
            "hexadecimal digits"
        )
    return sha


def _dataset_files(source: DatasetUri, commit: str) -> Iterator[tuple[str, bytes]]:
    from huggingface_hub import HfApi, hf_hub_download

    with _hub_errors(_where(source)):
        listed = HfApi().list_repo_tree(
            source.repository, path_in_repo=str(Path(source.path).parent).lstrip("."),
            revision=commit, repo_type="dataset",
        )  # fmt: skip
        sizes = {item.path: item.size for item in listed if hasattr(item, "size")}
    names = matching(list(sizes), source.path)
    _check_files(f"{_where(source)}/{source.path}", {name: sizes[name] for name in names})
    for name in names:
        with TemporaryDirectory(prefix="palm-prompts-") as folder:
            with _hub_errors(_where(source)):
                path = hf_hub_download(
                    source.repository, name, repo_type="dataset", revision=commit, local_dir=folder
                )
            yield name, Path(path).read_bytes()


def _where(source: DatasetUri) -> str:
    return f"hf://datasets/{source.repository}@{source.revision}"


@contextmanager
def _hub_errors(where: str) -> Iterator[None]:
    """Say in our words what the hub's client raises, and whether another try may help."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as problem:
        raise StoreUnavailable(f"{where}: {type(problem).__name__}") from None
    except (RepositoryNotFoundError, RevisionNotFoundError, EntryNotFoundError) as problem:
        raise InvalidResult(f"{where}: {type(problem).__name__}") from None
    except (http_errors(), ConnectionError) as problem:
        raise StoreUnavailable(f"{where}: {type(problem).__name__}") from None


def _check_files(uri: str, sizes: dict[str, int]) -> None:
    if not sizes:
        raise InvalidResult(f"there is no file {uri}")
    if sum(sizes.values()) > MAX_PROMPTS_BYTES:
        raise InvalidResult(
            f"{uri} has {sum(sizes.values()):,} bytes; at most {MAX_PROMPTS_BYTES:,} are read"
        )
