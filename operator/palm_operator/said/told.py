"""What is told as Events: one per change that a person would care about. Pure.

What follows from the status alone is found by comparing it with the one before, so that a pass
that is repeated tells the same; and everything of a pass that says the same is told once.
"""

from collections.abc import Sequence

from palm_operator.api.status import Condition, PortfolioStatus
from palm_operator.calls.tasks import Task
from palm_operator.names import Step
from palm_operator.said.status import EVENT_LIMIT, Event, Said, Truth, shortened

_SHOWN = 3
_NOT_YET = ("WaitingForResults", "WaitingForKServe", "NotRequested")
_ON_THE_WAY = (
    "EvaluatingBasePolicy", "TrainingExtremes", "Training", "Retraining", "Evaluating",
    "WaitingForQuota", "WaitingForPreemptedWorkloads", "WaitingForAdmissionCheck",
    "PendingEvaluation", "WaitingForPodsReady", "Suspended",
)  # fmt: skip
"""Reasons of Trained that need nobody's attention."""
_ENDS = {"Suspended": "Resumed", "Paused": "Unpaused"}
"""What it is called when a condition that is present only when true goes."""


def events(old: PortfolioStatus, new: PortfolioStatus) -> tuple[Event, ...]:
    """Return the events of what changed between two statuses."""
    before = {c.type: (c.status, c.reason) for c in old.conditions}
    changed = [c for c in new.conditions if _is_news(c, before.get(c.type))]
    told = [
        Event(
            type="Warning" if _is_warning(c) else "Normal",
            reason=c.reason if c.type != "Ready" else f"{'' if c.status == 'True' else 'Not'}Ready",
            message=shortened(c.message, EVENT_LIMIT),
        )
        for c in changed
    ]
    return _once([*_ended(old, new), *told, *_progress(old, new, {c.type for c in changed})])


def started(tasks: Sequence[Task]) -> tuple[Event, ...]:
    """Return the one event of all oracle calls that a pass starts; evaluations follow by rule."""
    calls = [task for task in tasks if task.step is Step.TRAIN]
    if not calls:
        return ()
    shown = ", ".join(task.subject for task in calls[:_SHOWN])
    more = f" and {len(calls) - _SHOWN} more" if len(calls) > _SHOWN else ""
    count = f"training of {len(calls)} policies" if len(calls) > 1 else "training of one policy"
    return (Event("Normal", "TrainingStarted", f"{count} started: {shown}{more}"),)


def trouble(old: PortfolioStatus, said: Said) -> tuple[Event, ...]:
    """Return the event of a pass that failed; none where the one before failed of the same."""
    before = {c.type: c.reason for c in old.conditions}
    if before.get("Progressing") == said.reason:
        return ()
    return (Event("Warning", said.reason, shortened(said.message, EVENT_LIMIT)),)


def _ended(old: PortfolioStatus, new: PortfolioStatus) -> list[Event]:
    before, now = ({c.type for c in status.conditions} for status in (old, new))
    return [
        Event("Normal", end, f"the condition {kind} is over: the spec is followed again")
        for kind, end in _ENDS.items()
        if kind in before and kind not in now
    ]


def _progress(old: PortfolioStatus, new: PortfolioStatus, changed: set[str]) -> list[Event]:
    """Return what the counts tell that no condition does."""
    before, now = old.oracle_calls, new.oracle_calls
    if before is None or now is None or old.revision != new.revision:
        return []
    told = []
    if (done := now.succeeded - before.succeeded) > 0:
        policies = f"{done} more policies are" if done > 1 else "one more policy is"
        message = f"{policies} trained and evaluated: {now.succeeded} of at most {now.planned}"
        told.append(Event("Normal", "PoliciesEvaluated", message))
    trained = next((c for c in new.conditions if c.type == "Trained"), None)
    if now.failed > before.failed and trained and "Trained" not in changed:
        message = f"{now.failed} policies cannot be had now. The first: {trained.message}"
        told.append(Event("Warning", "OracleCallFailed", shortened(message, EVENT_LIMIT)))
    return told


def _once(told: Sequence[Event]) -> tuple[Event, ...]:
    """Return the events without those that say what another one says; a warning outranks."""
    found: dict[tuple[str, str], Event] = {}
    for event in told:
        key = (event.reason, event.message)
        if key not in found or event.type == "Warning":
            found[key] = event
    return tuple(found.values())


def _is_warning(condition: Condition) -> bool:
    kind, status, reason = condition.type, condition.status, condition.reason
    if kind == "Stalled":
        return True
    if status != "False":
        return False
    if kind == "Trained":
        return reason not in _ON_THE_WAY
    if kind == "Published":
        return reason not in _NOT_YET
    return kind in ("Accepted", "GuaranteeHeld")


def _is_news(condition: Condition, before: tuple[Truth, str] | None) -> bool:
    """Say whether a condition tells something that no other one tells, and not just "not yet"."""
    kind, status, reason = condition.type, condition.status, condition.reason
    if kind == "GuaranteeHeld":  # Pruned tells of one that is held
        return status == "False" and (before is None or before != (status, reason))
    if kind in ("Progressing", "Reconciling"):
        return False
    if status != "True" and reason == "WaitingForResults":
        return False
    if before is None:
        return status == "True" or _is_warning(condition)
    # Ready repeats the reasons of others while it is False.
    compared = before[0] if kind == "Ready" else before
    return compared != (status if kind == "Ready" else (status, reason))
