"""The InferenceServices that serve a portfolio, as plain dictionaries that KServe's CRD accepts."""

from typing import Any

from palm import artifacts
from palm_operator import names, pods
from palm_operator.api import Portfolio
from palm_operator.manifests import audit, owner_reference
from palm_operator.requests import Policy, storage_location
from palm_operator.work import Work

# vLLM refuses other values of --max-lora-rank.
_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
_BASE_FOLDER = "/mnt/models/base"
_ADAPTER_FOLDER = "/mnt/models/adapter"


def inference_service(portfolio: Portfolio, work: Work, policy: Policy) -> dict[str, Any]:
    """Return the InferenceService that serves one policy, in KServe's Standard mode."""
    spec, metadata = portfolio.spec, portfolio.metadata
    template = spec.serving.template
    is_lora = spec.training.adapter.type == "LoRA"
    environment = pods.plain_environment(template, without=[])
    credentials = spec.storage.s3.credentials_secret
    model: dict[str, Any] = {
        "modelFormat": {"name": "huggingface"},
        **({"runtime": spec.serving.runtime} if spec.serving.runtime else {}),
        **(_lora_source(portfolio, policy) if is_lora else _full_source(portfolio, policy)),
        "resources": pods.resources(template),
        **({"env": environment} if environment else {}),
    }
    if template.image:
        model["image"] = template.image
    predictor: dict[str, Any] = {
        "minReplicas": 1,
        **pods.scheduling(template),
        **({"storageUris": _storage_uris(portfolio, policy)} if is_lora else {}),
        "model": model,
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": names.inference_service_name(metadata.name, metadata.namespace, policy.name),
            "namespace": metadata.namespace,
            "labels": {
                **(template.labels or {}),
                **names.owned_labels(metadata.name, metadata.uid),
                names.LABEL_POLICY: policy.name,
                names.LABEL_REVISION: work.revision,
            },
            "annotations": {
                **(template.annotations or {}),
                **audit(policy),
                # Written out: the cluster's default may be Knative, and a later change is refused.
                "serving.kserve.io/deploymentMode": "Standard",
                **(
                    {"serving.kserve.io/storageSecretName": credentials.name} if credentials else {}
                ),
            },
            "ownerReferences": [owner_reference(portfolio)],
        },
        "spec": {"predictor": predictor},
    }


def _full_source(portfolio: Portfolio, policy: Policy) -> dict[str, Any]:
    return {
        "storageUri": _model_uri(portfolio, policy),
        "args": [f"--model_name={policy.name}"],
    }


def _lora_source(portfolio: Portfolio, policy: Policy) -> dict[str, Any]:
    """The base model and one adapter: requests name the policy, or ``base``."""
    trained = portfolio.spec.training.adapter.rank
    rank = next(rank for rank in _LORA_RANKS if rank >= trained)
    return {
        "args": [
            "--model_name=base",
            f"--model_dir={_BASE_FOLDER}",
            "--enable-lora",
            f"--lora-modules={policy.name}={_ADAPTER_FOLDER}",
            f"--max-lora-rank={rank}",
        ]
    }


def _storage_uris(portfolio: Portfolio, policy: Policy) -> list[dict[str, str]]:
    return [
        {"uri": portfolio.spec.base_model.uri, "mountPath": _BASE_FOLDER},
        {"uri": _model_uri(portfolio, policy), "mountPath": _ADAPTER_FOLDER},
    ]


def _model_uri(portfolio: Portfolio, policy: Policy) -> str:
    return artifacts.uri(storage_location(portfolio.spec), artifacts.model_folder(policy.digest))
