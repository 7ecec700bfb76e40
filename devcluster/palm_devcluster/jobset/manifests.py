"""The objects and the configuration that JobSet needs, from the files of its module. Pure."""

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

NAMESPACE = "jobset-system"
_GROUP = "jobset.x-k8s.io"
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
    return manager_configuration(
        "config.jobset.x-k8s.io/v1alpha1",
        webhooks=webhooks,
        health=health,
        certificates=certificates,
    )


def _changed(document: Json, *, webhooks: str, ca: str) -> Json:
    installed(document, prefix=PREFIX, space=NAMESPACE)
    if document["kind"] in WEBHOOKS:
        document["webhooks"] = [w for w in document["webhooks"] if api_groups(w) == {_GROUP}]
        for webhook in document["webhooks"]:
            called_on_loopback(webhook, server=webhooks, ca=ca)
    return document
