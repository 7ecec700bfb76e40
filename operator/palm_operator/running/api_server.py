"""Requests to the API server: by path, with a time limit, and with errors that say which it was.

Resources are addressed without discovery: it costs requests, and a CRD that is installed later
would be missed.
"""

import copy
import json
from collections.abc import Callable
from typing import Any, Self

from aiohttp import ClientError
from kubernetes.aio.client import ApiClient
from kubernetes.aio.dynamic import DynamicClient, Resource
from kubernetes.aio.dynamic.exceptions import ConflictError, DynamicApiError, NotFoundError

from palm_operator.api.portfolio import GROUP, PLURAL, VERSION

Object = dict[str, Any]

_PAGE = 500
_TIMEOUT_SECONDS = 30.0
_KINDS = {
    "Portfolio": ("apis", GROUP, VERSION, PLURAL),
    "Job": ("apis", "batch", "v1", "jobs"),
    "JobSet": ("apis", "jobset.x-k8s.io", "v1alpha2", "jobsets"),
    "InferenceService": ("apis", "serving.kserve.io", "v1beta1", "inferenceservices"),
    "LLMInferenceService": ("apis", "serving.kserve.io", "v1alpha1", "llminferenceservices"),
    "Pod": ("api", "", "v1", "pods"),
    "Workload": ("apis", "kueue.x-k8s.io", "v1beta2", "workloads"),
    "ConfigMap": ("api", "", "v1", "configmaps"),
    "Event": ("api", "", "v1", "events"),
    "Lease": ("apis", "coordination.k8s.io", "v1", "leases"),
}


class ClusterUnavailable(Exception):
    """The API server refused or did not answer; the message says what to which request.

    Attributes:
        status: Its HTTP status; None where there was no answer.
        explanation: What it said.
    """

    def __init__(self, request: str, *, status: int | None = None, explanation: str = "") -> None:
        self.status, self.explanation = status, explanation
        said = f"{status} {explanation}" if status else explanation
        super().__init__(f"{request}: {said}")


class ApiServer:
    """The API server: what every request to it has in common."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._check: Callable[[], float] = lambda: _TIMEOUT_SECONDS
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

    def fenced(self, check: Callable[[], float]) -> Self:
        """Return the same server for one who must ask before each write.

        Args:
            check: Returns how many seconds a write may take; raises where there must be none.
        """
        other = copy.copy(self)
        other._check = check
        return other

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def path(self, kind: str, *, namespace: str | None = None, name: str | None = None) -> str:
        """Return the path of an object, or of all of a kind, in one namespace or in all."""
        return str(self._resources[kind].path(name=name, namespace=namespace))

    async def listed(
        self, kind: str, namespace: str | None, selector: str | None, fields: str | None = None
    ) -> list[Object] | None:
        """Return all objects, page by page; None when the cluster has no such resource."""
        path = self.path(kind, namespace=namespace)
        objects: list[Object] = []
        following = None
        while True:
            try:
                page = await self.asked(
                    "get",
                    path,
                    label_selector=selector,
                    field_selector=fields,
                    limit=_PAGE,
                    _continue=following,
                )
            except NotFoundError:
                return None
            objects += page.get("items") or []
            following = page["metadata"].get("continue")
            if not following:
                return objects

    async def asked(self, method: str, path: str, **arguments: Any) -> Object:
        """Make one request; return what the server answers.

        Raises:
            NotFoundError: There is no such object, or no such resource.
            ConflictError: It is not as the request takes for granted.
            ClusterUnavailable: The server refused for another reason, or did not answer.
        """
        seconds = _TIMEOUT_SECONDS if method == "get" else self._check()
        try:
            answer = await self._dynamic.request(
                method,
                path,
                serializer=lambda _, data: data,
                header_params={},
                query_params=[],
                _request_timeout=min(seconds, _TIMEOUT_SECONDS),
                **arguments,
            )
        except (NotFoundError, ConflictError):
            raise
        except DynamicApiError as error:
            raise ClusterUnavailable(
                f"{method.upper()} {path}", status=error.status, explanation=explanation(error)
            ) from None
        except (OSError, TimeoutError, ClientError) as error:
            raise ClusterUnavailable(
                f"{method.upper()} {path}", explanation=f"{type(error).__name__}: {error}"
            ) from None
        return dict(answer)


def explanation(error: DynamicApiError) -> str:
    """Return what a server says of its refusal."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)
