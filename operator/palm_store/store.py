"""The seam to the object store.

Keys are relative to the storage's prefix, with ``/`` between parts: the strings that
``palm.artifacts`` makes. A store that does not answer raises ``palm.errors.StoreUnavailable``,
naming bucket, key and endpoint and never a credential.
"""

from pathlib import Path, PurePosixPath
from typing import Protocol

from palm.errors import InvalidResult


class ResultStore(Protocol):
    """An object store with atomic writes of single objects."""

    def read(self, key: str, *, max_bytes: int) -> bytes | None:
        """Return an object's content, or None where there is no such object.

        Raises:
            InvalidResult: The object is larger than ``max_bytes``; it was not read.
        """

    def exists(self, key: str) -> bool:
        """Say whether there is such an object."""

    def write(self, key: str, content: bytes) -> None:
        """Write an object, replacing what is there."""

    def write_if_absent(self, key: str, content: bytes) -> bool:
        """Write an object unless there is one; say whether it was written."""

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""

    def list(self, folder: str) -> dict[str, int]:
        """Return the size of every object below a folder, by its name relative to the folder."""

    def upload_folder(self, source: Path, folder: str) -> dict[str, int]:
        """Write every file below a local folder; return their sizes by relative name."""

    def download_folder(
        self, folder: str, target: Path, *, without: tuple[str, ...] = ()
    ) -> dict[str, int]:
        """Read every object below a folder into a local one; return their sizes by name.

        Args:
            folder: The folder.
            target: The local one; made if absent.
            without: Endings of names that are left where they are, in lower case.

        Raises:
            InvalidResult: There is nothing else below the folder, or a name leads out of
                ``target``.
        """


def wanted(names: dict[str, int], without: tuple[str, ...], *, where: str) -> dict[str, int]:
    """Return the objects of a folder that are to be read.

    Raises:
        InvalidResult: There are none.
    """
    found = {name: size for name, size in names.items() if not name.lower().endswith(without)}
    if not found:
        but = f" but {len(names)} files that are not read ({', '.join(without)})" if names else ""
        raise InvalidResult(f"there is nothing below {where}{but}")
    return found


def local_files(folder: Path) -> dict[str, Path]:
    """Return the regular files below a local folder by their relative names, sorted."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def safe_target(target: Path, name: str) -> Path:
    """Return where an object's relative name lies below a local folder.

    Raises:
        InvalidResult: The name would lead out of the folder.
    """
    parts = name.split("/")
    if PurePosixPath(name).is_absolute() or "\\" in name or not {"", ".", ".."}.isdisjoint(parts):
        raise InvalidResult(f"object name {name!r} is not a plain path below its folder")
    return target.joinpath(*parts)


def too_large(where: str, size: int, max_bytes: int) -> InvalidResult:
    """Return the error of an object that is larger than it may be."""
    return InvalidResult(f"{where} has {size:,} bytes; at most {max_bytes:,} are read")
