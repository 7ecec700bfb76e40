"""Fixtures of the process node's tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from node.lab import Pods
from palm_devcluster.cluster import EmbeddedCluster


@pytest.fixture
def pods(kubectl: Callable[..., str], namespace: str) -> Pods:
    return Pods(kubectl, namespace)


class NodeAgent:
    """The node agent of the cluster, to be killed and started again."""

    def __init__(self, cluster: EmbeddedCluster) -> None:
        self._cluster = cluster

    @property
    def root(self) -> Path:
        return self._cluster.root / "node"

    @property
    def pid(self) -> int:
        (found,) = [part.pid for part in self._cluster.status() if part.name == "node"]
        assert found is not None
        return found

    def restart(self) -> None:
        self._cluster.up(progress=lambda _: None)


@pytest.fixture
def node_agent(cluster: EmbeddedCluster) -> NodeAgent:
    return NodeAgent(cluster)
