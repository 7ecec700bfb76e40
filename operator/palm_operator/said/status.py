"""The status of a Portfolio: conditions that move only when something changed, and short numbers.

``Reconciling`` and ``Stalled`` are kstatus' abnormal-true conditions: present only when true, as
``Suspended`` and ``Paused`` are.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from palm_operator.api.status import (
    Condition,
    DeployedPortfolio,
    OracleCalls,
    Shortfall,
)
from palm_operator.calls.search import Fate, Search
from palm_operator.calls.tasks import State, Task
from palm_operator.observed import Observed
from palm_operator.serving.observed_services import Service
from palm_operator.times import stamp

ORDER = (
    "Accepted",
    "Progressing",
    "Trained",
    "Pruned",
    "GuaranteeHeld",
    "Published",
    "Ready",
    "Purged",
    "Suspended",
    "Paused",
    "Reconciling",
    "Stalled",
)
MESSAGE_LIMIT = 2048
EVENT_LIMIT = 1000
FOREIGN_LIMIT = 500
"""Of what another program said inside a message: what happens next and what to do come after it."""
POLICIES_LIMIT = 64
TEXT_LIMIT = 253
UNDEFINED = "undefined"
"""Shown for a relative shortfall where some best objective is not positive."""

Truth = Literal["True", "False", "Unknown"]


@dataclass(frozen=True)
class Said:
    """What is to be said under one condition type."""

    status: Truth
    reason: str
    message: str


@dataclass(frozen=True)
class Event:
    """A change that a person would want to know of."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def conditions(
    old: list[Condition], said: Mapping[str, Said], *, generation: int, now: datetime
) -> list[Condition]:
    """Return the conditions; a transition time moves only when the status does."""
    before = {condition.type: condition for condition in old}
    moved = stamp(now)
    result = []
    for kind in ORDER:
        if kind not in said:
            continue
        new, previous = said[kind], before.get(kind)
        unmoved = previous is not None and previous.status == new.status
        result.append(
            Condition(
                type=kind,
                status=new.status,
                reason=new.reason,
                message=shortened(new.message, MESSAGE_LIMIT),
                observed_generation=generation,
                last_transition_time=previous.last_transition_time
                if previous is not None and unmoved
                else moved,
            )
        )
    return result


def oracle_calls(search: Search, tasks: tuple[Task, ...], observed: Observed) -> OracleCalls:
    """Return how many policies are asked for, under way, there, failed, found in S3, and saved."""
    evaluated = [p for p in search.called if search.fates.get(p.index) is Fate.EVALUATED]
    running = {t.policy.index for t in tasks if t.policy and t.state is State.RUNNING}
    done, planned = len(evaluated), search.planned
    return OracleCalls(
        planned=planned,
        running=len(running),
        succeeded=done,
        failed=search.count(Fate.FAILED),
        reused=sum(not observed.jobs_of(*policy.oracle_call) for policy in evaluated),
        saved=search.saved,
        summary=f"{done}/{planned}",
    )


def shortfall(epsilon: float | None, delta: float) -> Shortfall:
    """Return ε and δ for people."""
    return Shortfall(epsilon=UNDEFINED if epsilon is None else number(epsilon), delta=number(delta))


def refreshed(portfolio: DeployedPortfolio, observed: Observed) -> DeployedPortfolio:
    """Return a deployed portfolio with the readiness and URLs that its services have now."""
    services = {s.name: s for s in observed.services if s.owned}
    policies = [
        policy.model_copy(update=_shown(services.get(policy.service))) if policy.service else policy
        for policy in portfolio.policies
    ]
    return portfolio.model_copy(update={"policies": policies})


def _shown(service: Service | None) -> dict[str, Any]:
    if service is None:
        return {"ready": False, "url": None, "message": "its server is not there"}
    if service.deleting:
        return {"ready": False, "url": service.url, "message": "its server is being removed"}
    standing = service.standing
    message = None if standing.state == "Serving" else shortened(standing.message, TEXT_LIMIT)
    return {"ready": standing.answers, "url": service.url, "message": message}


def number(value: float) -> str:
    """Return a number with four significant digits and no exponent."""
    if not math.isfinite(value):
        return str(value)
    text = format(Decimal(f"{value:.4g}"), "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def shortened(text: str, limit: int) -> str:
    """Return a text of at most ``limit`` characters: the status does not grow with the grid."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
