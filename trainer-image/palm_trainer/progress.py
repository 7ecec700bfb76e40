"""One line per optimiser step, for ``kubectl logs``."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import TrainerCallback

from palm.contract import AffineMap
from palm_trainer.rewards import raw


class Progress(TrainerCallback):
    """Prints every logged step and keeps the last one's raw rewards."""

    def __init__(self, names: Sequence[str], maps: Sequence[AffineMap]) -> None:
        self.rewards: dict[str, float] = {}
        self._maps = dict(zip(names, maps, strict=True))
        self._started = time.monotonic()

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **_: Any
    ) -> None:
        """Print a step's line; TRL logs rewards in training units, people read raw ones."""
        if "reward" not in logs:  # the summary at the end
            return
        self.rewards = {
            name: raw(logs[f"rewards/{name}/mean"], item) for name, item in self._maps.items()
        }
        elapsed = time.monotonic() - self._started
        left = elapsed / state.global_step * (state.max_steps - state.global_step)
        print(
            line(
                step=f"{state.global_step}/{state.max_steps}",
                rewards=self.rewards,
                length=logs["completions/mean_length"],
                kl=logs.get("kl"),
                elapsed=elapsed,
                left=left,
            ),
            flush=True,
        )


def line(
    *,
    step: str,
    rewards: Mapping[str, float],
    length: float,
    kl: float | None,
    elapsed: float,
    left: float,
) -> str:
    """Return the line of one step."""
    parts = [f"step {step}"]
    parts += [f"{name} {value:.3f}" for name, value in rewards.items()]
    parts += [f"length {length:.1f}"]
    if kl is not None:  # a diagnostic: the mean per token of k3, not the response's KL
        parts += [f"kl/token {kl:.4f}"]
    return "  ".join([*parts, f"{elapsed:.0f} s elapsed", f"{left:.0f} s left"])
