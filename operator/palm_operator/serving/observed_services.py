"""What serves policies, reduced to what decisions need. Pure: API objects in, values out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from palm_operator import names
from palm_operator.objects import is_owned
from palm_operator.serving.standing import Standing

ServiceKind = Literal["InferenceService", "LLMInferenceService"]
_UNKNOWN = Standing("Starting", "NotSeen", "nothing is known of it")


@dataclass(frozen=True)
class Service:
    """What serves one policy of a Portfolio, or several as adapters."""

    name: str
    uid: str
    policies: tuple[str, ...]
    body: Mapping[str, Any] = field(default_factory=dict)
    standing: Standing = field(default=_UNKNOWN)
    url: str | None = None
    owned: bool = True
    deleting: bool = False
    kind: ServiceKind = "InferenceService"


def service(
    body: Mapping[str, Any], *, portfolio_uid: str, url: str | None, standing: Standing
) -> Service:
    """Return what matters of an InferenceService or LLMInferenceService.

    Args:
        body: The object.
        portfolio_uid: Of whom it should be.
        url: Where it is reached.
        standing: How it stands.
    """
    metadata = body["metadata"]
    return Service(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        policies=names.served_policies(metadata),
        body=body,
        standing=standing,
        url=url,
        owned=is_owned(body, portfolio_uid),
        deleting="deletionTimestamp" in metadata,
        kind="LLMInferenceService" if is_llm(body) else "InferenceService",
    )


def is_llm(body: Mapping[str, Any]) -> bool:
    """Say whether an object is an LLMInferenceService."""
    return body.get("kind") == "LLMInferenceService"


def service_url(body: Mapping[str, Any], template: str) -> str | None:
    """Return where a server is reached: by the template, else by KServe's address.

    An LLMInferenceService without a router is reached at the Service that KServe v0.20 makes for
    its workload (``pkg/controller/v1alpha2/llmisvc/workload.go``, ``reconcileWorkloadService``).

    Args:
        body: The object.
        template: ``http://…/{namespace}/{name}``; empty for the address inside the cluster.
    """
    name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
    if template:
        return template.format(name=name, namespace=namespace).rstrip("/")
    if is_llm(body):
        return f"http://{name}-kserve-workload-svc.{namespace}.svc.cluster.local:8000"
    address = ((body.get("status") or {}).get("address") or {}).get("url")
    host = urlsplit(str(address or "")).hostname or ""
    # Whoever may write the object's status could name any address, and the operator calls it.
    services = (f"{name}-predictor.{namespace}.svc", f"{name}.{namespace}.svc")
    is_its_own = any(host == s or host.startswith(f"{s}.") for s in services)
    return str(address).rstrip("/") if is_its_own else None
