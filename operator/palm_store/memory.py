"""A store in memory: the fake for tests and simulations, held to the same contract as S3."""

from pathlib import Path

from palm_store.store import local_files, safe_target, too_large, wanted


class InMemoryStore:
    """A ``ResultStore`` that keeps its objects in a dictionary."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def read(self, key: str, *, max_bytes: int) -> bytes | None:
        """Return an object's content, or None where there is no such object."""
        content = self.objects.get(key)
        if content is not None and len(content) > max_bytes:
            raise too_large(key, len(content), max_bytes)
        return content

    def exists(self, key: str) -> bool:
        """Say whether there is such an object."""
        return key in self.objects

    def write(self, key: str, content: bytes) -> None:
        """Write an object, replacing what is there."""
        self.objects[key] = content

    def write_if_absent(self, key: str, content: bytes) -> bool:
        """Write an object unless there is one; say whether it was written."""
        if key in self.objects:
            return False
        self.objects[key] = content
        return True

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        self.objects.pop(key, None)

    def list(self, folder: str) -> dict[str, int]:
        """Return the size of every object below a folder, by its name relative to the folder."""
        start = f"{folder.rstrip('/')}/".lstrip("/")
        return {
            key.removeprefix(start): len(content)
            for key, content in sorted(self.objects.items())
            if key.startswith(start)
        }

    def upload_folder(self, source: Path, folder: str) -> dict[str, int]:
        """Write every file below a local folder; return their sizes by relative name."""
        for name, path in local_files(source).items():
            self.objects[f"{folder}/{name}"] = path.read_bytes()
        return {name: path.stat().st_size for name, path in local_files(source).items()}

    def download_folder(
        self, folder: str, target: Path, *, without: tuple[str, ...] = ()
    ) -> dict[str, int]:
        """Read every object below a folder into a local one; return their sizes by name."""
        names = wanted(self.list(folder), without, where=repr(folder))
        targets = {name: safe_target(target, name) for name in names}
        for name, path in targets.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.objects[f"{folder}/{name}"])
        return names
