"""Route tables from the API server: listed, then watched, for ever. The only adapter of it."""

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from kubernetes.aio.client import ApiClient
from kubernetes.aio.dynamic import DynamicClient
from kubernetes.aio.dynamic.exceptions import DynamicApiError

from palm_operator import names

logger = logging.getLogger(__name__)

_WATCH_SECONDS = 60  # a silently dead connection is noticed after it
_ANSWER_SECONDS = 15
_FIRST_BACKOFF_SECONDS = 0.2
_LONGEST_BACKOFF_SECONDS = 10.0
_GONE = 410

Object = dict[str, Any]


class Follower(Protocol):
    """Whoever wants to know."""

    def listed(self, namespace: str, bodies: list[Object]) -> None:
        """Take everything that a namespace holds."""

    def changed(self, body: Object) -> None:
        """Take one ConfigMap as it is now."""

    def deleted(self, body: Object) -> None:
        """Drop one ConfigMap."""


class Expired(Exception):
    """The version to watch from is forgotten; what there is must be listed again."""


@dataclass(frozen=True)
class _Tables:
    """The route tables of one namespace and install."""

    dynamic: DynamicClient
    namespace: str
    selector: str

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/configmaps"


async def follow(
    client: ApiClient, namespace: str, follower: Follower, *, operator_class: str = ""
) -> None:
    """Tell a follower of a namespace's route tables until cancelled; a failure is tried again.

    Args:
        client: Of the API server.
        namespace: Where the tables are.
        follower: Whom to tell.
        operator_class: Of the install whose tables they are: others may be anybody's.
    """
    tables = _Tables(DynamicClient(client), namespace, names.route_table_selector(operator_class))
    failures = 0
    while True:
        try:
            version = await _list(tables, follower)
            failures = 0
            while True:
                version = await _watch(tables, version, follower)
        except Expired:
            logger.info("namespace %s: watch expired; listing again", namespace)
        except Exception as error:  # of whatever kind: a gateway that follows no more is no use
            logger.warning("namespace %s: %s", namespace, _explained(error))
            delay = min(_FIRST_BACKOFF_SECONDS * 2**failures, _LONGEST_BACKOFF_SECONDS)
            failures = min(failures + 1, 10)
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))


async def _list(tables: _Tables, follower: Follower) -> str:
    answer: Object = await tables.dynamic.request(
        "get",
        tables.path,
        serializer=lambda _, data: data,
        header_params={},
        query_params=[],
        label_selector=tables.selector,
        _request_timeout=_ANSWER_SECONDS,
    )
    follower.listed(tables.namespace, answer.get("items") or [])
    return str(answer["metadata"]["resourceVersion"])


async def _watch(tables: _Tables, version: str, follower: Follower) -> str:
    """Follow the events after a version; return the last one when the server ends the watch."""
    async for event in _events(tables, version):
        kind, body = event["type"], event["object"]
        if kind == "ERROR":
            if body.get("code") == _GONE:
                raise Expired
            raise ValueError(f"watch failed: {body.get('reason')}")
        version = str(body["metadata"]["resourceVersion"])
        if kind == "DELETED":
            follower.deleted(body)
        elif kind in ("ADDED", "MODIFIED"):
            follower.changed(body)
    return version


async def _events(tables: _Tables, version: str) -> AsyncIterator[Object]:
    response = await tables.dynamic.request(
        "get",
        tables.path,
        serialize=False,
        header_params={},
        query_params=[("allowWatchBookmarks", "true")],
        label_selector=tables.selector,
        resource_version=version,
        timeout_seconds=_WATCH_SECONDS,
        watch="true",
        _request_timeout=_WATCH_SECONDS + _ANSWER_SECONDS,
    )
    try:
        async for line in response.content:
            yield json.loads(line)
    finally:
        response.close()


def _explained(error: Exception) -> str:
    if isinstance(error, DynamicApiError):
        return f"the API server answered {error.status} {error.reason}"
    return f"{type(error).__name__}: {error}"
