"""The table that maps image names to local commands; the process node runs nothing else."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from palm_devcluster.paths import cache_folder

TABLE_ENV = "PALM_DEVCLUSTER_IMAGES"
_DEFAULT_TABLE = Path(__file__).with_name("images.yaml")


class InvalidImageTable(ValueError):
    """The table's file cannot be read as image name → command."""


@dataclass(frozen=True)
class ImageTable:
    """Local commands by image name (the repository's last path component)."""

    commands: Mapping[str, tuple[str, ...]]

    def entrypoint(self, image: str) -> tuple[str, ...] | None:
        """Return the command that stands for an image's ENTRYPOINT.

        Args:
            image: An image reference; registry, folders, tag and digest do not matter.

        Returns:
            The command; empty where the container must give its own; None for an unknown image.
        """
        return self.commands.get(image_name(image))


def image_name(image: str) -> str:
    """Return ``palm-trainer`` for ``ghcr.io:443/palm/palm-trainer:1.0@sha256:…``."""
    return image.split("@", 1)[0].rsplit("/", 1)[-1].split(":", 1)[0]


def table_path(path: Path | None = None) -> Path:
    """Return the table to use: the one given, the one in the environment, or the built-in one."""
    if path is not None:
        return path
    named = os.environ.get(TABLE_ENV)
    return Path(named) if named else _DEFAULT_TABLE


def load_images(path: Path | str | None = None) -> ImageTable:
    """Read a table.

    Args:
        path: A YAML file; None takes what ``table_path`` says.

    Raises:
        InvalidImageTable: The file is missing or is not ``images: {name: [word, …]}``.
    """
    file = table_path(Path(path) if path is not None else None)
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InvalidImageTable(f"image table {file} cannot be read: {error}") from error
    images = document.get("images") if isinstance(document, dict) else None
    if not isinstance(images, dict):
        raise InvalidImageTable(f"image table {file} must be a mapping with the key 'images'")
    return ImageTable({str(name): _command(file, name, words) for name, words in images.items()})


def _command(file: Path, name: Any, words: Any) -> tuple[str, ...]:
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InvalidImageTable(
            f"image {name!r} in {file} is {words!r}; it must be a list of strings, the command"
        )
    folder = str(Path(sys.executable).parent)
    cache = str(cache_folder())
    return tuple(word.replace("{bin}", folder).replace("{cache}", cache) for word in words)
