"""The objects and the configuration that JobSet needs, from the files of its module. Pure."""

from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path

from palm_devcluster.documents import WEBHOOKS, Json, called_on_loopback, namespace

NAMESPACE = "jobset-system"
PREFIX = "jobset-"
"""Of the names of its objects, as in its own installation."""


def control_objects(documents: Iterable[Json], *, webhooks: str, ca: str) -> list[Json]:
    """Return what must be there before the controller starts.

    Args:
        documents: JobSet's own: webhooks and rights.
        webhooks: ``https://HOST:PORT`` of the controller.
        ca: The authority of its certificate, PEM in base64.
    """
    changed = [_changed(deepcopy(d), webhooks=webhooks, ca=ca) for d in documents]
    return [namespace(NAMESPACE), *changed]


def configuration(*, webhooks: int, health: int, certificates: Path) -> Json:
    """Return JobSet's configuration file.

    Args:
        webhooks: Port of its webhooks.
        health: Port of its health checks.
        certificates: Folder of ``tls.crt`` and ``tls.key``.
    """
    return {
        "apiVersion": "config.jobset.x-k8s.io/v1alpha1",
        "kind": "Configuration",
        "health": {"healthProbeBindAddress": f"127.0.0.1:{health}"},
        "metrics": {"bindAddress": "0"},
        "webhook": {"host": "127.0.0.1", "port": webhooks, "certDir": str(certificates)},
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": False},
    }


def _changed(document: Json, *, webhooks: str, ca: str) -> Json:
    kind, metadata = document["kind"], document["metadata"]
    metadata["name"] = f"{PREFIX}{metadata['name']}"
    if "namespace" in metadata:
        metadata["namespace"] = NAMESPACE
    if kind in WEBHOOKS:
        document["webhooks"] = [w for w in document["webhooks"] if _is_of_sets(w)]
        for webhook in document["webhooks"]:
            called_on_loopback(webhook, server=webhooks, ca=ca)
    elif kind == "ClusterRoleBinding":
        document["roleRef"]["name"] = f"{PREFIX}{document['roleRef']['name']}"
        for subject in document["subjects"]:
            subject |= {"name": f"{PREFIX}{subject['name']}", "namespace": NAMESPACE}
    return document


def _is_of_sets(webhook: Json) -> bool:
    return {group for rule in webhook["rules"] for group in rule["apiGroups"]} == {
        "jobset.x-k8s.io"
    }
