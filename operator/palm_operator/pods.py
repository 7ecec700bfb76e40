"""The Pods of Jobs: the user's template applied, the restricted security context always ours."""

from typing import Any

from palm.contract import (
    IMAGE_VARIABLE,
    REQUEST_VARIABLE,
    EvaluationRequest,
    TrainingRequest,
    canonical_json,
)
from palm_operator.api.pods import PodTemplate

_DEFAULT_REQUESTS = {"cpu": "1", "memory": "2Gi"}
_THREADS_VARIABLE = "OMP_NUM_THREADS"
_FOLDERS = {"tmp": ("/tmp", {}), "shm": ("/dev/shm", {"medium": "Memory"})}


def container(
    name: str,
    request: TrainingRequest | EvaluationRequest,
    *,
    image: str,
    template: PodTemplate,
    credentials_secret: str | None,
) -> dict[str, Any]:
    """Return the one container of a training or evaluation Pod; the image's entrypoint runs."""
    wanted = resources(template)
    ours = [
        {"name": REQUEST_VARIABLE, "value": _literal(request)},
        {"name": IMAGE_VARIABLE, "value": template.image or image},
        _threads(wanted, name),
        {"name": "HOME", "value": "/tmp"},
    ]
    secrets = [*(template.env_from_secrets or [])]
    if credentials_secret:
        secrets.append(credentials_secret)
    return {
        "name": name,
        "image": template.image or image,
        "env": [*plain_environment(template, without=[str(v["name"]) for v in ours]), *ours],
        **({"envFrom": [{"secretRef": {"name": secret}} for secret in secrets]} if secrets else {}),
        "resources": wanted,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": n, "mountPath": path} for n, (path, _) in _FOLDERS.items()],
    }


def pod(
    template: PodTemplate, container: dict[str, Any], *, grace_seconds: int | None = None
) -> dict[str, Any]:
    """Return the Pod spec around a container; Kubernetes' restricted profile accepts it."""
    grace = {} if grace_seconds is None else {"terminationGracePeriodSeconds": grace_seconds}
    return {
        **grace,
        **scheduling(template),
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": n, "emptyDir": source} for n, (_, source) in _FOLDERS.items()],
    }


def scheduling(template: PodTemplate) -> dict[str, Any]:
    """Return the fields of a Pod spec that say where, as whom and how urgently it runs."""
    fields = {
        "nodeSelector": template.node_selector,
        "tolerations": [
            toleration.model_dump(by_alias=True, exclude_none=True)
            for toleration in template.tolerations or []
        ],
        "serviceAccountName": template.service_account_name,
        "priorityClassName": template.priority_class_name,
        "runtimeClassName": template.runtime_class_name,
        "imagePullSecrets": [{"name": name} for name in template.image_pull_secrets or []],
    }
    return {name: value for name, value in fields.items() if value}


def resources(template: PodTemplate) -> dict[str, Any]:
    """Return a container's resources: Kueue and the scheduler count what is requested."""
    given = template.resources
    limits = dict(given.limits or {}) if given else {}
    requests = dict(given.requests or {}) if given else {}
    # A limit without a request is a request of the same size; a default could exceed it.
    defaults = {k: v for k, v in _DEFAULT_REQUESTS.items() if k not in limits}
    wanted = {**defaults, **requests}
    return {
        **({"limits": limits} if limits else {}),
        **({"requests": wanted} if wanted else {}),
    }


def plain_environment(template: PodTemplate, *, without: list[str]) -> list[dict[str, Any]]:
    """Return the template's variables, less those that are ours to set."""
    return [
        {"name": variable.name, "value": variable.value}
        for variable in template.env or []
        if variable.name not in without
    ]


def _threads(wanted: dict[str, Any], container: str) -> dict[str, Any]:
    """Without it, numerical libraries start a thread per core of the node, not of the Pod."""
    if "cpu" not in wanted.get("limits", {}):
        return {"name": _THREADS_VARIABLE, "value": "1"}
    source = {"containerName": container, "resource": "limits.cpu", "divisor": "1"}
    return {"name": _THREADS_VARIABLE, "valueFrom": {"resourceFieldRef": source}}


def _literal(request: TrainingRequest | EvaluationRequest) -> str:
    """Return a request as a variable's value; ``$(`` would be expanded by the kubelet."""
    text = canonical_json(request.model_dump(mode="json", by_alias=True))
    return text.replace("$(", "$$(")
