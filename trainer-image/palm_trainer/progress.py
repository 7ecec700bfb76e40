"""How far a training is: one JSON line per optimiser step, and a small object in S3."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from transformers import TrainerCallback

from palm.artifacts import training_progress
from palm.contract import TrainingRequest
from palm.errors import InvalidResult, StoreUnavailable
from palm.training_progress import TrainingProgress
from palm_store import ResultStore
from palm_trainer.checkpoints import now
from palm_trainer.rewards import raw_metric

PUBLISHED_EVERY = 20.0
"""Seconds between two writes of the object at least; who reads it reads it far less often."""


class Progress(TrainerCallback):
    """Prints every logged step, keeps the last one, and passes it on.

    Raises InvalidResult out of a step whose gradient is not finite: nothing that follows it could
    be of use.
    """

    def __init__(
        self,
        request: TrainingRequest,
        *,
        checkpoint_step: Callable[[], int | None],
        publish: Callable[[TrainingProgress], None],
    ) -> None:
        self.rewards: dict[str, float] = {}
        self._request = request
        self._names: Sequence[str] = [item.name for item in request.rewards]
        self._checkpoint_step, self._publish = checkpoint_step, publish
        self._started, self._first_step = time.monotonic(), 0
        self._before: tuple[float, float] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note where this run begins: time left is extrapolated from its own steps."""
        self._started, self._first_step = time.monotonic(), state.global_step

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **_: Any
    ) -> None:
        """Tell of a step; TRL logs rewards in training units, people read raw ones."""
        if "reward" not in logs:  # the summary at the end
            return
        step = state.global_step
        gradient = logs.get("grad_norm")
        if gradient is not None and not math.isfinite(gradient):
            raise InvalidResult(
                f"the gradient of step {step} is {gradient}; lower learningRate, or look at the "
                "rewards"
            )
        self.rewards = {name: logs[raw_metric(name)] for name in self._names}
        elapsed, kl = time.monotonic() - self._started, logs.get("kl")
        taken = step - self._first_step
        rate = self._tokens_per_second(logs.get("num_tokens", 0.0))
        progress = TrainingProgress(
            policy=self._request.policy,
            policy_digest=self._request.policy_digest,
            step=step,
            steps=state.max_steps,
            rewards=self.rewards,
            kl_per_token=kl if kl is not None and math.isfinite(kl) else None,
            tokens_per_second=rate,
            seconds_left=elapsed / taken * (state.max_steps - step),
            checkpoint_step=self._checkpoint_step(),
            updated=now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        if state.is_world_process_zero:
            print(log_line(progress, length=logs["completions/mean_length"]), flush=True)
            self._publish(progress)

    def _tokens_per_second(self, total: float) -> float | None:
        """Return the rate since this run's first step; what a checkpoint counted is not in it."""
        at_now = time.monotonic()
        if self._before is None:
            self._before = (total, at_now)
            return None
        tokens, at = self._before
        return max(total - tokens, 0.0) / max(at_now - at, 1e-9)


class ProgressObject:
    """Writes the progress to S3, seldom, beside the training, and without ever failing it."""

    def __init__(self, store: ResultStore, *, every: float = PUBLISHED_EVERY) -> None:
        self._store, self._every = store, every
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="progress")
        self._writing: Future[None] | None = None
        self._next = 0.0

    def __call__(self, progress: TrainingProgress) -> None:
        """Write it, unless that was done a moment ago."""
        is_busy = self._writing is not None and not self._writing.done()
        if time.monotonic() < self._next or is_busy:
            return
        self._next = time.monotonic() + self._every
        self._writing = self._writer.submit(self._write, progress)

    def finish(self) -> None:
        """Wait for what is being written."""
        self._writer.shutdown()

    def _write(self, progress: TrainingProgress) -> None:
        key = training_progress(progress.policy_digest)
        try:
            self._store.write(key, progress.model_dump_json(by_alias=True).encode())
        except StoreUnavailable as problem:
            print(f"progress is not in S3: {problem}", flush=True)


def log_line(progress: TrainingProgress, *, length: float) -> str:
    """Return the JSON line of one step: for programs, with a message for people."""
    told = progress.model_dump(
        mode="json", by_alias=True, exclude={"schema_version", "policy_digest", "updated"}
    )
    numbers = {
        name: round(value, 4) if isinstance(value, float) else value for name, value in told.items()
    }
    numbers["rewards"] = {name: round(value, 4) for name, value in progress.rewards.items()}
    line = {
        "time": progress.updated,
        "message": _message(progress, length),
        **numbers,
        "meanResponseTokens": round(length, 1),
    }
    return json.dumps(line)


def _message(progress: TrainingProgress, length: float) -> str:
    parts = [f"step {progress.step}/{progress.steps}"]
    parts += [f"{name} {value:.3f}" for name, value in progress.rewards.items()]
    parts += [f"length {length:.1f}"]
    if progress.kl_per_token is not None:
        parts += [f"kl/token {progress.kl_per_token:.4f}"]
    if progress.tokens_per_second is not None:
        parts += [f"{progress.tokens_per_second:.0f} tokens/s"]
    return "  ".join([*parts, f"{progress.seconds_left or 0:.0f} s left"])
