"""One Pod on this node, from its first sight to the removal of its folder."""

import asyncio
import logging
import shutil
import time
from datetime import UTC, datetime

from palm_devcluster.node.api import FAILURES, FORBIDDEN, ApiError
from palm_devcluster.node.decision import (
    ContainerView,
    Decision,
    Start,
    Views,
    containers_by_name,
    deadline,
    decide,
)
from palm_devcluster.node.fields import ConfigError, Json
from palm_devcluster.node.hindrances import CREATING, Hindrances
from palm_devcluster.node.preparation import Node, Preparation, UnknownImageError
from palm_devcluster.node.probes import Prober, Target, run_command
from palm_devcluster.node.processes import POLL_S, Processes
from palm_devcluster.node.reporter import Reporter
from palm_devcluster.node.status import Ending, pod_status, same_status

logger = logging.getLogger(__name__)

_IDLE_S = 60.0
_MEMORY_S = 1.0
_REFRESH_RETRY_S = 5.0
_GONE_GRACE_S = 2.0  # for a Pod that was deleted from the API by force
_OVER = ("Succeeded", "Failed")
_DEADLINE = Ending(
    reason="DeadlineExceeded",
    message="Pod was active on the node longer than the specified deadline",
)


class PodWorker:
    """Drives one Pod: observe, decide, act, report."""

    def __init__(self, node: Node, pod: Json) -> None:
        self.pod = pod
        self.gone = False  # the API server knows it no more
        self.containers = containers_by_name(pod)
        self.preparation = Preparation(node, pod)
        self.processes = Processes(self.preparation.folder, self.containers)
        self._reporter = Reporter(node.api, node.name)
        self._hindrances = Hindrances()
        self._probers: dict[tuple[str, int], Prober] = {}
        self._stops: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._targets: dict[tuple[str, int], Target] = {}
        self._changed = asyncio.Event()
        self._memory_at = 0.0
        self.processes.recall(pod.get("status", {}))

    def update(self, pod: Json | None) -> None:
        """Take the Pod as the API server has it now; None when it has it no more."""
        if pod is None:
            self.gone = True
        else:
            self._take(pod)
        self._changed.set()

    def _take(self, pod: Json) -> None:
        """Keep the newer of two versions: answers and watch events overtake one another."""
        versions = [int(known["metadata"]["resourceVersion"]) for known in (self.pod, pod)]
        if versions[1] >= versions[0]:
            self.pod = self.preparation.pod = pod

    async def run(self) -> None:
        """Work until the Pod is gone from the API server and from this machine."""
        while True:
            self._changed.clear()  # before the look, so that a change during it counts
            try:
                if await self._step():
                    return
                pause = self._pause
            except (*FAILURES, ConfigError, UnknownImageError, OSError) as error:
                logger.warning("pod %s: %s", self.pod["metadata"]["name"], error)
                pause = 1.0
            try:
                await asyncio.wait_for(self._changed.wait(), pause)
            except TimeoutError:
                continue

    @property
    def _is_deleted(self) -> bool:
        return self.gone or "deletionTimestamp" in self.pod["metadata"]

    async def _step(self) -> bool:
        now = datetime.now(UTC)
        views = self._views()
        self._pause = _IDLE_S
        ending = self._ending(now)
        if self.pod.get("status", {}).get("phase") in _OVER and not ending:
            ending = Ending()
        decision = decide(self.pod, views, ending=ending is not None, now=now)
        await self._act(decision, views, now)
        if self.gone:
            self._pause = POLL_S
            return decision.over and self._remove()
        await self._report(ending, decision, views)
        if decision.over and self._is_deleted and not await self._reporter.delete(self.pod):
            self.update(None)
        self._plan_pause(decision, views, now)
        return False

    def _ending(self, now: datetime) -> Ending | None:
        limit = deadline(self.pod) if self.pod.get("status") else None
        if limit is not None and limit <= now:
            return _DEADLINE
        return Ending() if self._is_deleted else None

    def _views(self) -> dict[str, ContainerView]:
        return {name: self._view(name) for name in self.containers}

    def _view(self, name: str) -> ContainerView:
        attempts = self.processes.attempts(name)
        hindrance = self._hindrances.of(name)
        prober = self._probers.get((name, attempts[-1].number)) if attempts else None
        probed = any(f"{kind}Probe" in self.containers[name] for kind in ("startup", "readiness"))
        return ContainerView(
            attempts=attempts,
            waiting=None if hindrance is None else (hindrance.reason, hindrance.message),
            retry_at=None if hindrance is None else hindrance.retry_at,
            started=prober.started if prober else "startupProbe" not in self.containers[name],
            ready=prober.ready if prober else not probed,
        )

    async def _act(self, decision: Decision, views: Views, now: datetime) -> None:
        for name in decision.stop:
            latest = views[name].latest
            if latest is not None:
                self._stop(name, latest.number)
        alive = any(view.alive for view in views.values())
        refresh = alive and time.monotonic() >= self.preparation.refresh_at
        if (decision.start or refresh) and await self._mounted(decision, now):
            for step in decision.start:
                await self._start(step, now)
        for name, view in views.items():
            await self._probe(name, view)
        if time.monotonic() - self._memory_at >= _MEMORY_S:
            self._memory_at = time.monotonic()
            self.processes.watch_memory()

    async def _mounted(self, decision: Decision, now: datetime) -> bool:
        try:
            await self.preparation.mount()
        except (ConfigError, ApiError, OSError) as error:
            names = [step.container for step in decision.start]
            self.preparation.refresh_at = time.monotonic() + _REFRESH_RETRY_S
            news = [self._hindrances.add(name, error, now, CREATING) for name in names]
            soon = isinstance(error, ApiError) and error.code == FORBIDDEN  # see Hindrances
            if any(news) and not soon:
                self._event("Warning", "FailedMount", str(error))
            return False
        return True

    async def _start(self, step: Start, now: datetime) -> None:
        name = step.container
        folder = self.processes.record(name).folder / str(step.number)
        try:
            target = await self.preparation.target(self.containers[name], folder)
        except (UnknownImageError, ConfigError, ApiError, OSError) as error:
            soon = isinstance(error, ApiError) and error.code == FORBIDDEN  # see Hindrances
            if self._hindrances.add(name, error, now, CREATING if soon else "") and not soon:
                self._event("Warning", "Failed", f"container {name!r}: {error}")
            return
        self._hindrances.remove(name)
        self._targets[name, step.number] = target
        self.processes.start(step, target.launch)
        self._event("Normal", "Started", f"Started container {name}")

    async def _probe(self, name: str, view: ContainerView) -> None:
        container, latest = self.containers[name], view.latest
        for key in [key for key in self._probers if key[0] == name]:
            if latest is None or key[1] != latest.number or not view.running or self._is_deleted:
                self._probers.pop(key).stop()
        if latest is None or not view.running or self._is_deleted:
            return
        key = (name, latest.number)
        wanted = any(f"{kind}Probe" in container for kind in ("startup", "readiness", "liveness"))
        if wanted and key not in self._probers and key not in self._stops:
            self._probers[key] = Prober(
                await self._target(name, latest.number),
                changed=self._changed.set,
                failed=lambda kind, why: self._unhealthy(name, latest.number, kind, why),
            )

    async def _target(self, name: str, number: int) -> Target:
        """How a running container was launched; made anew for one that was adopted."""
        if (name, number) not in self._targets:
            folder = self.processes.record(name).folder / str(number)
            target = await self.preparation.target(self.containers[name], folder)
            self._targets[name, number] = target
        return self._targets[name, number]

    def _unhealthy(self, name: str, number: int, kind: str, why: str) -> None:
        self._event("Warning", "Unhealthy", f"{kind} probe of container {name} failed: {why}")
        self._stop(name, number)

    def _stop(self, name: str, number: int) -> None:
        if (name, number) not in self._stops:
            self._event("Normal", "Killing", f"Stopping container {name}")
            self._stops[name, number] = asyncio.create_task(self._stop_gracefully(name, number))

    async def _stop_gracefully(self, name: str, number: int) -> None:
        hook = self.containers[name].get("lifecycle", {}).get("preStop", {}).get("exec")
        if hook and not self.gone:
            try:
                target = await self._target(name, number)
                await run_command(target, hook.get("command", []), self._grace())
            except (*FAILURES, ConfigError, UnknownImageError) as error:
                self._event("Warning", "FailedPreStopHook", f"container {name}: {error}")
        await self.processes.stop(name, number, self._grace)
        self._changed.set()

    def _grace(self) -> float:
        if self.gone:
            return _GONE_GRACE_S
        stated = self.pod["spec"].get("terminationGracePeriodSeconds", 30)
        return float(self.pod["metadata"].get("deletionGracePeriodSeconds", stated))

    async def _report(self, ending: Ending | None, decision: Decision, views: Views) -> None:
        if self.pod.get("status", {}).get("phase") in _OVER:
            return
        now, over = datetime.now(UTC), decision.over
        status = pod_status(self.pod, views, ending=ending, over=over, now=now)
        if same_status(self.pod.get("status", {}), status):
            return
        written = await self._reporter.write_status(self.pod, status)
        if written is not None:
            self._take(written)

    def _remove(self) -> bool:
        for prober in self._probers.values():
            prober.stop()
        shutil.rmtree(self.preparation.folder.path, ignore_errors=True)
        return True

    def _plan_pause(self, decision: Decision, views: Views, now: datetime) -> None:
        if decision.start or any(view.alive for view in views.values()):
            self._pause = POLL_S
        elif decision.wake_at is not None:
            self._pause = max(POLL_S, (decision.wake_at - now).total_seconds())

    def _event(self, kind: str, reason: str, message: str) -> None:
        self._reporter.event(self.pod, kind=kind, reason=reason, message=message)
