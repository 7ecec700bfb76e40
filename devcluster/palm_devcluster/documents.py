"""Manifests that a module ships, changed so that its webhooks are called on loopback. Pure."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]

WEBHOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


def read_documents(folder: Path) -> list[Json]:
    """Return every document of every YAML file in a folder."""
    files = sorted(folder.glob("*.yaml"))
    found = [d for file in files for d in yaml.safe_load_all(file.read_text(encoding="utf-8"))]
    return [document for document in found if document]


def namespace(name: str) -> Json:
    """Return a namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def installed(document: Json, *, prefix: str, space: str) -> None:
    """Give an object its installed name and namespace, as the module's kustomization would.

    Args:
        document: Changed in place.
        prefix: Of all names.
        space: Where what is namespaced goes.
    """
    metadata = document["metadata"]
    metadata["name"] = f"{prefix}{metadata['name']}"
    if "namespace" in metadata:
        metadata["namespace"] = space
    if document["kind"] in ("ClusterRoleBinding", "RoleBinding"):
        document["roleRef"]["name"] = f"{prefix}{document['roleRef']['name']}"
        for subject in document["subjects"]:
            subject |= {"name": f"{prefix}{subject['name']}", "namespace": space}


def api_groups(webhook: Json) -> set[str]:
    """Return the groups of what a webhook checks."""
    return {group for rule in webhook["rules"] for group in rule["apiGroups"]}


def manager_configuration(
    api_version: str, *, webhooks: int, health: int, certificates: Path
) -> Json:
    """Return a configuration file for a manager that is alone, on loopback and without metrics.

    Args:
        api_version: Of the file.
        webhooks: Port of its webhooks.
        health: Port of its health checks.
        certificates: Folder of ``tls.crt`` and ``tls.key``.
    """
    return {
        "apiVersion": api_version,
        "kind": "Configuration",
        "health": {"healthProbeBindAddress": f"127.0.0.1:{health}"},
        "metrics": {"bindAddress": "0"},
        "webhook": {"host": "127.0.0.1", "port": webhooks, "certDir": str(certificates)},
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": False},
    }


def called_on_loopback(webhook: Json, *, server: str, ca: str) -> None:
    """Let a webhook be called at ``server`` instead of at a Service.

    Args:
        webhook: Of a configuration; changed in place.
        server: ``https://HOST:PORT``.
        ca: The authority of its certificate, PEM in base64.
    """
    path = webhook["clientConfig"]["service"]["path"]
    webhook["clientConfig"] = {"url": f"{server}{path}", "caBundle": ca}


def webhook_names(documents: Iterable[Json], prefix: str = "") -> list[str]:
    """Return ``kind/name`` of every webhook configuration."""
    return [
        f"{d['kind']}/{prefix}{d['metadata']['name']}" for d in documents if d["kind"] in WEBHOOKS
    ]
