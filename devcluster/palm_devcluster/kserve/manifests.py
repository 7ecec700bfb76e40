"""The objects that KServe needs, from the files of its module. Pure."""

import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path

import yaml

from palm_devcluster.documents import WEBHOOKS, Json, called_on_loopback, namespace

NAMESPACE = "kserve"
ACCOUNT = "kserve-controller-manager"
STORAGE_INITIALIZER = "kserve/storage-initializer:v0.20.0"

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


def control_objects(documents: Iterable[Json], *, webhooks: str, ca: str) -> list[Json]:
    """Return what must be there before the controller starts.

    Args:
        documents: KServe's own: ConfigMap, webhooks, rights, storage container.
        webhooks: ``https://HOST:PORT`` of the controller.
        ca: The authority of its certificate, PEM in base64.
    """
    wanted = [deepcopy(document) for document in documents if document["kind"] != "Secret"]
    return [namespace(NAMESPACE), *(_changed(d, webhooks=webhooks, ca=ca) for d in wanted)]


def serving_runtimes() -> list[Json]:
    """Return the runtimes that serve language models; KServe's webhook checks them."""
    return list(yaml.safe_load_all(_RUNTIME.read_text(encoding="utf-8")))


def _changed(document: Json, *, webhooks: str, ca: str) -> Json:
    kind, metadata = document["kind"], document["metadata"]
    metadata.pop("creationTimestamp", None)
    if kind in WEBHOOKS:
        for webhook in document["webhooks"]:
            called_on_loopback(webhook, server=webhooks, ca=ca)
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
