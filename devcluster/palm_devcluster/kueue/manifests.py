"""The objects and the configuration that Kueue needs, from the files of its module. Pure."""

from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path

from palm_devcluster.documents import (
    WEBHOOKS,
    Json,
    api_groups,
    called_on_loopback,
    installed,
    manager_configuration,
    namespace,
)

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
    common = manager_configuration(
        "config.kueue.x-k8s.io/v1beta2",
        webhooks=webhooks,
        health=health,
        certificates=certificates,
    )
    return common | {
        "namespace": NAMESPACE,
        "integrations": {"frameworks": ["batch/job", "jobset.x-k8s.io/jobset"]},
        # It would listen on every interface with a certificate below /.
        "featureGates": {"VisibilityOnDemand": False},
    }


def _changed(document: Json, *, webhooks: str, ca: str) -> Json:
    installed(document, prefix=PREFIX, space=NAMESPACE)
    if document["kind"] in WEBHOOKS:
        document["webhooks"] = [w for w in document["webhooks"] if _is_called(w)]
        for webhook in document["webhooks"]:
            called_on_loopback(webhook, server=webhooks, ca=ca)
            if webhook["name"] in _OF_JOBS:
                webhook["namespaceSelector"] = {"matchExpressions": [_ELSEWHERE]}
    return document


def _is_called(webhook: Json) -> bool:
    """Whether it checks Jobs, JobSets or Kueue's own kinds; other integrations are off."""
    return webhook["name"] in _OF_JOBS or api_groups(webhook) == {"kueue.x-k8s.io"}
