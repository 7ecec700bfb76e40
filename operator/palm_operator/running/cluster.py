"""The cluster behind one small seam: list, create if absent, apply, delete, report."""

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Self

from kubernetes.aio.client import ApiClient
from kubernetes.aio.dynamic.exceptions import ConflictError, NotFoundError

from palm_operator.api.portfolio import GROUP, KIND, VERSION
from palm_operator.names import FIELD_MANAGER, LABEL_JOB_SET_UID, LABEL_PORTFOLIO_UID, LABEL_STEP
from palm_operator.running.access import api_client
from palm_operator.running.api_server import ApiServer, ClusterUnavailable, Object, explanation

Child = Literal["Job", "JobSet", "InferenceService", "LLMInferenceService"]


class Cluster:
    """The API server, as far as the operator needs it."""

    def __init__(self, client: ApiClient) -> None:
        self._server = ApiServer(client)

    @classmethod
    async def connected(cls) -> Self:
        """Return a cluster with the credentials of the environment."""
        return cls(await api_client())

    def fenced(self, check: Callable[[], float]) -> Self:
        """Return the same cluster for one who must ask before each write.

        Args:
            check: Returns how many seconds a write may take; raises where there must be none.
        """
        other = copy.copy(self)
        other._server = self._server.fenced(check)
        return other

    async def close(self) -> None:
        """Close the connections."""
        await self._server.close()

    async def portfolios(self, namespace: str | None) -> list[Object]:
        """Return every Portfolio of a namespace, or of the cluster."""
        return await self._server.listed("Portfolio", namespace, None) or []

    async def portfolio(self, namespace: str, name: str) -> Object | None:
        """Return one Portfolio; None when it is gone."""
        return await self.found("Portfolio", namespace, name)

    async def jobs(self, namespace: str, uid: str) -> list[Object]:
        """Return the Jobs that carry a Portfolio's label, straight from the API server."""
        return await self._server.listed("Job", namespace, f"{LABEL_PORTFOLIO_UID}={uid}") or []

    async def job_sets(self, namespace: str, uid: str) -> list[Object]:
        """Return the JobSets that carry a Portfolio's label; none where there is no such kind."""
        kind, selector = "JobSet", f"{LABEL_PORTFOLIO_UID}={uid}"
        # Entries of a list do not say their kind.
        return [
            {**body, "kind": kind}
            for body in await self._server.listed(kind, namespace, selector) or []
        ]

    async def jobs_of_sets(self, namespace: str, uids: Iterable[str]) -> list[Object]:
        """Return the Jobs that JobSet's controller made for some JobSets."""
        return (
            await self._server.listed(
                "Job", namespace, f"{LABEL_JOB_SET_UID} in ({','.join(uids)})"
            )
            or []
        )

    async def services(self, namespace: str, uid: str) -> list[Object] | None:
        """Return the InferenceServices that carry a Portfolio's label; None without KServe."""
        return await self._server.listed(
            "InferenceService", namespace, f"{LABEL_PORTFOLIO_UID}={uid}"
        )

    async def llm_services(self, namespace: str, uid: str) -> list[Object] | None:
        """Return the LLMInferenceServices that carry it; None where KServe has no such resource."""
        kind, selector = "LLMInferenceService", f"{LABEL_PORTFOLIO_UID}={uid}"
        listed = await self._server.listed(kind, namespace, selector)
        # Entries of a list do not say their kind.
        return None if listed is None else [{**body, "kind": kind} for body in listed]

    async def workloads(self, namespace: str, selector: str | None = None) -> list[Object] | None:
        """Return Kueue's Workloads, all or those with some labels; None without Kueue."""
        return await self._server.listed("Workload", namespace, selector)

    async def server_pods(self, namespace: str, uid: str) -> list[Object]:
        """Return the Pods that KServe made for a Portfolio's servers."""
        selector = f"{LABEL_PORTFOLIO_UID}={uid},!{LABEL_STEP}"
        return await self._server.listed("Pod", namespace, selector) or []

    async def troubled_pods(self, namespace: str, uid: str) -> list[Object]:
        """Return the Pods of a Portfolio's Jobs that neither run nor have succeeded."""
        selector = f"{LABEL_PORTFOLIO_UID}={uid},{LABEL_STEP}"
        fields = "status.phase!=Running,status.phase!=Succeeded"
        return await self._server.listed("Pod", namespace, selector, fields) or []

    async def refused_pods(self, namespace: str) -> list[Object]:
        """Return the Events that say why the Job controller could not make a Pod."""
        fields = "involvedObject.kind=Job,reason=FailedCreate"
        return await self._server.listed("Event", namespace, None, fields) or []

    async def job_pods(self, namespace: str, uid: str) -> list[Object]:
        """Return the Pods of a Portfolio's Jobs, also of Jobs that are gone."""
        selector = f"{LABEL_PORTFOLIO_UID}={uid},{LABEL_STEP}"
        return await self._server.listed("Pod", namespace, selector) or []

    async def set_finalizers(self, body: Mapping[str, Any], finalizers: list[str]) -> bool:
        """Give a Portfolio other finalizers; say False when it changed since it was read."""
        metadata = body["metadata"]
        content = {
            "metadata": {
                "resourceVersion": metadata["resourceVersion"],
                "finalizers": finalizers or None,
            }
        }
        return await self.patch("Portfolio", metadata["namespace"], metadata["name"], content)

    async def found(self, kind: str, namespace: str, name: str) -> Object | None:
        """Return one object; None when there is none."""
        path = self._server.path(kind, name=name, namespace=namespace)
        try:
            return await self._server.asked("get", path)
        except NotFoundError:
            return None

    async def create(self, manifest: Mapping[str, Any]) -> bool:
        """Create an object; say False when one of that name exists."""
        metadata = manifest["metadata"]
        path = self._server.path(manifest["kind"], namespace=metadata["namespace"])
        try:
            await self._server.asked("post", path, body=manifest, field_manager=FIELD_MANAGER)
        except ConflictError:
            return False
        except NotFoundError as error:
            raise ClusterUnavailable(
                f"POST {path}", status=404, explanation=explanation(error)
            ) from None
        return True

    async def replace(self, manifest: Mapping[str, Any]) -> bool:
        """Replace an object; say False when it is not of the manifest's version any more."""
        metadata = manifest["metadata"]
        path = self._server.path(
            manifest["kind"], name=metadata["name"], namespace=metadata["namespace"]
        )
        try:
            await self._server.asked("put", path, body=manifest, field_manager=FIELD_MANAGER)
        except (NotFoundError, ConflictError):
            return False
        return True

    async def apply(self, manifest: Mapping[str, Any]) -> None:
        """Apply our fields on the server's side; other fields stay as others want them."""
        metadata = manifest["metadata"]
        path = self._server.path(
            manifest["kind"], name=metadata["name"], namespace=metadata["namespace"]
        )
        try:
            await self._server.asked(
                "patch",
                path,
                body=manifest,
                content_type="application/apply-patch+yaml",
                field_manager=FIELD_MANAGER,
                force_conflicts="true",
            )
        except (NotFoundError, ConflictError) as error:
            raise ClusterUnavailable(
                f"PATCH {path}", status=error.status, explanation=explanation(error)
            ) from None

    async def patch(self, kind: str, namespace: str, name: str, content: Mapping[str, Any]) -> bool:
        """Merge a change into an object; say False when it is gone, or not as ``content`` has it.

        ``metadata.uid`` and ``metadata.resourceVersion`` of the content say which one is meant.
        """
        path = self._server.path(kind, name=name, namespace=namespace)
        try:
            await self._server.asked(
                "patch",
                path,
                body=content,
                content_type="application/merge-patch+json",
                field_manager=FIELD_MANAGER,
            )
        except (NotFoundError, ConflictError):
            return False
        return True

    async def delete(
        self,
        kind: Child,
        namespace: str,
        name: str,
        uid: str,
        *,
        propagation: Literal["Background", "Foreground"] = "Background",
    ) -> None:
        """Delete exactly this object, its dependents after it; gone already is fine.

        With ``Foreground`` it is there until its dependents are gone.
        """
        options = {"propagationPolicy": propagation, "preconditions": {"uid": uid}}
        path = self._server.path(kind, name=name, namespace=namespace)
        try:
            await self._server.asked("delete", path, body=options)
        except (NotFoundError, ConflictError):
            return

    async def report(self, body: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
        """Write a Portfolio's status; say False when the Portfolio changed since it was read."""
        metadata = body["metadata"]
        path = self._server.path(
            "Portfolio", name=metadata["name"], namespace=metadata["namespace"]
        )
        patch = {
            "metadata": {"resourceVersion": metadata["resourceVersion"]},
            "status": {key: status.get(key) for key in {*status, *(body.get("status") or {})}},
        }
        try:
            await self._server.asked(
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
    ) -> str:
        """Emit a core/v1 Event about a Portfolio; return its name."""
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
        path = self._server.path("Event", namespace=metadata["namespace"])
        made = await self._server.asked("post", path, body=event, field_manager=FIELD_MANAGER)
        return str(made["metadata"]["name"])

    async def tell_again(self, namespace: str, name: str, *, count: int, time: str) -> bool:
        """Count an Event once more; say False where it is gone."""
        return await self.patch("Event", namespace, name, {"count": count, "lastTimestamp": time})
