"""Where prompts lie: objects of S3, or files of a Hugging Face dataset at a pinned revision."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory

from palm.contract import PromptSource, StorageLocation
from palm.errors import InvalidResult, StoreUnavailable
from palm_store.fetch import S3Uri, http_errors, parsed, s3_bucket
from palm_store.prompts.reading import MAX_PROMPTS_BYTES, checked, parsed_prompts
from palm_store.prompts.rows import Columns, Prompt

_DATASET = re.compile(
    r"hf://datasets/(?P<repository>[^/@]+/[^/@]+)@(?P<revision>[^@/]+)/(?P<path>.+)"
)


@dataclass(frozen=True)
class DatasetUri:
    """``hf://datasets/organization/name@revision/path``, the way huggingface_hub writes it."""

    repository: str
    revision: str
    path: str


def read_prompts(source: PromptSource, storage: StorageLocation) -> list[Prompt]:
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
    for name, content in _files(source.uri, storage):
        left = None if source.limit is None else source.limit - len(prompts)
        if left == 0:
            break
        prompts += parsed_prompts(content, left, columns, name=name if is_many else "")
    return checked(prompts)


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


def _files(uri: str, storage: StorageLocation) -> Iterator[tuple[str, bytes]]:
    if uri.startswith("hf://"):
        yield from _dataset_files(dataset_uri(uri))
        return
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


def _dataset_files(source: DatasetUri) -> Iterator[tuple[str, bytes]]:
    # Only where it is used: the operator's image has no huggingface_hub.
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = f"hf://datasets/{source.repository}@{source.revision}"
    try:
        listed = HfApi().list_repo_tree(
            source.repository, path_in_repo=str(Path(source.path).parent).lstrip("."),
            revision=source.revision, repo_type="dataset",
        )  # fmt: skip
        sizes = {item.path: item.size for item in listed if hasattr(item, "size")}
        names = matching(list(sizes), source.path)
        _check_files(f"{where}/{source.path}", {name: sizes[name] for name in names})
        for name in names:
            with TemporaryDirectory(prefix="palm-prompts-") as folder:
                path = hf_hub_download(
                    source.repository, name, repo_type="dataset", revision=source.revision,
                    local_dir=folder,
                )  # fmt: skip
                yield name, Path(path).read_bytes()
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
