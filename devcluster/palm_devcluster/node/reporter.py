"""What the node tells the API server about a Pod: its status, its end, and events."""

import asyncio
import logging
from datetime import UTC, datetime

from palm_devcluster.node.api import CONFLICT, FAILURES, NOT_FOUND, STRATEGIC, Api, ApiError
from palm_devcluster.node.conditions import time_text
from palm_devcluster.node.fields import Json

logger = logging.getLogger(__name__)


def pod_event(pod: Json, node: str, *, kind: str, reason: str, message: str) -> Json:
    """An Event; ``kind`` is Normal or Warning."""
    metadata, now = pod["metadata"], time_text(datetime.now(UTC))
    return {
        "metadata": {
            "generateName": f"{metadata['name'][:50]}.",
            "namespace": metadata["namespace"],
        },
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
        "type": kind,
        "reason": reason,
        "message": message[:1024],
        "source": {"component": "palm-process-node", "host": node},
        "reportingComponent": "palm-process-node",
        "reportingInstance": node,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def pod_path(pod: Json) -> str:
    """Where a Pod is in the API."""
    metadata = pod["metadata"]
    return f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"


class Reporter:
    """The writes of one Pod's worker."""

    def __init__(self, api: Api, node: str) -> None:
        self._api, self._node = api, node
        self._posts: set[asyncio.Task[None]] = set()

    async def write_status(self, pod: Json, status: Json) -> Json | None:
        """Write a status; the Pod as it is then, or None if it is gone or another by now."""
        patch = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status}
        path = f"{pod_path(pod)}/status"
        try:
            return await self._api.call("PATCH", path, patch, content_type=STRATEGIC)
        except ApiError as error:
            if error.code not in (NOT_FOUND, CONFLICT):
                raise
            logger.info("%s not written: %s", path, error)
            return None

    async def delete(self, pod: Json) -> bool:
        """Remove a Pod that has ended from the API; false if it is gone already."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": pod["metadata"]["uid"]},
        }
        try:
            await self._api.call("DELETE", pod_path(pod), body)
        except ApiError as error:
            if error.code not in (NOT_FOUND, CONFLICT):
                raise
            return False
        return True

    def event(self, pod: Json, *, kind: str, reason: str, message: str) -> None:
        """Create an Event in the background."""
        event = pod_event(pod, self._node, kind=kind, reason=reason, message=message)
        task = asyncio.create_task(self._post(event))
        self._posts.add(task)
        task.add_done_callback(self._posts.discard)

    async def _post(self, event: Json) -> None:
        try:
            path = f"/api/v1/namespaces/{event['metadata']['namespace']}/events"
            await self._api.call("POST", path, event)
        except FAILURES as error:  # nothing depends on an event
            logger.info("event %s not created: %s", event["reason"], error)
