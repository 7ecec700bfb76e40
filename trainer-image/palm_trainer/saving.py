"""When a checkpoint is made, and its way to S3 beside the training."""

import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from palm.errors import StoreUnavailable
from palm_trainer.agreement import of_all, together
from palm_trainer.checkpoints import Checkpoints, new_name
from palm_trainer.stopping import StopRequest


class Saving(TrainerCallback):
    """Makes a checkpoint at intervals and when the end is asked for.

    Uploads run in a thread. One that fails is said and costs nothing but itself; only the one
    before an end that was asked for must succeed.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        stop: StopRequest,
        *,
        interval: float | None,
        earlier_seconds: float = 0.0,
    ) -> None:
        """Checkpoints go to ``checkpoints``, one every ``interval`` seconds (None: at the end).

        ``earlier_seconds`` is what earlier runs of this training took.
        """
        self.interrupted = False
        self._checkpoints, self._stop, self._interval = checkpoints, stop, interval
        self._uploads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._upload: Future[None] | None = None
        self._started = time.monotonic() - earlier_seconds
        self._last = time.monotonic()

    @property
    def seconds(self) -> float:
        """Return the wall time of this training so far, of all its runs."""
        return time.monotonic() - self._started

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a checkpoint where one is due; every process decides the same."""
        wishes = of_all((bool(self._stop), self._is_due()))
        # Any machine may be told to end; the clock of the first says when a checkpoint is due.
        wants_stop, wants_save = any(stop for stop, _ in wishes), wishes[0][1]
        if state.global_step >= state.max_steps:
            return  # the policy itself follows
        if wants_stop:
            self.interrupted = True
            control.should_training_stop = True
        control.should_save = control.should_save or wants_stop or wants_save

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Upload what was saved; the first process of a machine does it for all of it."""
        self._last = time.monotonic()
        together()  # each process has its own files
        name = of_all(new_name(state.global_step))[0]
        if not state.is_local_process_zero:
            return
        folder = Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        if self._upload is not None:
            self._upload.result()
        self._upload = self._uploads.submit(self._uploaded, folder, state.global_step, name)

    def finish(self) -> None:
        """Wait for the last upload.

        Raises:
            StoreUnavailable: The training was interrupted and its checkpoint is not in S3.
        """
        if self._upload is not None:
            self._upload.result()
        self._uploads.shutdown()

    def _is_due(self) -> bool:
        is_free = self._upload is None or self._upload.done()
        return (
            self._interval is not None
            and is_free
            and time.monotonic() - self._last >= self._interval
        )

    def _uploaded(self, folder: Path, step: int, name: str) -> None:
        try:
            self._checkpoints.write(folder, step=step, seconds=self.seconds, name=name)
        except StoreUnavailable as problem:
            if self.interrupted:
                raise
            print(f"checkpoint of step {step} is lost: {problem}", flush=True)
            return
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        print(f"checkpoint of step {step} is in S3", flush=True)
