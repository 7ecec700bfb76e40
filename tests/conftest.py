"""The embedded cluster for every test that needs one: started once, gone at the end."""

import os

# Threads of OpenBLAS wait for each other by spinning: on a busy machine, matrices as small as ours
# take fifty times as long with them. Before NumPy is imported; operators inherit it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import uuid
from collections.abc import Callable, Iterator

import pytest

from clusters import kubectl_of
from palm_devcluster.cluster import EmbeddedCluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCluster]:
    """A healthy cluster of this test session's own."""
    made = EmbeddedCluster(tmp_path_factory.mktemp("devcluster") / "cluster")
    try:
        made.up()
        yield made
    finally:
        made.down(purge=True)


@pytest.fixture(scope="session")
def kubectl(cluster: EmbeddedCluster) -> Callable[..., str]:
    """``kubectl(*arguments, stdin=None)``: what it printed; raises with what it complained of."""
    return kubectl_of(cluster)


@pytest.fixture
def namespace(kubectl: Callable[..., str]) -> Iterator[str]:
    """A namespace of this test's own, with its ServiceAccount."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    # Pods are refused until the controller manager has made it.
    kubectl("wait", "--for=create", "--timeout=30s", "-n", name, "serviceaccount/default")
    yield name
    kubectl("delete", "namespace", name, "--wait=false")
