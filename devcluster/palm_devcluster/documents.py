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
