"""The Jobs the operator makes, as plain dictionaries; a template never outranks what is ours."""

from typing import Any

from palm.contract import EvaluationRequest, TrainingRequest, digest_of
from palm.exit_codes import NOT_RETRIED
from palm_operator import names, pods
from palm_operator.api.pods import PodTemplate
from palm_operator.api.portfolio import API_VERSION, KIND, Portfolio
from palm_operator.calls.requests import Policy, policy_evaluation, policy_training
from palm_operator.calls.work import Work
from palm_operator.jobs.job_kinds import name_of, nodes_of
from palm_operator.jobs.job_sets import job_set
from palm_operator.names import Step
from palm_operator.settings import Settings

_GRACE_SECONDS = {Step.TRAIN: 300}
"""To end a step and to write its checkpoint; who needs less is gone earlier."""

_CONTAINERS = {Step.TRAIN: "trainer", Step.EVALUATE: "evaluator"}


def training_job(
    portfolio: Portfolio, work: Work, policy: Policy, *, settings: Settings, attempt: int = 1
) -> dict[str, Any]:
    """Return the Job of one oracle call, or the JobSet where several nodes train."""
    request = policy_training(portfolio, work.affine_maps or (), policy)
    nodes = nodes_of(portfolio, Step.TRAIN)
    job = _job(
        portfolio,
        Step.TRAIN,
        request,
        policy=policy.name,
        digest=policy.digest,
        attempt=attempt,
        revision=work.revision,
        template=portfolio.spec.training.template,
        image=settings.trainer_image,
        run=run_digest(portfolio, Step.TRAIN, settings),
        annotations=audit(policy),
    )
    return job if nodes == 1 else job_set(job, nodes)


def evaluation_job(
    portfolio: Portfolio, work: Work, policy: Policy, *, settings: Settings, attempt: int = 1
) -> dict[str, Any]:
    """Return the Job that estimates one policy's reward vector."""
    return _job(
        portfolio,
        Step.EVALUATE,
        policy_evaluation(portfolio, policy, work.affine_maps),
        policy=policy.name,
        digest=policy.evaluation_digest,
        attempt=attempt,
        revision=work.revision,
        template=portfolio.spec.evaluation.template,
        image=settings.evaluator_image,
        run=run_digest(portfolio, Step.EVALUATE, settings),
        annotations=audit(policy),
    )


def base_evaluation_job(
    portfolio: Portfolio, work: Work, *, settings: Settings, attempt: int = 1
) -> dict[str, Any]:
    """Return the Job that evaluates the base policy."""
    digest = work.base.evaluation_digest
    return _job(
        portfolio,
        Step.EVALUATE,
        work.base,
        policy=names.base_policy(digest),
        digest=digest,
        attempt=attempt,
        revision=work.revision,
        template=portfolio.spec.evaluation.template,
        image=settings.evaluator_image,
        run=run_digest(portfolio, Step.EVALUATE, settings),
        annotations={names.ANNOTATION_EVALUATION_DIGEST: digest},
    )


def run_digest(portfolio: Portfolio, step: Step, settings: Settings) -> str:
    """Return eight digits of the digest of how a Job is run, as opposed to what it makes."""
    spec = portfolio.spec
    part = spec.training if step is Step.TRAIN else spec.evaluation
    ours = settings.trainer_image if step is Step.TRAIN else settings.evaluator_image
    secret = spec.storage.s3.credentials_secret
    nodes = nodes_of(portfolio, step)
    return digest_of(
        {
            "image": part.template.image or ours,
            "template": part.template.model_dump(mode="json", by_alias=True, exclude_none=True),
            "backoffLimit": spec.training.backoff_limit,
            "activeDeadlineSeconds": part.active_deadline_seconds,
            "queue": spec.training.queue_name,
            "sharding": spec.training.sharding,
            "rollouts": spec.training.rollouts.model_dump(mode="json", by_alias=True),
            "secret": secret.name if secret else None,
            # As it was before there were several: what failed then is not tried again for it.
            **({"nodes": nodes} if nodes > 1 else {}),
        }
    )[:8]


def owner_reference(portfolio: Portfolio) -> dict[str, Any]:
    """Return the reference that makes the garbage collector take children with the Portfolio."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": portfolio.metadata.name,
        "uid": portfolio.metadata.uid,
        "controller": True,
        # True would need the right to update portfolios/finalizers.
        "blockOwnerDeletion": False,
    }


def shown_weights(weights: tuple[float, ...]) -> str:
    """Return a weight vector for people: ``0.31, 0.69``."""
    return ", ".join(f"{weight:.4f}".rstrip("0").rstrip(".") for weight in weights)


def audit(policy: Policy) -> dict[str, str]:
    """Return the annotations that say what a policy is for and how it is identified."""
    return {
        names.ANNOTATION_WEIGHTS: shown_weights(policy.weights),
        names.ANNOTATION_POLICY_DIGEST: policy.digest,
        names.ANNOTATION_EVALUATION_DIGEST: policy.evaluation_digest,
    }


def _job(
    portfolio: Portfolio,
    step: Step,
    request: TrainingRequest | EvaluationRequest,
    *,
    policy: str,
    digest: str,
    attempt: int,
    revision: str,
    template: PodTemplate,
    image: str,
    run: str,
    annotations: dict[str, str],
) -> dict[str, Any]:
    metadata, training = portfolio.metadata, portfolio.spec.training
    part = training if step is Step.TRAIN else portfolio.spec.evaluation
    deadline = part.active_deadline_seconds
    ours = {
        names.LABEL_POLICY: policy,
        names.LABEL_STEP: step.value,
        names.LABEL_DIGEST: digest,
        names.LABEL_ATTEMPT: str(attempt),
        names.LABEL_REVISION: revision,
    }
    owned = names.owned_labels(metadata.name, metadata.uid)
    labels = {**(template.labels or {}), **owned, **ours}
    annotations = {**(template.annotations or {}), **annotations}
    queue = {names.LABEL_KUEUE_QUEUE: training.queue_name} if training.queue_name else {}
    credentials = portfolio.spec.storage.s3.credentials_secret
    secret = credentials.name if credentials else None
    container = pods.container(
        _CONTAINERS[step], request, image=image, template=template, credentials_secret=secret
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name_of(portfolio, step, policy, attempt),
            "namespace": metadata.namespace,
            "labels": {**labels, **queue, names.LABEL_RUN: run},
            "annotations": annotations,
            "ownerReferences": [owner_reference(portfolio)],
        },
        "spec": {
            "backoffLimit": training.backoff_limit,
            "podReplacementPolicy": "Failed",
            **({"activeDeadlineSeconds": deadline} if deadline else {}),
            "podFailurePolicy": _pod_failure_policy(_CONTAINERS[step]),
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": pods.pod(template, container, grace_seconds=_GRACE_SECONDS.get(step)),
            },
        },
    }


def _pod_failure_policy(container: str) -> dict[str, Any]:
    """A lost node is nobody's fault; a wrong request is not cured by repetition."""
    disrupted = [{"type": "DisruptionTarget", "status": "True"}]
    codes = {"containerName": container, "operator": "In", "values": sorted(map(int, NOT_RETRIED))}
    return {
        "rules": [
            {"action": "Ignore", "onPodConditions": disrupted},
            {"action": "FailJob", "onExitCodes": codes},
        ]
    }
