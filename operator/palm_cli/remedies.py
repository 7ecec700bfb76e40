"""What to do about what a Portfolio's conditions complain of, by reason. Pure."""

from collections.abc import Mapping

ADVICE: Mapping[str, str] = {
    "GridTooLarge": "coarsen spec.grid, raise spec.search.maxOracleCalls, or set spec.search.mode: "
    "Adaptive; `palm plan -f` counts before anything is spent",
    "GridInvalid": "mend spec.grid; `palm validate -f` says offline whether it is right",
    "InvalidSpec": "operator and CRD are of different versions: bring them to one "
    "(`kubectl apply --server-side -f crds/`)",
    "NameTooLong": "use a namespace with a shorter name: KServe leaves 52 characters for both",
    "StorageNotAllowed": "the platform's administrator allows it: storage.endpoints of the chart",
    "StorageUnavailable": "see whether S3 answers, and whether the operator's credentials may read "
    "the bucket; it is tried again by itself",
    "ClusterRefused": "see whether the operator has the rights that the chart gives it; it is "
    "tried again by itself",
    "InternalError": "a bug of the operator: `kubectl logs` of its Deployment has the traceback",
    "CalibrationFailed": "the rewards cannot be told apart on the extreme policies: look at their "
    "results, then change spec.rewards or spec.training",
    "InputsDiffer": "give changed content a URI of its own; or put the earlier content back, and "
    "delete what was made of the other",
    "ResultMissing": "the Job ended without its object in S3: read its log, delete its Jobs to try "
    "again",
    "ResultInvalid": "the object in S3 is not what was asked for: the message says why; delete the "
    "Jobs to try again",
    "OracleCallLimitReached": "raise spec.search.maxOracleCalls, or loosen spec.pruning",
    "NotCertified": "more oracle calls certify more: raise spec.search.maxOracleCalls, or loosen "
    "spec.pruning",
    "RetrainedNotCertified": "set spec.oracle.type: FineTune, which trains on until all is "
    "certified and nothing twice; or loosen spec.pruning",
    "NameConflict": "delete or rename the object that has the name, or rename the Portfolio",
    "TooManyPolicies": "raise spec.serving.maxPolicies (or the operator's ceiling), raise "
    "spec.pruning.mu, or set spec.serving.onExceeded: BestEffort",
    "BestEffort": "raise spec.serving.maxPolicies to have the whole cover, or spec.pruning.mu to "
    "ask for less",
    "KServeAbsent": "install KServe, or set spec.serving.mode: None",
    "Refused": "see whether KServe's webhook runs: `kubectl get pods -n kserve`",
    "NoSupportingRuntime": "install a ServingRuntime for huggingface models",
    "RuntimeNotRecognized": "install the runtime that spec.serving.runtime names, or name another",
    "ModelLoadFailed": "see whether the model is in S3 and the server's credentials may read it",
    "PodFailing": "the message has the container's last line; its log has more",
    "NotAnswering": "see the server's log: KServe believes it is ready, and a request failed",
    "PinNotFound": "remove spec.serving.pin, or name a deployment of status.revisions",
    "PinInvalid": "remove spec.serving.pin, or name a deployment of status.revisions",
}
"""What a person can do."""

TROUBLE = frozenset({"StorageUnavailable", "ClusterRefused", "InternalError"})
"""Reasons under which a pass failed: they stand under conditions that are True."""

_JOB_FAILED = ("OracleCall", "Evaluation")
"""How reasons begin that tell of what a Job failed."""
_JOB_WAITS = frozenset(
    {
        "ContainerNotCreated", "Deactivated", "ExceedsMaxQuota", "ImageUnavailable",
        "Misconfigured", "NoMatchingFlavor", "PodRefused", "QueueNotWatched", "QuotaExceeded",
        "Rejected", "Unschedulable",
    }
)  # fmt: skip


def advice_of(reason: str) -> str | None:
    """Return what to do about a condition that is False for this reason; None: nothing is wrong."""
    if reason in ADVICE:
        return ADVICE[reason]
    if reason.startswith(_JOB_FAILED):
        return "read the Job's log, mend the cause, delete the Job to try again"
    if reason in _JOB_WAITS:
        return "a Job cannot run: the message says what keeps it, `kubectl describe job` has more"
    return None
