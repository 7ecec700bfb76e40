"""A checkpoint whose files lie on several machines: each uploads its own, and says which.

They meet in S3: uploads run beside the training, where processes must not talk to each other.
"""

import time
from collections.abc import Callable

from pydantic import Field, ValidationError

from palm.artifacts import checkpoints
from palm.contract import Model
from palm.errors import StoreUnavailable
from palm.training_progress import Sha256
from palm_store import ResultStore
from palm_trainer.machines import Machine

PATIENCE_SECONDS = 600.0
"""How long the first machine waits for the others' files before it gives a checkpoint up."""

_POLL_SECONDS = 1.0
_MAX_BYTES = 4 * 1024 * 1024


class Part(Model):
    """The files of one machine: name below the checkpoint's folder -> SHA-256."""

    files: dict[str, Sha256] = Field(max_length=10_000)


class Parts:
    """What the machines of one training have uploaded."""

    def __init__(
        self,
        store: ResultStore,
        policy_digest: str,
        machine: Machine,
        *,
        patience: float = PATIENCE_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store, self._machine = store, machine
        self._folder = f"{checkpoints(policy_digest)}/parts"
        self._tries, self._sleep = int(patience / _POLL_SECONDS), sleep

    def put(self, name: str, files: dict[str, str]) -> None:
        """Say that this machine's files of a checkpoint are uploaded."""
        content = Part(files=files).model_dump_json(by_alias=True).encode()
        self._store.write(self._key(name, self._machine.index), content)

    def of_others(self, name: str) -> dict[str, str]:
        """Return the files of all other machines, once they are uploaded.

        Raises:
            StoreUnavailable: A machine does not say so for too long.
        """
        found: dict[str, str] = {}
        for index in range(1, self._machine.count):
            found |= self._awaited(name, index)
        return found

    def remove(self, name: str) -> None:
        """Remove what was said of a checkpoint."""
        for index in range(1, self._machine.count):
            self._store.delete(self._key(name, index))

    def _awaited(self, name: str, index: int) -> dict[str, str]:
        for _ in range(self._tries):
            content = self._store.read(self._key(name, index), max_bytes=_MAX_BYTES)
            if content is not None:
                try:
                    return Part.model_validate_json(content).files
                except ValidationError as problem:
                    raise StoreUnavailable(f"{self._key(name, index)}: {problem}") from None
            self._sleep(_POLL_SECONDS)
        raise StoreUnavailable(
            f"node {index} did not upload its files of the checkpoint {name} within "
            f"{self._tries * _POLL_SECONDS:.0f} s"
        )

    def _key(self, name: str, index: int) -> str:
        return f"{self._folder}/{name}/{index}.json"
