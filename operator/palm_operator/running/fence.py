"""A store that a leader's writes pass and a former leader's do not."""

from collections.abc import Callable
from pathlib import Path

from palm_store import ResultStore


class FencedStore:
    """A ``ResultStore`` that asks before each write; reads are free."""

    def __init__(self, store: ResultStore, check: Callable[[], object]) -> None:
        """Wrap a store.

        Args:
            store: Where to read and write.
            check: Raises where nothing may be written.
        """
        self._store, self._check = store, check

    def read(self, key: str, *, max_bytes: int) -> bytes | None:
        """Return an object's content, or None where there is no such object."""
        return self._store.read(key, max_bytes=max_bytes)

    def exists(self, key: str) -> bool:
        """Say whether there is such an object."""
        return self._store.exists(key)

    def list(self, folder: str) -> dict[str, int]:
        """Return the size of every object below a folder, by its name relative to the folder."""
        return self._store.list(folder)

    def write(self, key: str, content: bytes) -> None:
        """Write an object, replacing what is there."""
        self._check()
        self._store.write(key, content)

    def write_if_absent(self, key: str, content: bytes) -> bool:
        """Write an object unless there is one; say whether it was written."""
        self._check()
        return self._store.write_if_absent(key, content)

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        self._check()
        self._store.delete(key)

    def upload_folder(self, source: Path, folder: str) -> dict[str, int]:
        """Write every file below a local folder; return their sizes by relative name."""
        self._check()
        return self._store.upload_folder(source, folder)

    def download_folder(
        self, folder: str, target: Path, *, without: tuple[str, ...] = ()
    ) -> dict[str, int]:
        """Read every object below a folder into a local one; return their sizes by name."""
        return self._store.download_folder(folder, target, without=without)
