"""Why the API server did not take an object, or S3 an answer, told apart for people. Pure.

The API server says so in prose only: what an admission plugin or a webhook answers is its message.
"""

import re
from dataclasses import dataclass

from pydantic import ValidationError

from palm.errors import StoreUnavailable
from palm_operator.calls.evidence import first_problem


@dataclass(frozen=True)
class Refusal:
    """Why an object was not taken.

    Attributes:
        reason: As conditions take it.
        message: What the API server said.
        remedy: What a person can do.
        is_final: Whether the same object would be refused for ever.
    """

    reason: str
    message: str
    remedy: str
    is_final: bool = False


_TEXTS = (
    (
        r"exceeded quota",
        "QuotaExceeded",
        "raise the ResourceQuota, or lower spec.training.parallelism or the resources of "
        "spec.training.template",
    ),
    (
        r"failed calling webhook|failed calling admission webhook",
        "WebhookUnavailable",
        "see that the controller behind that webhook runs (Kueue's, where training.queueName is "
        "set)",
    ),
    (
        r"is being terminated",
        "NamespaceTerminating",
        "the namespace is being deleted: nothing more is made in it",
    ),
    (
        r"violates PodSecurity",
        "PodSecurityViolated",
        "the namespace's Pod Security level forbids something that spec.training.template or "
        "spec.evaluation.template asks for",
    ),
    (
        r"serviceaccount \"?[^ ]+\"? not found|error looking up service account",
        "ServiceAccountMissing",
        "make the ServiceAccount that the template names",
    ),
    (
        r"admission webhook .* denied|ValidatingAdmissionPolicy .* denied|denied request",
        "AdmissionDenied",
        "satisfy that policy by spec.training.template or spec.evaluation.template, or ask its "
        "owner",
    ),
    (
        r"maximum .* usage per|minimum .* usage per",
        "LimitRangeViolated",
        "the namespace's LimitRange forbids these resources: change those of the template",
    ),
)
_GENERAL = "see the API server's answer; the same is tried again"


NO_JOB_SETS = Refusal(
    "JobSetNotInstalled",
    "this cluster has no JobSet (jobset.x-k8s.io/v1alpha2), which spec.training.nodes takes",
    "install JobSet (https://jobset.sigs.k8s.io), or set spec.training.nodes to 1",
    is_final=True,
)


def refusal(status: int | None, message: str, *, kind: str = "Job") -> Refusal:
    """Return why an object was refused.

    Args:
        status: The HTTP status; None where there was no answer.
        message: The API server's, or an admission plugin's.
        kind: What was refused.
    """
    # Of a namespace that is gone, the API server says that, and by its name.
    if status == 404 and kind == "JobSet" and "namespaces" not in message:
        return NO_JOB_SETS
    for pattern, reason, remedy in _TEXTS:
        if re.search(pattern, message):
            return Refusal(reason, message, remedy)
    if status == 422:
        remedy = "correct spec.training.template or spec.evaluation.template"
        return Refusal("JobInvalid", message, remedy, is_final=True)
    if status == 403:
        return Refusal("Forbidden", message, "the operator may not do this: see its Roles")
    return Refusal("ClusterRefused", message, _GENERAL)


def unreadable_said(error: ValidationError, *, is_deleted: bool) -> str:
    """Return what is said of a spec that the CRD let through but this version cannot read."""
    message = (
        f"spec cannot be read: {first_problem(error)}. Nothing is made, changed or purged; Jobs "
        "that run and what is deployed go on. Operator and CRD are of different versions: bring "
        "them to one, or take the field out"
    )
    if not is_deleted:
        return message
    return (
        f"{message}. To let the Portfolio go without deleting anything from S3, set "
        "spec.retentionPolicy to Retain"
    )


_FORBIDDEN = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken",
              "InvalidToken", "AllAccessDisabled", "AccountProblem", "403")  # fmt: skip
_ABSENT = ("NoSuchBucket", "InvalidBucketName", "PermanentRedirect", "301")
_SLOW = ("SlowDown", "RequestTimeout", "ReadTimeoutError", "ConnectTimeoutError", "503",
         "ServiceUnavailable", "ThrottlingException", "Throttling")  # fmt: skip
_TRIED_AGAIN = "It is tried again with growing pauses, at most 5 minutes; what serves goes on"


def storage_trouble(error: StoreUnavailable) -> tuple[str, str]:
    """Return reason and message for an S3 that does not do what it is asked."""
    if error.code in _FORBIDDEN:
        remedy = (
            "give the operator's own identity s3:GetObject, s3:PutObject, s3:DeleteObject and "
            "s3:ListBucket there (without the last, S3 calls an absent object forbidden)"
        )
        return "StorageForbidden", f"{error}: {remedy}. {_TRIED_AGAIN}"
    if error.code in _ABSENT:
        remedy = "make the bucket, or correct bucket, region and endpoint in spec.storage.s3"
        return "BucketNotFound", f"{error}: {remedy}. {_TRIED_AGAIN}"
    if error.code in _SLOW:
        return "StorageSlow", f"{error}. {_TRIED_AGAIN}; nothing is trained twice for it"
    return "StorageUnavailable", f"{error}. {_TRIED_AGAIN}; nothing is trained twice for it"
