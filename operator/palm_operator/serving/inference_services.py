"""The InferenceServices that serve a portfolio, as plain dictionaries that KServe's CRD accepts.

KServe copies an InferenceService's labels and annotations to its Pods, so whatever changes in them
makes new Pods: the label ``content`` changes with what the Pods are made of, and nothing else does
that changes more often.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from palm import artifacts
from palm.contract import digest_of
from palm_operator import names, pods
from palm_operator.api.portfolio import Portfolio
from palm_operator.calls.requests import Policy, storage_location
from palm_operator.calls.work import Work
from palm_operator.jobs.manifests import audit, owner_reference
from palm_operator.serving.observed_services import ServiceKind

# vLLM refuses other values of --max-lora-rank.
_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
BASE_FOLDER = "/mnt/models/base"
_ADAPTER_FOLDER = "/mnt/models/adapter"
_CONTENT_DIGITS = 12
# Without it KServe's Hugging Face runtime answers below /openai; other runtimes know no such
# variable. It is the empty text: KServe's webhook drops `value: ""`, which would look like drift.
_ROUTE_PREFIX = {"name": "KSERVE_OPENAI_ROUTE_PREFIX"}
_STRATEGIES: Mapping[str, dict[str, Any]] = {
    "RollingUpdate": {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    },
    "Recreate": {"type": "Recreate"},
}


BASE_NAME = "base"
"""What requests call the model without an adapter."""


@dataclass(frozen=True)
class Source:
    """What a server loads.

    Attributes:
        model: Fields of the predictor's model: where it lies, what the command line says.
        uris: What KServe downloads for it, where it is more than one thing.
    """

    model: Mapping[str, Any]
    uris: Sequence[Mapping[str, str]] = ()


def inference_service(portfolio: Portfolio, work: Work, policy: Policy) -> dict[str, Any]:
    """Return the InferenceService that serves one policy."""
    metadata = portfolio.metadata
    is_lora = portfolio.spec.training.adapter.type == "LoRA"
    source = _lora_source(portfolio, policy) if is_lora else _full_source(portfolio, policy)
    return published(
        portfolio,
        work,
        api_version="serving.kserve.io/v1beta1",
        kind="InferenceService",
        name=names.inference_service_name(metadata.name, metadata.namespace, policy.name),
        spec={"predictor": predictor(portfolio, source)},
        audit=audit(policy),
        labels={names.LABEL_POLICY: policy.name},
    )


def published(
    portfolio: Portfolio,
    work: Work,
    *,
    api_version: str,
    kind: ServiceKind,
    name: str,
    spec: dict[str, Any],
    audit: Mapping[str, str],
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return an object of KServe's as the Portfolio publishes it.

    Args:
        portfolio: Its owner.
        work: The revision that it is of.
        api_version: Of the object.
        kind: Of the object.
        name: Of the object.
        spec: Of the object.
        audit: Annotations that an auditor reads.
        labels: Besides those of every object of the Portfolio.
    """
    metadata, serving = portfolio.metadata, portfolio.spec.serving
    template, credentials = serving.template, portfolio.spec.storage.s3.credentials_secret
    is_llm = kind == "LLMInferenceService"
    ours = {
        # Written out: the cluster's default may be another, and a later change is refused.
        "serving.kserve.io/deploymentMode": serving.deployment_mode,
        **({"serving.kserve.io/storageSecretName": credentials.name} if credentials else {}),
    }
    annotations = {
        # Replicas are the user's to choose; KServe's own autoscaler looks at CPU.
        **({} if is_llm else {"serving.kserve.io/autoscalerClass": "none"}),
        **(template.annotations or {}),
        **audit,
        **({} if is_llm else ours),
    }
    every = {
        **(template.labels or {}),
        **names.owned_labels(metadata.name, metadata.uid),
        **(labels or {}),
    }
    lasting = {k: v for k, v in annotations.items() if k != names.ANNOTATION_EVALUATION_DIGEST}
    content = digest_of({**spec, "annotations": lasting, "labels": every})
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": metadata.namespace,
            "labels": {
                **every,
                names.LABEL_CONTENT: content[:_CONTENT_DIGITS],
                names.LABEL_REVISION: work.revision,
            },
            "annotations": annotations,
            "ownerReferences": [owner_reference(portfolio)],
        },
        "spec": spec,
    }


def as_it_runs(manifest: dict[str, Any], live: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a manifest that keeps the Pods of a service which serves just this already.

    A new revision that changes nothing about a policy must not restart its server: revision and
    evaluation stay those that put it into service.
    """
    metadata = (live or {}).get("metadata") or {}
    kept = deepcopy(manifest)
    wanted = kept["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    if labels.get(names.LABEL_CONTENT) == wanted["labels"][names.LABEL_CONTENT]:
        for key, live_ones, ours in (
            (names.LABEL_REVISION, labels, wanted["labels"]),
            (names.ANNOTATION_EVALUATION_DIGEST, annotations, wanted["annotations"]),
        ):
            ours[key] = live_ones.get(key, ours[key])
        if names.LABEL_REVISION in (kept["spec"].get("labels") or {}):  # an LLMInferenceService's
            kept["spec"]["labels"][names.LABEL_REVISION] = wanted["labels"][names.LABEL_REVISION]
    return kept


def predictor(portfolio: Portfolio, source: Source) -> dict[str, Any]:
    """Return the predictor of an InferenceService."""
    serving, template = portfolio.spec.serving, portfolio.spec.serving.template
    is_standard = serving.deployment_mode == "Standard"
    secrets = [{"secretRef": {"name": name}} for name in template.env_from_secrets or []]
    ours = [str(_ROUTE_PREFIX["name"])]
    model: dict[str, Any] = {
        "modelFormat": {"name": "huggingface"},
        **({"runtime": serving.runtime} if serving.runtime else {}),
        **({"image": template.image} if template.image else {}),
        **source.model,
        "resources": pods.resources(template),
        "env": [*pods.plain_environment(template, without=ours), _ROUTE_PREFIX],
        **({"envFrom": secrets} if secrets else {}),
        # As far as an image that runs as root allows it; runtimes add what theirs allow.
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    return {
        "minReplicas": serving.min_replicas,
        **({"deploymentStrategy": _STRATEGIES[serving.strategy]} if is_standard else {}),
        **pods.scheduling(template),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        **({"storageUris": list(source.uris)} if source.uris else {}),
        "model": model,
    }


def _full_source(portfolio: Portfolio, policy: Policy) -> Source:
    return Source(
        {"storageUri": model_uri(portfolio, policy), "args": [f"--model_name={policy.name}"]}
    )


def _lora_source(portfolio: Portfolio, policy: Policy) -> Source:
    """The base model and one adapter: requests name the policy, or ``base``."""
    arguments = [
        f"--model_name={BASE_NAME}",
        f"--model_dir={BASE_FOLDER}",
        "--enable-lora",
        f"--lora-modules={policy.name}={_ADAPTER_FOLDER}",
        f"--max-lora-rank={lora_rank(portfolio)}",
    ]
    uris = [
        {"uri": kserve_uri(portfolio.spec.base_model.uri), "mountPath": BASE_FOLDER},
        {"uri": model_uri(portfolio, policy), "mountPath": _ADAPTER_FOLDER},
    ]
    return Source({"args": arguments}, uris)


def lora_rank(portfolio: Portfolio) -> int:
    """Return the smallest rank that vLLM takes and that the adapters fit."""
    trained = portfolio.spec.training.adapter.rank
    return next(rank for rank in _LORA_RANKS if rank >= trained)


def model_uri(portfolio: Portfolio, policy: Policy) -> str:
    """Return where a policy's model or adapter lies."""
    return artifacts.uri(storage_location(portfolio.spec), artifacts.model_folder(policy.digest))


def kserve_uri(uri: str) -> str:
    """Return a URI as KServe reads it: ``hf://org/name:revision``; S3 folders end in a slash.

    Without the slash KServe takes every key that begins so, those of ``model-2`` for ``model`` too.
    """
    if uri.startswith("hf://"):
        return uri.replace("@", ":")
    return f"{uri.rstrip('/')}/"
