"""How far trainings are, read from S3, and seldom."""

import asyncio
import time
from collections.abc import Callable, Iterable

from pydantic import ValidationError

from palm.artifacts import training_progress
from palm.contract import StorageLocation
from palm.errors import InvalidResult, StoreUnavailable
from palm.training_progress import MAX_PROGRESS_BYTES, TrainingProgress
from palm_operator.jobs.observed_jobs import Job
from palm_operator.names import Step
from palm_store import ResultStore

_SHARE = 0.9  # of a resync: the next one looks again, what comes between does not
_READS_AT_ONCE = 16


class TrainingObserver:
    """Reads what running trainings tell, each at most once per resync."""

    def __init__(
        self,
        stores: Callable[[StorageLocation], ResultStore],
        *,
        every: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stores, self._keep, self._clock = stores, every * _SHARE, clock
        # By digest, and whether its Job runs: what begins to run is looked at anew.
        self._known: dict[tuple[str, bool], tuple[float, TrainingProgress | None]] = {}

    async def progress(
        self, location: StorageLocation, jobs: Iterable[Job]
    ) -> dict[str, TrainingProgress]:
        """Return how far the trainings are that run or wait to go on, by policy digest.

        Whatever goes wrong is no reason to do anything else than not to know it.
        """
        asked = {(job.digest, job.begun) for job in jobs if _is_training(job)}
        gate = asyncio.Semaphore(_READS_AT_ONCE)

        async def look(question: tuple[str, bool]) -> None:
            async with gate:
                found = await asyncio.to_thread(self._read, location, question[0])
                self._known[question] = (self._clock() + self._keep, found)

        now = self._clock()
        self._known = {q: known for q, known in self._known.items() if known[0] > now}
        await asyncio.gather(*(look(q) for q in sorted(asked) if q not in self._known))
        told = {question[0]: self._known[question][1] for question in sorted(asked)}
        return {digest: progress for digest, progress in told.items() if progress is not None}

    def _read(self, location: StorageLocation, digest: str) -> TrainingProgress | None:
        key = training_progress(digest)
        try:
            content = self._stores(location).read(key, max_bytes=MAX_PROGRESS_BYTES)
            progress = content and TrainingProgress.model_validate_json(content)
        except (InvalidResult, StoreUnavailable, ValidationError):
            return None  # tenant code writes it
        return progress if progress and progress.policy_digest == digest else None


def _is_training(job: Job) -> bool:
    return job.owned and job.state == "Active" and job.step == Step.TRAIN
