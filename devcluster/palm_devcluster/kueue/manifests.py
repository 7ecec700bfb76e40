"""The objects and the configuration that Kueue needs, from the files of its module. Pure."""

from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path

from palm_devcluster.documents import WEBHOOKS, Json, called_on_loopback, namespace

NAMESPACE = "kueue-system"
PREFIX = "kueue-"
"""Of the names of its objects, as in its own installation."""

_OF_JOBS = ("mjob.kb.io", "vjob.kb.io", "mjobset.kb.io", "vjobset.kb.io")
_ELSEWHERE = {"key": "kubernetes.io/metadata.name", "operator": "NotIn",
              "values": ["kube-system", NAMESPACE]}  # fmt: skip


def control_objects(documents: Iterable[Json], *, webhooks: str, ca: str) -> list[Json]:
    """Return what must be there before the controller starts.

    Args:
        documents: Kueue's own: webhooks and rights.
        webhooks: ``https://HOST:PORT`` of the controller.
        ca: The authority of its certificate, PEM in base64.
    """
    changed = [_changed(deepcopy(d), webhooks=webhooks, ca=ca) for d in documents]
    return [namespace(NAMESPACE), *changed]


def configuration(*, webhooks: int, health: int, certificates: Path) -> Json:
    """Return Kueue's configuration file.

    Args:
        webhooks: Port of its webhooks.
        health: Port of its health checks.
        certificates: Folder of ``tls.crt`` and ``tls.key``.
    """
    return {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "namespace": NAMESPACE,
        "health": {"healthProbeBindAddress": f"127.0.0.1:{health}"},
        "metrics": {"bindAddress": "0"},
        "webhook": {"host": "127.0.0.1", "port": webhooks, "certDir": str(certificates)},
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": False},
        "integrations": {"frameworks": ["batch/job", "jobset.x-k8s.io/jobset"]},
        # It would listen on every interface with a certificate below /.
        "featureGates": {"VisibilityOnDemand": False},
    }


def _changed(document: Json, *, webhooks: str, ca: str) -> Json:
    kind, metadata = document["kind"], document["metadata"]
    metadata["name"] = f"{PREFIX}{metadata['name']}"
    if "namespace" in metadata:
        metadata["namespace"] = NAMESPACE
    if kind in WEBHOOKS:
        document["webhooks"] = [w for w in document["webhooks"] if _is_called(w)]
        for webhook in document["webhooks"]:
            called_on_loopback(webhook, server=webhooks, ca=ca)
            if webhook["name"] in _OF_JOBS:
                webhook["namespaceSelector"] = {"matchExpressions": [_ELSEWHERE]}
    elif kind in ("ClusterRoleBinding", "RoleBinding"):
        document["roleRef"]["name"] = f"{PREFIX}{document['roleRef']['name']}"
        for subject in document["subjects"]:
            subject |= {"name": f"{PREFIX}{subject['name']}", "namespace": NAMESPACE}
    return document


def _is_called(webhook: Json) -> bool:
    """Whether it checks Jobs, JobSets or Kueue's own kinds; other integrations are off."""
    groups = {group for rule in webhook["rules"] for group in rule["apiGroups"]}
    return webhook["name"] in _OF_JOBS or groups == {"kueue.x-k8s.io"}
