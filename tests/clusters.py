"""What tests do with whichever cluster they have."""

from collections.abc import Callable

from palm_devcluster.addons import run_kubectl
from palm_devcluster.cluster import EmbeddedCluster


def kubectl_of(cluster: EmbeddedCluster) -> Callable[..., str]:
    """``kubectl(*arguments, stdin=None)``: what it printed; raises with what it complained of."""

    def run(*arguments: str, stdin: str | None = None) -> str:
        return run_kubectl(cluster.kubectl, cluster.kubeconfig, *arguments, stdin=stdin)

    return run
