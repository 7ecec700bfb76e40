"""``spec.retentionPolicy``: the finalizer, and what is said while a Portfolio goes. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from palm_operator.api.portfolio import Portfolio
from palm_operator.names import FINALIZER
from palm_operator.plan import Plan
from palm_operator.said import status
from palm_operator.said.status import Event, Said

Reason = Literal[
    "WaitingForJobs", "Purging", "StorageUnavailable", "StorageNotAllowed", "UseUnknown", "Paused"
]
_KEPT = ("Accepted", "Trained", "Pruned", "GuaranteeHeld", "Published")
_SHOWN = 3


def has_finalizer(body: Mapping[str, Any]) -> bool:
    """Say whether a Portfolio has our finalizer."""
    return FINALIZER in (body["metadata"].get("finalizers") or [])


def purges(body: Mapping[str, Any]) -> bool:
    """Say whether a Portfolio's objects are to go with it, also where its spec cannot be read."""
    return (body.get("spec") or {}).get("retentionPolicy") == "Delete"


def finalizers(body: Mapping[str, Any], *, ours: bool) -> list[str] | None:
    """Return a Portfolio's finalizers with or without ours; None where they are so already."""
    if has_finalizer(body) == ours:
        return None
    others = [f for f in body["metadata"].get("finalizers") or [] if f != FINALIZER]
    return [*others, FINALIZER] if ours else others


def writers_said(writers: Sequence[str]) -> tuple[Reason, str]:
    """Return what is said while Jobs or Pods that write to S3 are not gone yet."""
    more = f" and {len(writers) - _SHOWN} more" if len(writers) > _SHOWN else ""
    shown = ", ".join(writers[:_SHOWN])
    return "WaitingForJobs", f"{shown}{more} may still write to S3; the purge begins after them"


def leaving(portfolio: Portfolio, reason: Reason, message: str, *, now: datetime) -> Plan:
    """Return the plan that only says why a deleted Portfolio is still there, and how it gets free.

    Args:
        portfolio: With the status that was last written.
        reason: What it waits for.
        message: The same in words.
        now: The time.
    """
    metadata, old = portfolio.metadata, portfolio.status
    way_out = (
        f"{message}. To let it go without deleting anything from S3: kubectl patch pfo "
        f"{metadata.name} -n {metadata.namespace} --type=merge "
        """-p '{"spec":{"retentionPolicy":"Retain"}}'"""
    )
    doing = Said("True", reason, way_out)
    said = {c.type: Said(c.status, c.reason, c.message) for c in old.conditions if c.type in _KEPT}
    said |= {
        "Progressing": doing,
        "Ready": Said("False", "Deleted", "the Portfolio is deleted"),
        "Purged": replace(doing, status="False"),
        "Reconciling": doing,
    }
    made = status.conditions(old.conditions, said, generation=metadata.generation, now=now)
    new = old.model_copy(update={"conditions": made, "observed_generation": metadata.generation})
    return Plan(status=new, events=_events(old.conditions, reason, way_out))


def purged_event(location: str, deleted: int, kept: int) -> Event:
    """Return what is told at the end."""
    stay = f"; {kept} policies, results and tables stay: other Portfolios use them" if kept else ""
    return Event("Normal", "Purged", f"{deleted} objects below {location} are deleted{stay}")


def _events(old: Sequence[Any], reason: Reason, message: str) -> tuple[Event, ...]:
    before = next((c.reason for c in old if c.type == "Purged"), None)
    if before == reason:
        return ()
    is_trouble = reason not in ("WaitingForJobs", "Purging")
    return (Event("Warning" if is_trouble else "Normal", reason, message),)
