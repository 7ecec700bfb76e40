"""One server for all survivors: the base model once, and a LoRA adapter per policy.

Where the cluster has KServe's LLMInferenceService, it is one of those, else an InferenceService
with vLLM's ``--lora-modules``. Both download base and adapters by KServe v0.20's own storage
initializer: an InferenceService by ``predictor.storageUris``, whose pairs of URI and mount path one
init container takes (``pkg/webhook/admission/pod/storage_initializer_injector.go``); an
LLMInferenceService by ``model.lora.adapters``
(``docs/samples/llmisvc/lora-adapters/README.md``), with the credentials of its ServiceAccount.

vLLM reads adapters as it starts, so another set is another server: its name has the set's digest,
and the old one goes when the new one answers for every policy.
"""

import json
from collections.abc import Sequence
from typing import Any

from palm.contract import digest_of
from palm_operator import names, pods
from palm_operator.api.portfolio import Portfolio
from palm_operator.calls.requests import Policy
from palm_operator.calls.work import Work
from palm_operator.jobs.manifests import shown_weights
from palm_operator.serving.inference_services import (
    BASE_FOLDER,
    BASE_NAME,
    Source,
    kserve_uri,
    lora_rank,
    model_uri,
    predictor,
    published,
)
from palm_operator.serving.observed_services import ServiceKind


def shared_name(portfolio: Portfolio, policies: Sequence[Policy], kind: ServiceKind) -> str:
    """Return the name of the server of a set: it changes with base model, adapters and kind.

    Raises:
        InvalidPortfolio: The namespace's name leaves no room.
    """
    metadata = portfolio.metadata
    content = digest_of(
        {
            "kind": kind,
            "base": portfolio.spec.base_model.uri,
            "policies": {policy.name: policy.digest for policy in policies},
        }
    )
    return names.shared_service_name(metadata.name, metadata.namespace, content)


def shared_server(
    portfolio: Portfolio, work: Work, policies: Sequence[Policy], kind: ServiceKind
) -> dict[str, Any]:
    """Return the object that serves these policies together."""
    in_order = sorted(policies, key=lambda policy: policy.name)
    make = _llm_service if kind == "LLMInferenceService" else _inference_service
    return make(portfolio, work, in_order)


def _inference_service(
    portfolio: Portfolio, work: Work, policies: Sequence[Policy]
) -> dict[str, Any]:
    folders = {policy.name: f"/mnt/models/{policy.name}" for policy in policies}
    uris = [{"uri": kserve_uri(portfolio.spec.base_model.uri), "mountPath": BASE_FOLDER}]
    uris += [{"uri": model_uri(portfolio, p), "mountPath": folders[p.name]} for p in policies]
    # One word after the flag per adapter, as vLLM's parser takes them.
    modules = [f"{name}={folder}" for name, folder in folders.items()]
    arguments = [
        f"--model_name={BASE_NAME}",
        f"--model_dir={BASE_FOLDER}",
        "--enable-lora",
        f"--max-loras={len(policies)}",
        f"--max-lora-rank={lora_rank(portfolio)}",
        "--lora-modules",
        *modules,
    ]
    return published(
        portfolio,
        work,
        api_version="serving.kserve.io/v1beta1",
        kind="InferenceService",
        name=shared_name(portfolio, policies, "InferenceService"),
        spec={"predictor": predictor(portfolio, Source({"args": arguments}, uris))},
        audit=_audit(policies),
    )


def _llm_service(portfolio: Portfolio, work: Work, policies: Sequence[Policy]) -> dict[str, Any]:
    serving, template = portfolio.spec.serving, portfolio.spec.serving.template
    environment = pods.plain_environment(template, without=[])
    secrets = [{"secretRef": {"name": name}} for name in template.env_from_secrets or []]
    container = {
        "name": "main",
        **({"image": template.image} if template.image else {}),
        "resources": pods.resources(template),
        **({"env": environment} if environment else {}),
        **({"envFrom": secrets} if secrets else {}),
    }
    adapters = [{"name": p.name, "uri": model_uri(portfolio, p)} for p in policies]
    labels = names.owned_labels(portfolio.metadata.name, portfolio.metadata.uid)
    spec: dict[str, Any] = {
        "model": {
            "uri": kserve_uri(portfolio.spec.base_model.uri),
            "name": BASE_NAME,
            "lora": {
                "maxRank": lora_rank(portfolio),
                # vLLM's default is one: two policies would take turns in the GPU's memory.
                "maxAdapters": len(policies),
                "adapters": adapters,
            },
        },
        # Scale to zero is Knative's, which runs no LLMInferenceService.
        "replicas": max(serving.min_replicas, 1),
        # KServe brings these to the Pods.
        "labels": {**(template.labels or {}), **labels},
        **({"annotations": template.annotations} if template.annotations else {}),
        "template": {**pods.scheduling(template), "containers": [container]},
    }
    made = published(
        portfolio,
        work,
        api_version="serving.kserve.io/v1alpha1",
        kind="LLMInferenceService",
        name=shared_name(portfolio, policies, "LLMInferenceService"),
        spec=spec,
        audit=_audit(policies),
    )
    spec["labels"] |= {
        label: made["metadata"]["labels"][label]
        for label in (names.LABEL_CONTENT, names.LABEL_REVISION)
    }
    return made


def _audit(policies: Sequence[Policy]) -> dict[str, str]:
    """Return the annotations that say which policies these are and how they are identified."""
    listed = {
        policy.name: {"weights": shown_weights(policy.weights), "digest": policy.digest}
        for policy in policies
    }
    evaluations = ", ".join(f"{policy.name}={policy.evaluation_digest}" for policy in policies)
    return {
        names.ANNOTATION_POLICIES: json.dumps(listed),
        names.ANNOTATION_EVALUATION_DIGEST: evaluations,
    }
