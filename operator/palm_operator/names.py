"""Every name, label and annotation of what the operator makes, written once.

Names are deterministic: creating twice collides instead of duplicating. Lengths are bounded by
Kubernetes (63 for Jobs, whose names become Pod labels) and KServe, whose DNS label
``<service>-predictor-<namespace>`` leaves 52 for service and namespace together.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from palm.errors import InvalidPortfolio

PREFIX = "palm-operator.dev/"
FIELD_MANAGER = "palm-operator"

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_PORTFOLIO = f"{PREFIX}portfolio"
LABEL_PORTFOLIO_UID = f"{PREFIX}portfolio-uid"
LABEL_POLICY = f"{PREFIX}policy"
LABEL_STEP = f"{PREFIX}step"
LABEL_DIGEST = f"{PREFIX}digest"
LABEL_ATTEMPT = f"{PREFIX}attempt"
LABEL_REVISION = f"{PREFIX}revision"
LABEL_RUN = f"{PREFIX}run"
"""On a Job: a digest of how it is run (image, resources, limits), as opposed to what it makes."""
LABEL_CONTENT = f"{PREFIX}content"
"""On an InferenceService and, by KServe, its Pods: a digest of everything its Pods are made of."""
LABEL_INFERENCE_SERVICE = "serving.kserve.io/inferenceservice"
"""By KServe on Pods: whose they are."""
LABEL_COMPONENT = f"{PREFIX}component"
LABEL_LLM_NAME = "app.kubernetes.io/name"
"""By KServe on Pods of an LLMInferenceService: whose they are."""
LABEL_KUEUE_QUEUE = "kueue.x-k8s.io/queue-name"
LABEL_KUEUE_JOB_UID = "kueue.x-k8s.io/job-uid"
"""By Kueue on a Workload: whose it is."""
LABEL_JOB_SET = "jobset.sigs.k8s.io/jobset-name"
LABEL_JOB_SET_UID = "jobset.sigs.k8s.io/jobset-uid"
"""By JobSet's controller on the Jobs and Pods that it makes: whose they are."""

ANNOTATION_WEIGHTS = f"{PREFIX}weights"
ANNOTATION_POLICY_DIGEST = f"{PREFIX}policy-digest"
ANNOTATION_EVALUATION_DIGEST = f"{PREFIX}evaluation-digest"
ANNOTATION_SHA256 = f"{PREFIX}sha256"
FINALIZER = f"{PREFIX}purge"
"""On a Portfolio with ``retentionPolicy: Delete``: it goes after its objects in S3."""
ANNOTATION_PAUSED = f"{PREFIX}paused"
"""On a Portfolio, by its user: nothing of it is looked after while it is there."""
ANNOTATION_SUSPENDED = f"{PREFIX}suspended"
ANNOTATION_RESUMED = f"{PREFIX}resumed"
"""On a Job and its Workload: suspended by the operator, and only then resumed by it."""

LABEL_OPERATOR_CLASS = f"{PREFIX}operator-class"
"""On the route tables of Portfolios that name a class: whose gateways follow them."""

ROUTE_TABLE = "route-table"
"""Component label of the ConfigMaps that hold route tables."""
ROUTES_KEY = "routes.json"
"""Key of the table in its ConfigMap."""
ANNOTATION_POLICIES = f"{PREFIX}policies"
"""On a shared server: JSON, per policy its weights and digest."""

JOB_NAME_LIMIT = 63
JOB_SET_NAME_LIMIT = 49
"""A Pod of a JobSet is called ``<JobSet>-n-0-<index>-<5 characters>``, in at most 63."""
LABEL_LIMIT = 63
SERVICE_AND_NAMESPACE_LIMIT = 52
LAST_ATTEMPT = 3

_HASH_DIGITS = 6
_SET_DIGITS = 8
_ATTEMPT_ROOM = len("-r3")


class Step(StrEnum):
    """What a Job does."""

    TRAIN = "train"
    EVALUATE = "evaluate"


_WORDS = {Step.TRAIN: "train", Step.EVALUATE: "eval"}


def stem(portfolio: str, room: int) -> str:
    """Return a Portfolio's name, cut to ``room`` characters, as the start of a DNS label.

    A name that has to change (too long, with dots, not starting with a letter) gets a hash of the
    full name, so two Portfolios never share a stem.

    Raises:
        InvalidPortfolio: Not even one letter and the hash fit.
    """
    label = re.sub(r"[^a-z0-9-]", "-", portfolio.lower())
    if not label[:1].isalpha():
        label = f"p{label}"
    if label == portfolio and len(label) <= room:
        return label
    if room < 2 + _HASH_DIGITS:
        raise InvalidPortfolio(
            f"{room} characters are left for the Portfolio's part of a name; "
            f"at least {2 + _HASH_DIGITS} are needed"
        )
    digest = hashlib.sha256(portfolio.encode()).hexdigest()[:_HASH_DIGITS]
    return f"{label[: room - 1 - _HASH_DIGITS].rstrip('-')}-{digest}"


def job_name(
    portfolio: str, step: Step, policy: str, attempt: int = 1, *, limit: int = JOB_NAME_LIMIT
) -> str:
    """Return ``<portfolio>-train-<policy>``, ``…-eval-…``; from the second attempt on ``…-r2``."""
    tail = f"-{_WORDS[step]}-{policy}"
    again = f"-r{attempt}" if attempt > 1 else ""
    return stem(portfolio, limit - len(tail) - _ATTEMPT_ROOM) + tail + again


def base_policy(evaluation_digest: str) -> str:
    """Return the name of the base policy in Job names: its evaluations differ by digest."""
    return f"base-{evaluation_digest[:_HASH_DIGITS]}"


def inference_service_name(portfolio: str, namespace: str, policy: str) -> str:
    """Return ``<portfolio>-<policy>``, within KServe's limit.

    Raises:
        InvalidPortfolio: The namespace's name leaves no room.
    """
    room = SERVICE_AND_NAMESPACE_LIMIT - len(namespace) - len(policy) - 1
    try:
        return f"{stem(portfolio, room)}-{policy}"
    except InvalidPortfolio:
        raise InvalidPortfolio(
            f"namespace {namespace!r} has {len(namespace)} characters and policy {policy!r} "
            f"{len(policy)}: KServe allows {SERVICE_AND_NAMESPACE_LIMIT} for an InferenceService's "
            f"name and its namespace together, so {max(room, 0)} of the at least "
            f"{2 + _HASH_DIGITS} needed characters are left; use a namespace with a shorter name"
        ) from None


def route_table_name(portfolio: str) -> str:
    """Return ``<portfolio>-routes``, the name of the ConfigMap with the route table."""
    tail = "-routes"
    return stem(portfolio, LABEL_LIMIT - len(tail)) + tail


def class_labels(operator_class: str | None) -> dict[str, str]:
    """Return the label that says whose a route table is; none for the install without a class."""
    return {LABEL_OPERATOR_CLASS: operator_class} if operator_class else {}


def route_table_selector(operator_class: str) -> str:
    """Return the label selector of an install's route tables."""
    whose = (
        f"{LABEL_OPERATOR_CLASS}={operator_class}"
        if operator_class
        else (f"!{LABEL_OPERATOR_CLASS}")
    )
    return f"{LABEL_COMPONENT}={ROUTE_TABLE},{whose}"


def shared_service_name(portfolio: str, namespace: str, set_digest: str) -> str:
    """Return ``<portfolio>-set-<digest>``: another set of adapters is another server.

    Raises:
        InvalidPortfolio: The namespace's name leaves no room.
    """
    return inference_service_name(portfolio, namespace, f"set-{set_digest[:_SET_DIGITS]}")


def served_policies(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the policies that a service of ours serves; requests name them as their model."""
    alone = (metadata.get("labels") or {}).get(LABEL_POLICY)
    if alone:
        return (str(alone),)
    try:
        listed = json.loads((metadata.get("annotations") or {}).get(ANNOTATION_POLICIES, ""))
    except ValueError:
        return ()
    return tuple(sorted(map(str, listed))) if isinstance(listed, dict) else ()


def owned_labels(portfolio: str, uid: str) -> dict[str, str]:
    """Return the labels that every object of a Portfolio carries."""
    return {
        LABEL_MANAGED_BY: FIELD_MANAGER,
        LABEL_PORTFOLIO: stem(portfolio, LABEL_LIMIT),
        LABEL_PORTFOLIO_UID: uid,
    }
