"""The objects that KServe needs, from the files of its module. Pure."""

import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

NAMESPACE = "kserve"
ACCOUNT = "kserve-controller-manager"
STORAGE_INITIALIZER = "kserve/storage-initializer:v0.20.0"

Json = dict[str, Any]

_WEBHOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_RUNTIME = Path(__file__).with_name("runtime.yaml")
_SECURITY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_CONFIGURATION: Mapping[str, Json] = {
    "deploy": {"defaultDeploymentMode": "Standard"},
    "storageInitializer": {"image": STORAGE_INITIALIZER},
    "ingress": {
        "disableIngressCreation": True,
        "disableIstioVirtualHost": True,
        # What `kubectl get isvc` shows: the Service's own name.
        "ingressDomain": "svc.cluster.local",
        "domainTemplate": "{{ .Name }}-predictor.{{ .Namespace }}.{{ .IngressDomain }}",
    },
}


def read_documents(folder: Path) -> list[Json]:
    """Return every document of every YAML file in a folder."""
    files = sorted(folder.glob("*.yaml"))
    found = [d for file in files for d in yaml.safe_load_all(file.read_text(encoding="utf-8"))]
    return [document for document in found if document]


def namespace() -> Json:
    """Return KServe's namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}


def control_objects(documents: Iterable[Json], *, webhooks: str, ca: str) -> list[Json]:
    """Return what must be there before the controller starts.

    Args:
        documents: KServe's own: ConfigMap, webhooks, rights, storage container.
        webhooks: ``https://HOST:PORT`` of the controller.
        ca: The authority of its certificate, PEM in base64.
    """
    wanted = [deepcopy(document) for document in documents if document["kind"] != "Secret"]
    return [namespace(), *(_changed(d, webhooks=webhooks, ca=ca) for d in wanted)]


def webhook_names(documents: Iterable[Json]) -> list[str]:
    """Return ``kind/name`` of every webhook configuration."""
    return [f"{d['kind']}/{d['metadata']['name']}" for d in documents if d["kind"] in _WEBHOOKS]


def serving_runtimes() -> list[Json]:
    """Return the runtimes that serve language models; KServe's webhook checks them."""
    return list(yaml.safe_load_all(_RUNTIME.read_text(encoding="utf-8")))


def _changed(document: Json, *, webhooks: str, ca: str) -> Json:
    kind, metadata = document["kind"], document["metadata"]
    metadata.pop("creationTimestamp", None)
    if kind in _WEBHOOKS:
        for webhook in document["webhooks"]:
            path = webhook["clientConfig"]["service"]["path"]
            webhook["clientConfig"] = {"url": f"{webhooks}{path}", "caBundle": ca}
    elif kind == "ConfigMap":
        document["data"] = _configured(document["data"])
    elif kind == "ServiceAccount":
        metadata["namespace"] = NAMESPACE
    elif kind == "ClusterRoleBinding":
        for subject in document["subjects"]:
            subject["namespace"] = NAMESPACE
    elif kind == "ClusterStorageContainer":
        container = document["spec"]["container"]
        container |= {"image": STORAGE_INITIALIZER, "securityContext": _SECURITY}
    return document


def _configured(data: Mapping[str, str]) -> dict[str, str]:
    settings = {key: text for key, text in data.items() if not key.startswith("_")}
    for key, changes in _CONFIGURATION.items():
        settings[key] = json.dumps({**json.loads(settings[key]), **changes})
    return settings
