"""The Node object and its Lease: what they say (pure), and keeping them alive."""

import asyncio
import logging
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from palm_devcluster.node.addresses import ADDRESS
from palm_devcluster.node.api import CONFLICT, FAILURES, NOT_FOUND, STRATEGIC, Api, ApiError
from palm_devcluster.node.conditions import time_text
from palm_devcluster.node.fields import Json

logger = logging.getLogger(__name__)

VERSION = "v1.36.4-palm-process-node"
_LEASE_S, _RENEW_S, _STATUS_S = 40, 10.0, 60.0
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_CONDITIONS = {
    "MemoryPressure": ("False", "KubeletHasSufficientMemory"),
    "DiskPressure": ("False", "KubeletHasNoDiskPressure"),
    "PIDPressure": ("False", "KubeletHasSufficientPID"),
    "Ready": ("True", "KubeletReady"),
}


def machine_resources(root: Path, *, cpu: str, memory: str, pods: int, gpus: int) -> dict[str, str]:
    """Capacity of the node; what is empty comes from the machine."""
    disk = os.statvfs(root)
    return {
        "cpu": cpu or str(os.cpu_count() or 1),
        "memory": memory or str(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")),
        "pods": str(pods),
        "ephemeral-storage": str(disk.f_bavail * disk.f_frsize),
        "nvidia.com/gpu": str(gpus),
    }


def node_object(name: str) -> Json:
    """The Node as it is created."""
    system = {"os": "linux", "arch": _ARCHITECTURES.get(platform.machine(), platform.machine())}
    labels = {f"kubernetes.io/{key}": value for key, value in system.items()}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {**labels, "kubernetes.io/hostname": name, "type": "process-node"},
        },
        "spec": {},
    }


def node_status(before: Json, resources: Mapping[str, str], port: int, now: datetime) -> Json:
    """The Node's status; conditions keep their time while their status stays."""
    known = {condition["type"]: condition for condition in before.get("conditions", [])}
    conditions = []
    for kind, (status, reason) in _CONDITIONS.items():
        old = known.get(kind, {})
        kept = old.get("status") == status
        conditions.append(
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": "the process node runs Pods as local processes",
                "lastHeartbeatTime": time_text(now),
                "lastTransitionTime": old["lastTransitionTime"] if kept else time_text(now),
            }
        )
    return {
        "capacity": dict(resources),
        "allocatable": dict(resources),
        "conditions": conditions,
        "addresses": [
            {"type": "InternalIP", "address": ADDRESS},
            {"type": "Hostname", "address": ADDRESS},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        "nodeInfo": _node_info(),
    }


def _node_info() -> Json:
    return {
        "machineID": "",
        "systemUUID": "",
        "bootID": "",
        "kernelVersion": platform.release(),
        "osImage": platform.system(),
        "containerRuntimeVersion": "process://1",
        "kubeletVersion": VERSION,
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
    }


class Registration:
    """Keeps the Node and its Lease up to date."""

    def __init__(self, api: Api, name: str, resources: Mapping[str, str], port: int) -> None:
        self._api, self._name, self._resources, self._port = api, name, resources, port

    async def register(self) -> None:
        """Create the Node if there is none, and write its status."""
        try:
            await self._api.call("POST", "/api/v1/nodes", node_object(self._name))
        except ApiError as error:
            if error.code != CONFLICT:
                raise
        await self._write_status()

    async def keep(self) -> None:
        """Renew the Lease and the status for ever."""
        status_at = 0.0
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self._renew()
                if loop.time() - status_at >= _STATUS_S:
                    await self._write_status()
                    status_at = loop.time()
            except FAILURES as error:
                logger.warning("node %s: heartbeat failed: %s", self._name, error)
            await asyncio.sleep(_RENEW_S)

    async def _write_status(self) -> None:
        path = f"/api/v1/nodes/{self._name}"
        node = await self._api.call("GET", path)
        now = datetime.now(UTC)
        status = node_status(node.get("status", {}), self._resources, self._port, now)
        await self._api.call("PATCH", f"{path}/status", {"status": status}, content_type=STRATEGIC)

    async def _renew(self) -> None:
        leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        spec = {
            "holderIdentity": self._name,
            "leaseDurationSeconds": _LEASE_S,
            "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        lease = {"metadata": {"name": self._name}, "spec": spec}
        try:
            await self._api.call(
                "PATCH", f"{leases}/{self._name}", {"spec": spec}, content_type=STRATEGIC
            )
        except ApiError as error:
            if error.code != NOT_FOUND:
                raise
            await self._api.call("POST", leases, lease)
