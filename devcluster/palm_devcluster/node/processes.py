"""The running containers of one Pod: start, adopt, watch memory, stop."""

import asyncio
import logging
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from palm_devcluster.node import logs
from palm_devcluster.node.decision import Start
from palm_devcluster.node.environment import Launch
from palm_devcluster.node.fields import Json
from palm_devcluster.node.preparation import PodFolder
from palm_devcluster.node.quantity import parse_quantity
from palm_devcluster.node.records import Attempt, ContainerRecord
from palm_devcluster.node.shim import descendants

logger = logging.getLogger(__name__)

POLL_S = 0.1
_MESSAGE_BYTES = 4096  # as in the API's documentation of terminationMessagePath


class Processes:
    """Every container of one Pod that has been started."""

    def __init__(self, folder: PodFolder, containers: dict[str, Json]) -> None:
        self._folder = folder
        self._containers = containers
        self._records = {name: ContainerRecord(folder.container(name)) for name in containers}
        self._shims: list[subprocess.Popen[bytes]] = []
        self._messages: dict[tuple[str, int], str] = {}

    def recall(self, status: Json) -> None:
        """Make sure that what the API server says has run never runs again, folder or not."""
        known = status.get("initContainerStatuses", []) + status.get("containerStatuses", [])
        begun = {entry["name"]: entry["restartCount"] for entry in known if "containerID" in entry}
        for name, record in self._records.items():
            if not record.release_unbegun() and not record.numbers() and name in begun:
                record.lose(begun[name])

    def record(self, container: str) -> ContainerRecord:
        """What is on disk about one container."""
        return self._records[container]

    def attempts(self, container: str) -> tuple[Attempt, ...]:
        """The last attempts of a container, with the messages they left."""
        self._shims = [process for process in self._shims if process.poll() is None]
        found = self._records[container].attempts()
        return tuple(self._with_message(container, attempt) for attempt in found)

    def _with_message(self, container: str, attempt: Attempt) -> Attempt:
        if attempt.exit is None or attempt.exit.message:
            return attempt
        key = (container, attempt.number)
        if key not in self._messages:
            self._messages[key] = self._left_message(container, attempt)
        return replace(attempt, exit=replace(attempt.exit, message=self._messages[key]))

    def _left_message(self, container: str, attempt: Attempt) -> str:
        folder = self._records[container].folder / str(attempt.number)
        with suppress(FileNotFoundError):
            text = (folder / "termination-log").read_bytes()[:_MESSAGE_BYTES]
            if text:
                return text.decode(errors="replace")
        policy = self._containers[container].get("terminationMessagePolicy")
        if policy == "FallbackToLogsOnError" and attempt.exit and attempt.exit.code != 0:
            return logs.log_end(folder)
        return ""

    def log_folder(self, container: str, *, previous: bool) -> tuple[Path, int] | None:
        """Folder and number of the newest attempt, or of the one before it."""
        numbers = self._records[container].numbers()
        if len(numbers) <= int(previous):
            return None
        number = numbers[-1 - int(previous)]
        return self._records[container].folder / str(number), number

    def start(self, step: Start, launch: Launch) -> None:
        """Claim and start one attempt."""
        record = self._records[step.container]
        try:
            self._shims.append(record.start(step.number, step.delay, launch))
        except FileExistsError:
            logger.warning("%s/%d was claimed before", record.folder, step.number)

    async def stop(self, container: str, number: int, grace: Callable[[], float]) -> None:
        """SIGTERM, then SIGKILL to everything once ``grace()`` seconds have passed.

        Args:
            container: Its name.
            number: The attempt to stop; another one is left alone.
            grace: Asked again and again, for a second ``kubectl delete`` may shorten it.
        """
        record = self._records[container]
        begin, loop = asyncio.get_running_loop().time(), asyncio.get_running_loop()
        asked = False
        while record.attempt(number).alive:
            if loop.time() - begin >= grace():
                record.signal(number, signal.SIGUSR1)
            elif not asked:
                asked = record.signal(number, signal.SIGTERM)
            await asyncio.sleep(POLL_S)

    def watch_memory(self) -> None:
        """Kill every container that uses more memory than its limit."""
        for name, container in self._containers.items():
            limit = container.get("resources", {}).get("limits", {}).get("memory")
            numbers = self._records[name].numbers()
            if limit is None or not numbers:
                continue
            number = numbers[-1]
            attempt = self._records[name].attempt(number)
            if attempt.exit is not None or attempt.shim is None:
                continue
            used = tree_memory(attempt.shim)
            if used > parse_quantity(limit):
                message = f"used {used} bytes; the limit is {limit}"
                logger.info("container %s: %s", self._records[name].folder, message)
                self._records[name].note(number, "OOMKilled", message)
                self._records[name].signal(number, signal.SIGUSR1)


def tree_memory(shim: int) -> int:
    """Resident bytes of everything below a shim; pages that processes share count for each."""
    total = 0
    for pid in descendants(shim):
        with suppress(OSError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return total * os.sysconf("SC_PAGE_SIZE")
