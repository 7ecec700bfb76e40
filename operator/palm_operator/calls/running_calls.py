"""What the status tells of the trainings that run. Pure."""

from palm.training_progress import TrainingProgress
from palm_operator.api.portfolio import Portfolio
from palm_operator.api.status import RunningCall
from palm_operator.calls.tasks import State, Task
from palm_operator.names import Step
from palm_operator.observed import Observed
from palm_operator.said.status import TEXT_LIMIT, number, shortened

SHOWN = 16
"""Trainings that are told of."""

_LONGEST = 1e9  # seconds that are shown: tenant code says how many are left


def running_calls(
    portfolio: Portfolio, tasks: tuple[Task, ...], observed: Observed
) -> list[RunningCall]:
    """Return what the status tells of the trainings that run, those with most left first."""
    names = [reward.name for reward in portfolio.spec.rewards]
    told = [
        (task.policy.name, observed.progress[task.digest])
        for task in tasks
        if task.policy is not None
        and task.step is Step.TRAIN
        and task.state is State.RUNNING
        and task.digest in observed.progress
    ]
    told.sort(key=lambda item: (-(item[1].seconds_left or 0.0), item[0]))
    return [_call(name, progress, names) for name, progress in told[:SHOWN]]


def _call(name: str, progress: TrainingProgress, rewards: list[str]) -> RunningCall:
    known = [progress.rewards[reward] for reward in rewards if reward in progress.rewards]
    rate, kl, left = progress.tokens_per_second, progress.kl_per_token, progress.seconds_left
    return RunningCall(
        policy=shortened(name, TEXT_LIMIT),
        step=progress.step,
        steps=progress.steps,
        rewards=[number(value) for value in known] if len(known) == len(rewards) else [],
        kl_per_token=None if kl is None else number(kl),
        tokens_per_second=None if rate is None else number(round(rate)),
        left=None if left is None else _duration(left),
        checkpoint_step=progress.checkpoint_step,
        updated=progress.updated,
    )


def _duration(seconds: float) -> str:
    minutes = int(min(seconds, _LONGEST) // 60)
    if minutes == 0:
        return f"{int(seconds)}s"
    hours, rest = divmod(minutes, 60)
    return f"{hours}h{rest}m" if hours else f"{minutes}m"
