"""Kubeconfigs of the administrator and of the components that call the API server."""

import base64
import json
from pathlib import Path

from palm_devcluster.paths import ClusterPaths, write_private
from palm_devcluster.pki import Pki


def write_kubeconfigs(paths: ClusterPaths, pki: Pki, server: str) -> None:
    """Write the kubeconfig of the administrator and of every component that calls the API."""
    write_private(paths.kubeconfig, _kubeconfig(pki, "admin", server))
    control = ("kube-controller-manager", "kube-scheduler", "node")
    for component in (*control, "kserve", "kueue", "jobset"):
        write_private(paths.kubeconfig_of(component), _kubeconfig(pki, component, server))


def _kubeconfig(pki: Pki, name: str, server: str) -> bytes:
    def encoded(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode()

    cluster = {"server": server, "certificate-authority-data": encoded(pki.ca)}
    user = {
        "client-certificate-data": encoded(pki.certificate(name)),
        "client-key-data": encoded(pki.key(name)),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "palm-devcluster", "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [
            {"name": "palm-devcluster", "context": {"cluster": "palm-devcluster", "user": name}}
        ],
        "current-context": "palm-devcluster",
    }
    return json.dumps(document, indent=2).encode()
