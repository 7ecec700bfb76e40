"""The cluster behind one small seam: list, create if absent, apply, delete, report.

Resources are addressed by path, without discovery: it costs requests, and a CRD that is installed
later would be missed.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal, Self

from aiohttp import ClientError
from kubernetes.aio.client import ApiClient
from kubernetes.aio.dynamic import DynamicClient, Resource
from kubernetes.aio.dynamic.exceptions import ConflictError, DynamicApiError, NotFoundError

from palm_operator.access import api_client
from palm_operator.api import GROUP, KIND, PLURAL, VERSION
from palm_operator.names import FIELD_MANAGER, LABEL_PORTFOLIO_UID

Object = dict[str, Any]
Child = Literal["Job", "InferenceService"]

_PAGE = 500
_TIMEOUT_SECONDS = 30
_KINDS = {
    "Portfolio": ("apis", GROUP, VERSION, PLURAL),
    "Job": ("apis", "batch", "v1", "jobs"),
    "InferenceService": ("apis", "serving.kserve.io", "v1beta1", "inferenceservices"),
    "Event": ("api", "", "v1", "events"),
}


class ClusterUnavailable(Exception):
    """The API server refused or did not answer; the message says what to which request."""


class Cluster:
    """The API server, as far as the operator needs it."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._dynamic = DynamicClient(client)
        self._resources = {
            kind: Resource(
                prefix=prefix,
                group=group,
                api_version=version,
                kind=kind,
                namespaced=True,
                name=plural,
                client=self._dynamic,
            )
            for kind, (prefix, group, version, plural) in _KINDS.items()
        }

    @classmethod
    async def connected(cls) -> Self:
        """Return a cluster with the credentials of the environment."""
        return cls(await api_client())

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def portfolios(self, namespace: str | None) -> list[Object]:
        """Return every Portfolio of a namespace, or of the cluster."""
        return await self._listed("Portfolio", namespace, None) or []

    async def portfolio(self, namespace: str, name: str) -> Object | None:
        """Return one Portfolio; None when it is gone."""
        return await self.found("Portfolio", namespace, name)

    async def jobs(self, namespace: str, uid: str) -> list[Object]:
        """Return the Jobs that carry a Portfolio's label, straight from the API server."""
        return await self._listed("Job", namespace, f"{LABEL_PORTFOLIO_UID}={uid}") or []

    async def services(self, namespace: str, uid: str) -> list[Object] | None:
        """Return the InferenceServices that carry a Portfolio's label; None without KServe."""
        return await self._listed("InferenceService", namespace, f"{LABEL_PORTFOLIO_UID}={uid}")

    async def found(self, kind: str, namespace: str, name: str) -> Object | None:
        """Return one object; None when there is none."""
        path = self._resources[kind].path(name=name, namespace=namespace)
        try:
            return await self._asked("get", path)
        except NotFoundError:
            return None

    async def create(self, manifest: Mapping[str, Any]) -> bool:
        """Create an object; say False when one of that name exists."""
        metadata = manifest["metadata"]
        path = self._resources[manifest["kind"]].path(namespace=metadata["namespace"])
        try:
            await self._asked("post", path, body=manifest, field_manager=FIELD_MANAGER)
        except ConflictError:
            return False
        except NotFoundError as error:
            raise ClusterUnavailable(f"POST {path}: {_explanation(error)}") from None
        return True

    async def apply(self, manifest: Mapping[str, Any]) -> None:
        """Apply our fields on the server's side; other fields stay as others want them."""
        metadata = manifest["metadata"]
        path = self._resources[manifest["kind"]].path(
            name=metadata["name"], namespace=metadata["namespace"]
        )
        try:
            await self._asked(
                "patch",
                path,
                body=manifest,
                content_type="application/apply-patch+yaml",
                field_manager=FIELD_MANAGER,
                force_conflicts="true",
            )
        except (NotFoundError, ConflictError) as error:
            raise ClusterUnavailable(f"PATCH {path}: {_explanation(error)}") from None

    async def delete(self, kind: Child, namespace: str, name: str, uid: str) -> None:
        """Delete exactly this object, its dependents after it; gone already is fine."""
        options = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        path = self._resources[kind].path(name=name, namespace=namespace)
        try:
            await self._asked("delete", path, body=options)
        except (NotFoundError, ConflictError):
            return

    async def report(self, body: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
        """Write a Portfolio's status; say False when the Portfolio changed since it was read."""
        metadata = body["metadata"]
        path = self._resources["Portfolio"].path(
            name=metadata["name"], namespace=metadata["namespace"]
        )
        patch = {
            "metadata": {"resourceVersion": metadata["resourceVersion"]},
            "status": {key: status.get(key) for key in {*status, *(body.get("status") or {})}},
        }
        try:
            await self._asked(
                "patch",
                f"{path}/status",
                body=patch,
                content_type="application/merge-patch+json",
                field_manager=FIELD_MANAGER,
            )
        except (NotFoundError, ConflictError):
            return False
        return True

    async def tell(
        self, body: Mapping[str, Any], *, kind: str, reason: str, message: str, time: str
    ) -> None:
        """Emit a core/v1 Event about a Portfolio."""
        metadata = body["metadata"]
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "generateName": f"{metadata['name'][:200]}-",
                "namespace": metadata["namespace"],
            },
            "involvedObject": {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": KIND,
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
                "resourceVersion": metadata.get("resourceVersion", ""),
            },
            "type": kind,
            "reason": reason,
            "message": message,
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
            "source": {"component": FIELD_MANAGER},
        }
        path = self._resources["Event"].path(namespace=metadata["namespace"])
        await self._asked("post", path, body=event)

    async def _listed(
        self, kind: str, namespace: str | None, selector: str | None
    ) -> list[Object] | None:
        """Return all objects, page by page; None when the cluster has no such resource."""
        path = self._resources[kind].path(namespace=namespace)
        objects: list[Object] = []
        following = None
        while True:
            try:
                page = await self._asked(
                    "get", path, label_selector=selector, limit=_PAGE, _continue=following
                )
            except NotFoundError:
                return None
            objects += page.get("items") or []
            following = page["metadata"].get("continue")
            if not following:
                return objects

    async def _asked(self, method: str, path: str, **arguments: Any) -> Object:
        try:
            answer = await self._dynamic.request(
                method,
                path,
                serializer=lambda _, data: data,
                header_params={},
                query_params=[],
                _request_timeout=_TIMEOUT_SECONDS,
                **arguments,
            )
        except (NotFoundError, ConflictError):
            raise
        except DynamicApiError as error:
            raise ClusterUnavailable(
                f"{method.upper()} {path}: {error.status} {_explanation(error)}"
            ) from None
        except (OSError, TimeoutError, ClientError) as error:
            raise ClusterUnavailable(
                f"{method.upper()} {path}: {type(error).__name__}: {error}"
            ) from None
        return dict(answer)


def _explanation(error: DynamicApiError) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)
