"""Kueue's Workloads, reduced to why a queued Job does not run yet. Pure.

Reasons of ``QuotaReserved`` are those of Kueue v0.19's gate ``UnadmittedWorkloadsObservability``,
which is off by default; without it every one of them is ``Pending`` or ``Inadmissible``, and only
the message tells them apart.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from palm_operator.jobs.job_pods import Hindrance, one_line
from palm_operator.names import LABEL_KUEUE_JOB_UID
from palm_operator.times import parsed

_FOR_GOOD = ("ExceedsMaxQuota", "Misconfigured", "Deactivated", "Rejected")
_KNOWN = (
    *_FOR_GOOD, "WaitingForQuota", "NoMatchingFlavor", "TopologyPlacementFailed",
    "WaitingForPreemptedWorkloads", "PendingEvaluation", "WaitingForPodsReady",
)  # fmt: skip
_TURNS = ("Evicted", "Requeued")
_UNTOLD = Hindrance(
    "WaitingForQuota", "Kueue has not said yet when it will admit it: does its controller run?"
)


def job_uid(body: Mapping[str, Any]) -> str:
    """Return the uid of the Job that a Workload stands for."""
    return str((body["metadata"].get("labels") or {}).get(LABEL_KUEUE_JOB_UID, ""))


def hindrance(body: Mapping[str, Any]) -> Hindrance | None:
    """Return why a Workload is not admitted; None where it is."""
    spec, status = body.get("spec") or {}, body.get("status") or {}
    found = {c.get("type"): c for c in status.get("conditions") or []}
    if spec.get("active") is False:
        why = _message(found.get("Evicted")) or _message(found.get("QuotaReserved"))
        return Hindrance("Deactivated", f"its Workload is deactivated{_after(why)}", is_final=True)
    if (found.get("Admitted") or {}).get("status") == "True":
        return None
    if rejected := _rejected(status):
        return rejected
    reserved = found.get("QuotaReserved") or {}
    if reserved.get("status") == "True":
        checks = [c.get("name") for c in status.get("admissionChecks") or []
                  if c.get("state") != "Ready"]  # fmt: skip
        return Hindrance(
            "WaitingForAdmissionCheck",
            f"admission checks are not done: {', '.join(map(str, checks))}",
        )
    if not reserved:
        return _UNTOLD
    reason, why = _reason(reserved), _message(reserved)
    return Hindrance(reason, why or reason, is_final=reason in _FOR_GOOD)


def turns(body: Mapping[str, Any]) -> list[datetime]:
    """Return when a Workload's wait began anew: evicted, or active again after it was not."""
    conditions = (body.get("status") or {}).get("conditions") or []
    times = [c.get("lastTransitionTime") for c in conditions if c.get("type") in _TURNS]
    return [parsed(str(text)) for text in times if text]


def is_resuming(body: Mapping[str, Any]) -> bool:
    """Say whether a Workload is active again and Kueue has not put it back into its queue yet.

    As Kueue v0.19 does it: ``pkg/controller/core/workload_controller.go``, ``Reconcile``.
    """
    if (body.get("spec") or {}).get("active") is False:
        return False
    conditions = (body.get("status") or {}).get("conditions") or []
    return any(
        (c.get("type"), c.get("status"), c.get("reason")) == ("Requeued", "False", "Deactivated")
        for c in conditions
    )


def _rejected(status: Mapping[str, Any]) -> Hindrance | None:
    for check in status.get("admissionChecks") or []:
        if check.get("state") == "Rejected":
            why = f"admission check {check.get('name')} rejects it{_after(_message(check))}"
            return Hindrance("Rejected", why, is_final=True)
    return None


def _reason(condition: Mapping[str, Any]) -> str:
    reason, message = str(condition.get("reason") or ""), str(condition.get("message") or "")
    if reason in _KNOWN:
        return reason
    if "maximum capacity" in message:
        return "ExceedsMaxQuota"
    # As Kueue writes them: LocalQueue x doesn't exist, ClusterQueue x is inactive.
    if reason == "Inadmissible" or "doesn't exist" in message or "is inactive" in message:
        return "Misconfigured"
    return "WaitingForQuota"


def _message(condition: Mapping[str, Any] | None) -> str:
    text = (condition or {}).get("message")
    return one_line(text) if text else ""


def _after(message: str) -> str:
    return f": {message}" if message else ""
