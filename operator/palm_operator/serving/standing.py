"""How an InferenceService stands, judged by more than its condition Ready. Pure.

KServe's ``Ready`` is a statement about a Deployment: it stays True while the Deployment's new Pods
crash as long as old ones run, and its ``observedGeneration`` is the Deployment's. So a policy is
served only where all of this holds: KServe says Ready, its model state is up to date, a Ready Pod
carries the digest of what the InferenceService asks for now, and a real request was answered by
just these Pods.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from palm_operator import names
from palm_operator.serving.server_pods import ServerPod, last_line

State = Literal["Serving", "Starting", "Failing", "Stuck"]
"""Stuck: it will not get further without a person. Failing: Kubernetes or KServe tries again."""

_REFUSED = ("ReconcileFailed", "FailedCreate", "ProgressDeadlineExceeded")


@dataclass(frozen=True)
class Standing:
    """What is to be thought of an InferenceService, and why."""

    state: State
    reason: str
    message: str
    answers: bool = False
    """Whether requests to it are answered, be it by Pods of what it asked for before."""


@dataclass(frozen=True)
class Question:
    """One real request for each policy of a server, and to whom exactly."""

    url: str
    models: tuple[str, ...]
    pods: tuple[tuple[str, int], ...]
    """Uid and restarts of the Ready Pods it may reach; others may answer otherwise."""


@dataclass(frozen=True)
class Answer:
    """What came back the last time, perhaps from Pods that are gone by now."""

    question: Question
    is_good: bool
    message: str = ""


def question(
    body: Mapping[str, Any], pods: Sequence[ServerPod], *, url: str | None
) -> Question | None:
    """Return the request whose answer decides; None while nothing could answer it.

    Ready Pods are asked whatever KServe says: its Ready is Unknown for a moment in each rollout.
    """
    asked = sorted((pod.uid, pod.restarts) for pod in pods if pod.ready)
    if url is None or not (asked or _not_ready(_conditions(body)) is None):
        return None
    models = names.served_policies(body["metadata"])
    return Question(url, models, tuple(asked)) if models else None


def standing(
    body: Mapping[str, Any], pods: Sequence[ServerPod], answer: Answer | None, *, url: str | None
) -> Standing:
    """Return how an InferenceService stands.

    Args:
        body: The InferenceService.
        pods: Its Pods, of whatever revision.
        answer: What came of its ``question`` the last time; None while nothing did.
        url: Where it is reached.
    """
    asked = question(body, pods, url=url)
    against = _against(body, pods)
    if against is None:
        against = _unanswered(asked, answer)
    answers = asked is not None and answer is not None and answer.is_good
    if against is not None:
        return replace(against, answers=answers)
    return Standing("Serving", "Answering", "it answers", answers=True)


def _against(body: Mapping[str, Any], pods: Sequence[ServerPod]) -> Standing | None:
    """Return what speaks against an InferenceService before any request; None: nothing."""
    if "deletionTimestamp" in body["metadata"]:
        return Standing("Starting", "Deleting", "it is being deleted; KServe has to let it go")
    if _is_silent(body):
        return Standing(
            "Starting", "NotSeen", "KServe's controller has not reported on it yet: does it run?"
        )
    status = body["status"]
    return (
        _load_failure(status)
        or _pod_failure(body, pods)
        or _not_ready(_conditions(body))
        or _not_current(body, status, pods)
    )


def _unanswered(asked: Question | None, answer: Answer | None) -> Standing | None:
    if asked is None:
        return Standing("Starting", "NoAddress", "KServe says Ready, but gives it no address")
    if answer is None or answer.question != asked:
        return Standing("Starting", "Asking", "KServe says Ready; a request to it is under way")
    if not answer.is_good:
        return Standing("Failing", "NotAnswering", f"KServe says Ready, but {answer.message}")
    return None


def _conditions(body: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    listed = (body.get("status") or {}).get("conditions") or []
    return {condition.get("type", ""): condition for condition in listed}


def _is_silent(body: Mapping[str, Any]) -> bool:
    return not _conditions(body)


def _load_failure(status: Mapping[str, Any]) -> Standing | None:
    model = status.get("modelStatus") or {}
    transition, failure = model.get("transitionStatus"), model.get("lastFailureInfo") or {}
    if transition == "InvalidSpec":
        reason = _reason(failure.get("reason"), "InvalidSpec")
        return Standing("Stuck", reason, str(failure.get("message") or "KServe refuses its spec"))
    if transition == "BlockedByFailedLoad":
        reason = _reason(failure.get("reason"), "ModelLoadFailed")
        code = failure.get("exitCode")
        ended = f"its container ended with exit code {code}: " if code else ""
        return Standing("Failing", reason, f"{ended}{last_line(failure.get('message'))}")
    return None


def _pod_failure(body: Mapping[str, Any], pods: Sequence[ServerPod]) -> Standing | None:
    """Return the trouble of new Pods, which KServe does not see while old ones run."""
    if _current(body, pods):
        return None
    content = _content(body)
    failing = [pod.trouble for pod in pods if pod.content == content and pod.trouble]
    return Standing("Failing", "PodFailing", failing[0]) if failing else None


def _not_ready(conditions: Mapping[str, Mapping[str, Any]]) -> Standing | None:
    if (conditions.get("Ready") or {}).get("status") == "True":
        return None
    for kind in ("PredictorReady", "IngressReady", "WorkloadsReady", "PresetsCombined", "Ready"):
        condition = conditions.get(kind) or {}
        if condition.get("status") != "True" and condition:
            reason = str(condition.get("reason") or "NotReady")
            message = f"{kind} is {condition.get('status')}: {reason}"
            if condition.get("message"):
                message += f": {last_line(condition['message'])}"
            state: State = "Failing" if reason in _REFUSED else "Starting"
            return Standing(state, "NotReady", message)
    return Standing("Starting", "NotReady", "KServe does not say Ready yet")


def _not_current(
    body: Mapping[str, Any], status: Mapping[str, Any], pods: Sequence[ServerPod]
) -> Standing | None:
    transition = (status.get("modelStatus") or {}).get("transitionStatus")
    # An LLMInferenceService has no model state.
    if transition != "UpToDate" and body.get("kind") != "LLMInferenceService":
        return Standing("Starting", "ModelNotUpToDate", f"its model is {transition or 'unknown'}")
    predictor = (body.get("spec") or {}).get("predictor") or {}
    scales_to_none = predictor.get("minReplicas") == 0
    if not _current(body, pods) and not scales_to_none:
        message = "KServe says Ready, but no Ready Pod is of what it asks for now"
        return Standing("Starting", "PodsNotCurrent", message)
    return None


def _current(body: Mapping[str, Any], pods: Sequence[ServerPod]) -> list[ServerPod]:
    """Return the Ready Pods of what the InferenceService asks for now."""
    content = _content(body)
    return [pod for pod in pods if pod.ready and pod.content == content]


def _content(body: Mapping[str, Any]) -> str:
    return str((body["metadata"].get("labels") or {}).get(names.LABEL_CONTENT, ""))


def _reason(text: Any, default: str) -> str:
    """Return a reason that conditions take; KServe's is written by whoever may."""
    reason = str(text or "")[:64]
    return reason if reason.isascii() and reason.isalnum() and reason[0].isalpha() else default
