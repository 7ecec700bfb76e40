"""What to start and what to stop, from the Pod and its containers as they are. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from palm_devcluster.node.fields import Json, containers_of
from palm_devcluster.node.records import Attempt, moment

_FIRST_DELAY_S, _LONGEST_DELAY_S = 10.0, 300.0
_HEALTHY_S = 600.0  # a container that ran this long starts its back-off anew


@dataclass(frozen=True)
class ContainerView:
    """One container: its last attempts (newest last), and why the next cannot start, if so."""

    attempts: tuple[Attempt, ...] = ()
    waiting: tuple[str, str] | None = None  # reason, message
    retry_at: datetime | None = None
    started: bool = True  # what the startup probe says
    ready: bool = True  # what the readiness probe says

    @property
    def latest(self) -> Attempt | None:
        """The newest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def alive(self) -> bool:
        """Whether a process of it may exist."""
        return self.latest is not None and self.latest.alive

    @property
    def running(self) -> bool:
        """Whether its main process runs."""
        return self.alive and self.latest is not None and self.latest.pid is not None

    @property
    def succeeded(self) -> bool:
        """Whether it has ended with exit code 0."""
        return (
            self.latest is not None and self.latest.exit is not None and self.latest.exit.code == 0
        )


Views = Mapping[str, ContainerView]


@dataclass(frozen=True)
class Start:
    """Start this attempt of a container; ``delay`` is the back-off that was waited for it."""

    container: str
    number: int
    delay: float


@dataclass(frozen=True)
class Decision:
    """What to do now; ``over`` when nothing of the Pod will ever run again."""

    start: tuple[Start, ...] = ()
    stop: tuple[str, ...] = ()
    over: bool = False
    wake_at: datetime | None = field(default=None)  # when a back-off ends


def is_sidecar(container: Json) -> bool:
    """Whether an init container runs as long as the Pod does."""
    return container.get("restartPolicy") == "Always"


def restart_policy(pod: Json, container: Json) -> str:
    """``Always``, ``OnFailure`` or ``Never`` for one container."""
    return str(container.get("restartPolicy") or pod["spec"].get("restartPolicy", "Always"))


def restarts(policy: str, exit_code: int) -> bool:
    """Whether a container that ended so is started again."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def next_delay(attempt: Attempt) -> float:
    """Seconds between the end of an attempt and the next start: 0, 10, 20, 40 … 300."""
    if attempt.number == 0 or attempt.exit is None:
        return 0.0
    ran = moment(attempt.exit.finished_at) - moment(attempt.started_at)
    if ran.total_seconds() >= _HEALTHY_S:
        return 0.0
    return min(max(_FIRST_DELAY_S, 2 * attempt.delay), _LONGEST_DELAY_S)


def deadline(pod: Json) -> datetime | None:
    """When ``activeDeadlineSeconds`` ends the Pod."""
    seconds, start = pod["spec"].get("activeDeadlineSeconds"), pod["status"].get("startTime")
    if seconds is None or start is None:
        return None
    return moment(start) + timedelta(seconds=seconds)


def decide(pod: Json, views: Views, *, ending: bool, now: datetime) -> Decision:
    """The next step of a Pod: init containers in order, then all others at once.

    Args:
        pod: The Pod as the API server has it.
        views: Every container by name.
        ending: The Pod is being deleted or has passed its deadline: nothing starts any more.
        now: The time that back-offs are measured against.
    """
    if ending:
        alive = tuple(name for name, view in views.items() if view.alive)
        return Decision(stop=alive, over=not alive)
    for container in pod["spec"].get("initContainers", []):
        view = views[container["name"]]
        if is_sidecar(container):
            if not view.alive:
                return _run(pod, container, views, now)
            if not (view.running and view.started):
                return Decision()
        elif not view.succeeded:
            return _run(pod, container, views, now)
    return _run_all(pod, views, now)


def _run_all(pod: Json, views: Views, now: datetime) -> Decision:
    steps = [next_step(pod, container, views, now) for container in pod["spec"]["containers"]]
    names = {container["name"] for container in pod["spec"]["containers"]}
    if all(finished(pod, container, views) for container in pod["spec"]["containers"]):
        rest = tuple(name for name, view in views.items() if view.alive and name not in names)
        return Decision(stop=rest, over=not rest)
    waits = [step for step in steps if isinstance(step, datetime)]
    starts = tuple(step for step in steps if isinstance(step, Start))
    return Decision(start=starts, wake_at=min(waits, default=None))


def _run(pod: Json, container: Json, views: Views, now: datetime) -> Decision:
    if finished(pod, container, views):  # an init container failed for good
        rest = tuple(name for name, view in views.items() if view.alive)
        return Decision(stop=rest, over=not rest)
    step = next_step(pod, container, views, now)
    if isinstance(step, Start):
        return Decision(start=(step,))
    return Decision(wake_at=step)


def finished(pod: Json, container: Json, views: Views) -> bool:
    """Whether a container has ended and will not be started again."""
    latest = views[container["name"]].latest
    if latest is None or latest.exit is None:
        return False
    return not restarts(restart_policy(pod, container), latest.exit.code)


def next_step(pod: Json, container: Json, views: Views, now: datetime) -> Start | datetime | None:
    """The start of a container that is due, the time when it will be, or None."""
    view = views[container["name"]]
    latest = view.latest
    if view.alive or finished(pod, container, views):
        return None
    if view.retry_at is not None and view.retry_at > now:
        return view.retry_at
    if latest is None or latest.exit is None:
        return Start(container["name"], 0, 0.0)
    delay = next_delay(latest)
    due = moment(latest.exit.finished_at) + timedelta(seconds=delay)
    return Start(container["name"], latest.number + 1, delay) if due <= now else due


def containers_by_name(pod: Json) -> dict[str, Json]:
    """Every container of a Pod."""
    return {container["name"]: container for container in containers_of(pod)}
