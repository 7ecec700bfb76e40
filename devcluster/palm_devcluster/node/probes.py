"""Startup, readiness and liveness probes of running containers."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp

from palm_devcluster.node.addresses import ADDRESS
from palm_devcluster.node.environment import Launch, expand
from palm_devcluster.node.fields import Json
from palm_devcluster.node.paths import Mount, translate

logger = logging.getLogger(__name__)

_OUTPUT_BYTES = 1024


@dataclass(frozen=True)
class Verdict:
    """What repeated probes have shown so far: a state and the results in a row against it."""

    passing: bool
    against: int = 0

    def after(self, succeeded: bool, probe: Json) -> "Verdict":
        """The verdict after one more result; it turns at the probe's thresholds."""
        if succeeded == self.passing:
            return Verdict(self.passing)
        threshold = probe.get("failureThreshold", 3)
        if succeeded:
            threshold = probe.get("successThreshold", 1)
        turned = self.against + 1 >= threshold
        return Verdict(not self.passing) if turned else Verdict(self.passing, self.against + 1)


@dataclass(frozen=True)
class Target:
    """A running container as probes see it."""

    container: Json
    launch: Launch
    mounts: tuple[Mount, ...]
    address: str = ADDRESS  # of its Pod


async def run_command(target: Target, command: list[str], seconds: float) -> tuple[bool, str]:
    """Run a command with a container's environment; true with exit code 0 in time."""
    env = target.launch.env
    words = [expand(translate(word, target.mounts), env) for word in command]
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            env=dict(env),
            cwd=target.launch.cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return False, str(error)
    try:
        output, _ = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        process.kill()
        await process.wait()
        return False, f"{words[0]} gave no result within {seconds:g} s"
    return process.returncode == 0, output[:_OUTPUT_BYTES].decode(errors="replace")


def port_number(port: int | str, container: Json) -> int:
    """A port given by number or by the name of a container port.

    Raises:
        ValueError: The container has no port of that name.
    """
    if isinstance(port, int) or port.isdigit():
        return int(port)
    for known in container.get("ports", []):
        if known.get("name") == port:
            return int(known["containerPort"])
    raise ValueError(f"container {container['name']!r} has no port named {port!r}")


async def probe_once(target: Target, probe: Json) -> tuple[bool, str]:
    """One attempt of a probe: whether it succeeded, and what it showed if not."""
    seconds = float(probe.get("timeoutSeconds", 1))
    try:
        if "exec" in probe:
            return await run_command(target, probe["exec"].get("command", []), seconds)
        if "httpGet" in probe:
            return await _http(target, probe["httpGet"], seconds)
        if "tcpSocket" in probe:
            return await _tcp(target, probe["tcpSocket"], seconds)
    except (OSError, ValueError, TimeoutError, aiohttp.ClientError) as error:
        return False, str(error) or type(error).__name__
    return False, f"probe {sorted(probe)} is not supported by the process node"


async def _http(target: Target, action: Json, seconds: float) -> tuple[bool, str]:
    host, port = _listener(target, action)
    url = f"{action.get('scheme', 'HTTP').lower()}://{host}:{port}/"
    url += action.get("path", "/").removeprefix("/")
    headers = {header["name"]: header["value"] for header in action.get("httpHeaders", [])}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=seconds)) as session,
        session.get(url, headers=headers, ssl=False, allow_redirects=False) as response,
    ):
        return 200 <= response.status < 400, f"{url} answered {response.status}"


async def _tcp(target: Target, action: Json, seconds: float) -> tuple[bool, str]:
    host, port = _listener(target, action)
    _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), seconds)
    writer.close()
    return True, ""


def _listener(target: Target, action: Json) -> tuple[str, int]:
    return action.get("host", target.address), port_number(action["port"], target.container)


class Prober:
    """The probes of one attempt of a container."""

    def __init__(
        self,
        target: Target,
        *,
        changed: Callable[[], None],
        failed: Callable[[str, str], None],
    ) -> None:
        """Prepare to probe.

        Args:
            target: The container.
            changed: Called when ``started`` or ``ready`` has changed.
            failed: Called with the probe's kind and the reason when the container must restart.
        """
        self.started = "startupProbe" not in target.container
        self.ready = "readinessProbe" not in target.container
        self._target, self._changed, self._failed = target, changed, failed
        self._task = asyncio.create_task(self._run(target.container))

    def stop(self) -> None:
        """Probe no more."""
        self._task.cancel()

    async def _run(self, container: Mapping[str, Json]) -> None:
        if "startupProbe" in container:
            await self._until_decided("startup", container["startupProbe"], passing=False)
            if not self.started:
                return
        async with asyncio.TaskGroup() as tasks:
            if "readinessProbe" in container:
                tasks.create_task(self._watch_readiness(container["readinessProbe"]))
            if "livenessProbe" in container:
                liveness = container["livenessProbe"]
                tasks.create_task(self._until_decided("liveness", liveness, passing=True))

    async def _until_decided(self, kind: str, probe: Json, *, passing: bool) -> None:
        """Probe until a startup probe passes, or any fails as often as its threshold."""
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        failures = 0
        while True:
            succeeded, why = await probe_once(self._target, probe)
            if succeeded and not passing:
                self.started = True
                self._changed()
                return
            failures = 0 if succeeded else failures + 1
            if failures >= probe.get("failureThreshold", 3):
                self._failed(kind, why)
                return
            await asyncio.sleep(probe.get("periodSeconds", 10))

    async def _watch_readiness(self, probe: Json) -> None:
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        verdict = Verdict(passing=False)
        while True:
            succeeded, why = await probe_once(self._target, probe)
            if not succeeded:
                logger.debug("readiness of %s: %s", self._target.container["name"], why)
            verdict = verdict.after(succeeded, probe)
            if verdict.passing != self.ready:
                self.ready = verdict.passing
                self._changed()
            await asyncio.sleep(probe.get("periodSeconds", 10))
