"""The Lease object that operators contend for, in the cluster."""

from collections.abc import Mapping
from typing import Any

from palm_operator.running.api_server import ClusterUnavailable, Object
from palm_operator.running.cluster import Cluster
from palm_operator.running.election import Unreachable


class ClusterLease:
    """A coordination.k8s.io Lease."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self._cluster = cluster
        self._metadata = {"namespace": namespace, "name": name}

    async def read(self) -> Object | None:
        """Return the object; None where there is none."""
        try:
            return await self._cluster.found("Lease", **self._metadata)
        except ClusterUnavailable as error:
            raise Unreachable(str(error)) from None

    async def create(self, spec: Mapping[str, Any]) -> bool:
        """Create it; say False where it exists."""
        try:
            return await self._cluster.create(self._manifest(self._metadata, spec))
        except ClusterUnavailable as error:
            raise Unreachable(str(error)) from None

    async def replace(self, body: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
        """Give it another spec; say False where it is not as in ``body`` any more."""
        try:
            return await self._cluster.replace(self._manifest(body["metadata"], spec))
        except ClusterUnavailable as error:
            raise Unreachable(str(error)) from None

    def _manifest(self, metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> Object:
        kind = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
        return {**kind, "metadata": dict(metadata), "spec": dict(spec)}
