"""Gives each Pod of this node a worker, and looks after the workers."""

import asyncio
import logging
import shutil
from collections.abc import Iterable

from palm_devcluster.node.api import listed_and_watched
from palm_devcluster.node.fields import Json
from palm_devcluster.node.preparation import Node
from palm_devcluster.node.stopping import stop_containers
from palm_devcluster.node.worker import PodWorker

logger = logging.getLogger(__name__)


class Agent:
    """All Pods that are bound to one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def worker(self, namespace: str, name: str) -> PodWorker | None:
        """The worker of a Pod, the newest where a name was used again."""
        for worker in reversed(self._workers.values()):
            metadata = worker.pod["metadata"]
            if (metadata["namespace"], metadata["name"]) == (namespace, name):
                return worker
        return None

    def pods(self) -> list[Json]:
        """Every Pod on this node."""
        return [worker.pod for worker in self._workers.values()]

    async def run(self) -> None:
        """Follow the Pods of this node for ever."""
        selector = {"fieldSelector": f"spec.nodeName={self._node.name}"}
        async for kind, value in listed_and_watched(self._node.api, "/api/v1/pods", selector):
            if kind == "LIST":
                await self._take_all(value)
            elif kind == "DELETED":
                self._forget([value["metadata"]["uid"]])
            else:
                self._take(value)

    async def _take_all(self, pods: Iterable[Json]) -> None:
        listed = {pod["metadata"]["uid"]: pod for pod in pods}
        self._forget(uid for uid in list(self._workers) if uid not in listed)
        await self._clear_strangers(set(listed))
        for pod in listed.values():
            self._take(pod)

    def _take(self, pod: Json) -> None:
        uid = pod["metadata"]["uid"]
        if uid in self._workers:
            self._workers[uid].update(pod)
            return
        logger.info("pod %s/%s is ours", pod["metadata"]["namespace"], pod["metadata"]["name"])
        worker = PodWorker(self._node, pod)
        self._workers[uid] = worker
        self._tasks[uid] = asyncio.create_task(worker.run(), name=uid)
        self._tasks[uid].add_done_callback(self._done)

    def _forget(self, uids: Iterable[str]) -> None:
        for uid in uids:
            if uid in self._workers:
                self._workers[uid].update(None)

    def _done(self, task: asyncio.Task[None]) -> None:
        uid = task.get_name()
        worker = self._workers.pop(uid)
        del self._tasks[uid]
        if not task.cancelled() and (error := task.exception()):
            name = worker.pod["metadata"]["name"]
            logger.error("worker of pod %s failed; starting another", name, exc_info=error)
            asyncio.get_running_loop().call_later(1.0, self._take, worker.pod)

    async def _clear_strangers(self, known: set[str]) -> None:
        """Stop and remove Pods on disk that the API server does not know any more."""
        pods = self._node.root / "pods"
        for folder in pods.iterdir() if pods.is_dir() else ():
            if folder.name not in known and folder.name not in self._workers:
                logger.info("pod %s is unknown to the API server: removing it", folder.name)
                await asyncio.to_thread(stop_containers, folder, 2.0)
                shutil.rmtree(folder, ignore_errors=True)
