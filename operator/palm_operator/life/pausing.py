"""The annotation that pauses everything for one Portfolio, and what the status says of it. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from palm_operator.api.portfolio import Portfolio
from palm_operator.names import ANNOTATION_PAUSED
from palm_operator.plan import Plan
from palm_operator.said import status, told
from palm_operator.said.status import Said

_NOT = ("false", "")
_MOVED = ("Progressing", "Reconciling", "Stalled", "Paused")


def is_paused(body: Mapping[str, Any]) -> bool:
    """Say whether an object has the annotation, with any value but ``false``."""
    annotations = body["metadata"].get("annotations") or {}
    return str(annotations.get(ANNOTATION_PAUSED, "")).strip().lower() not in _NOT


def paused(portfolio: Portfolio, *, now: datetime) -> Plan:
    """Return the plan that only says, once, that nothing is done.

    ``observedGeneration`` stays: what the spec has become meanwhile is not looked at.
    """
    old = portfolio.status
    if any(c.type == "Paused" and c.status == "True" for c in old.conditions):
        return Plan(status=old)
    message = (
        f"the annotation {ANNOTATION_PAUSED} is there: nothing is created, changed, published or "
        "purged, and what runs and serves is left alone; remove the annotation to go on"
    )
    said = {
        c.type: Said(c.status, c.reason, c.message) for c in old.conditions if c.type not in _MOVED
    }
    said |= {
        "Progressing": Said("False", "Paused", message),
        "Paused": Said("True", "Paused", message),
    }
    said.setdefault("Ready", Said("False", "Paused", message))
    seen = {c.type: c.observed_generation for c in old.conditions}
    made = status.conditions(
        old.conditions, said, generation=portfolio.metadata.generation, now=now
    )
    kept = [
        c if c.type in _MOVED else c.model_copy(update={"observed_generation": seen.get(c.type)})
        for c in made
    ]
    new = old.model_copy(update={"conditions": kept})
    return Plan(status=new, events=told.events(old, new))
