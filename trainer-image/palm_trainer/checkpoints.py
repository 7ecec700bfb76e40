"""Checkpoints in S3: what a killed training goes on from.

A checkpoint is a folder of files and, last, a marker with their SHA-256. Without its marker, or
with a file that the marker does not describe, it does not exist. Every upload has a folder of its
own, so that two Pods that train the same policy never mix their files.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from palm.artifacts import CHECKPOINTS, checkpoint_marker, checkpoints, training_record
from palm.errors import InvalidResult
from palm.training_progress import Checkpoint, TrainingProgress
from palm_store import ResultStore, file_sha256
from palm_store.job import InvalidRequest
from palm_store.store import local_files
from palm_trainer.machines import Machine
from palm_trainer.parts import Parts

ABANDONED_AFTER = timedelta(days=30)
"""Checkpoints of a policy that nobody went on training for so long are removed."""

_MAX_MARKER_BYTES = 4 * 1024 * 1024
_MARKER = "complete.json"


class Checkpoints:
    """The checkpoints of one policy's training.

    Args:
        store: Where they are.
        policy_digest: Of the policy that is trained.
        layout: How the training is spread over processes.
        inputs: What the training reads -> SHA-256 of what is there now.
        machine: Which of the training's nodes this is.

    Attributes:
        last: Step of the last complete checkpoint that this process wrote or found.
    """

    def __init__(
        self,
        store: ResultStore,
        policy_digest: str,
        *,
        layout: str,
        inputs: Mapping[str, str] | None = None,
        machine: Machine | None = None,
    ) -> None:
        self._inputs = dict(inputs or {})
        self._store, self._digest, self._layout = store, policy_digest, layout
        self._machine = machine or Machine()
        self._parts = Parts(store, policy_digest, self._machine)
        self.last: int | None = None

    def write(self, source: Path, *, step: int, seconds: float, name: str | None = None) -> None:
        """Upload a folder as the checkpoint of a step, then remove those it supersedes.

        Of several machines each uploads its own folder; the first writes the marker once all have.

        Args:
            source: The folder.
            step: The step.
            seconds: Wall time of the training so far.
            name: As ``new_name`` made it for all machines; a machine alone needs none.

        Raises:
            StoreUnavailable: S3 does not answer; there is no such checkpoint then.
        """
        name = name or new_name(step)
        folder, files = f"{checkpoints(self._digest)}/{name}", sha256_of_files(source)
        self._store.upload_folder(source, folder)
        if not self._machine.is_first:
            self._parts.put(name, files)
            return
        marker = Checkpoint(
            policy_digest=self._digest,
            step=step,
            files=files | self._parts.of_others(name),
            inputs=self._inputs,
            layout=self._layout,
            seconds=seconds,
            written=now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        content = marker.model_dump_json(by_alias=True).encode()
        self._store.write(checkpoint_marker(self._digest, name), content)  # last: now it exists
        self.last = step
        self._parts.remove(name)
        for other in self._names():
            # A folder of a later step may be another Pod's that is still uploading.
            if other != name and _step(other) <= step:
                self._remove(other)

    def restore(self, target: Path) -> Checkpoint | None:
        """Download the latest complete checkpoint; None where there is none to go on from.

        Raises:
            StoreUnavailable: S3 does not answer: beginning again would throw away what is there.
            InvalidRequest: An input is not what it was when the checkpoint was made.
        """
        for name in sorted(self._names(), reverse=True):
            marker = self._marker(name)
            if marker is None:
                continue
            if marker.layout != self._layout:
                print(
                    f"checkpoint of step {marker.step} is not used: it was written by "
                    f"{marker.layout}, this training is {self._layout}",
                    flush=True,
                )
                continue
            self._check_inputs(marker)
            folder = target / name
            if problem := self._downloaded(name, marker, folder):
                print(f"checkpoint of step {marker.step} is not used: {problem}", flush=True)
                continue
            self.last = marker.step
            return marker
        return None

    def folder_of(self, target: Path, marker: Checkpoint) -> Path:
        """Return where ``restore`` put the files of a checkpoint."""
        return next(path for path in target.iterdir() if _step(path.name) == marker.step)

    def remove_all(self) -> None:
        """Remove everything there is of this policy's training."""
        remove_folder(self._store, checkpoints(self._digest))

    def _names(self) -> set[str]:
        objects = self._store.list(checkpoints(self._digest))
        return {name.split("/")[0] for name in objects if "/" in name and _step(name) >= 0}

    def _marker(self, name: str) -> Checkpoint | None:
        key = checkpoint_marker(self._digest, name)
        try:
            content = self._store.read(key, max_bytes=_MAX_MARKER_BYTES)
            marker = None if content is None else Checkpoint.model_validate_json(content)
        except (InvalidResult, ValidationError):
            return None
        is_ours = marker is not None and marker.policy_digest == self._digest
        return marker if is_ours else None

    def _check_inputs(self, marker: Checkpoint) -> None:
        """Raise InvalidRequest where a policy would be made of two contents of one input."""
        for what, sha256 in marker.inputs.items():
            now_there = self._inputs.get(what, sha256)
            if now_there != sha256:
                raise InvalidRequest(
                    f"the {what} changed during the training: its SHA-256 is {now_there[:12]}… and "
                    f"was {sha256[:12]}… when the checkpoint of step {marker.step} was made. Put "
                    "the former content back to go on from there, or give the new content a URI "
                    f"of its own; {checkpoints(self._digest)}/ below the storage prefix may be "
                    "deleted to begin again"
                )

    def _downloaded(self, name: str, marker: Checkpoint, folder: Path) -> str:
        """Download the files; return what is wrong with them, nothing where they are whole."""
        try:
            self._store.download_folder(f"{checkpoints(self._digest)}/{name}", folder)
        except InvalidResult as problem:
            return str(problem)
        (folder / _MARKER).unlink(missing_ok=True)
        found = sha256_of_files(folder)
        for file in sorted(set(found) | set(marker.files)):
            if found.get(file) != marker.files.get(file):
                return f"{file} is not the file that was written"
        return ""

    def _remove(self, name: str) -> None:
        # The marker first: what is half removed must not look complete.
        self._store.delete(checkpoint_marker(self._digest, name))
        remove_folder(self._store, f"{checkpoints(self._digest)}/{name}")
        self._parts.remove(name)


def common(found: Sequence[Checkpoint | None]) -> Checkpoint | None:
    """Return the checkpoint that every machine has restored; None where none has any.

    Raises:
        RuntimeError: They differ: S3 answered one of them otherwise. Another try may agree.
    """
    steps = [marker.step if marker else 0 for marker in found]
    if len(set(steps)) > 1:
        raise RuntimeError(f"nodes restored checkpoints of different steps: {steps}")
    return found[0]


def new_name(step: int) -> str:
    """Return a name for a checkpoint that no other upload has."""
    return f"{step:08d}-{uuid.uuid4().hex[:8]}"


def remove_leftovers(store: ResultStore, *, at: datetime) -> list[str]:
    """Remove checkpoints that nobody will go on from; return whose they were.

    They are of policies that are trained, or that nobody went on training for ``ABANDONED_AFTER``:
    their Portfolio has moved on.
    """
    objects = store.list(CHECKPOINTS)
    removed = []
    for digest in sorted({name.split("/")[0] for name in objects if "/" in name}):
        dated = [f"{CHECKPOINTS}/{name}" for name in objects if name.startswith(f"{digest}/") and
                 name.endswith((f"/{_MARKER}", "/progress.json"))]  # fmt: skip
        written = [time for key in dated if (time := _written(store, key))]
        is_old = bool(written) and max(written) < at - ABANDONED_AFTER
        if is_old or store.exists(training_record(digest)):
            remove_folder(store, checkpoints(digest))
            removed.append(digest)
    return removed


def remove_folder(store: ResultStore, folder: str) -> None:
    """Remove every object below a folder."""
    for name in store.list(folder):
        store.delete(f"{folder}/{name}")


def sha256_of_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder, by its relative name."""
    return {name: file_sha256(path) for name, path in local_files(folder).items()}


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


def _step(name: str) -> int:
    digits = name.split("-")[0]
    return int(digits) if digits.isdecimal() else -1


def _written(store: ResultStore, key: str) -> datetime | None:
    """Return when a marker or a progress object was written; None where it cannot be read."""
    try:
        content = store.read(key, max_bytes=_MAX_MARKER_BYTES)
        if content is None:
            return None
        if key.endswith(f"/{_MARKER}"):
            text = Checkpoint.model_validate_json(content).written
        else:
            text = TrainingProgress.model_validate_json(content).updated
    except (InvalidResult, ValidationError):
        return None
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
