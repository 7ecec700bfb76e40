"""Plans that only say something: what a Portfolio may not ask for, and what went wrong. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from palm.errors import InvalidPortfolio
from palm.policies import policy_name
from palm_operator.api.portfolio import Portfolio
from palm_operator.api.status import PortfolioStatus
from palm_operator.calls.grids import GridRefused, weight_vectors
from palm_operator.calls.requests import revision_of, storage_location
from palm_operator.observed import Observed
from palm_operator.plan import Plan
from palm_operator.said import status, told
from palm_operator.said.status import MESSAGE_LIMIT, Said, shortened
from palm_operator.serving.publication import ready_said, service_names_fit
from palm_operator.settings import Settings
from palm_operator.times import stamp

_UNTIL_THEN = (
    "Until the spec is changed nothing is made of it; Jobs that run and what is deployed go on"
)


class Refused(InvalidPortfolio):
    """The Portfolio breaks a rule of the operator; nothing is created for it."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


def check(portfolio: Portfolio, settings: Settings) -> None:
    """Raise Refused where a rule is broken that the resource's schema cannot say."""
    location, namespace = storage_location(portfolio.spec), portfolio.metadata.namespace
    if objection := settings.storage.objection(location, namespace):
        raise Refused("StorageNotAllowed", objection)
    for index, reward in enumerate(portfolio.spec.rewards):
        if reward.model and reward.model.trust_remote_code and not settings.allow_remote_code:
            raise Refused(
                "RemoteCodeNotAllowed",
                f"spec.rewards[{index}].model.trustRemoteCode of reward {reward.name!r} is true; "
                "this operator runs no code that comes with a model: ask its administrator",
            )
    try:
        count = len(weight_vectors(portfolio.spec))
    except GridRefused as error:
        raise Refused(error.reason, str(error)) from None
    try:
        service_names_fit(portfolio, policy_name(count - 1, "0" * 32))
    except InvalidPortfolio as error:
        raise Refused("NameTooLong", str(error)) from None


def refused(portfolio: Portfolio, observed: Observed, refusal: Refused, *, now: datetime) -> Plan:
    """Return the plan that only says why nothing is done; what is served stays."""
    no = Said("False", refusal.reason, f"{refusal}. {_UNTIL_THEN}")
    kept = portfolio.status.portfolio
    shown = status.refreshed(kept, observed) if kept else None
    said = {
        "Accepted": no,
        "Progressing": no,
        "Stalled": replace(no, status="True"),
        "Ready": ready_said(portfolio, shown, otherwise=no),
    }
    if portfolio.spec.suspend:
        why = "spec.suspend is true: Jobs that run are suspended; nothing new is made in any case"
        said["Suspended"] = Said("True", "Suspended", why)
    new = portfolio.status.model_copy(update={"portfolio": shown, "pending": None})
    return reported(portfolio, new, said, now=now)


def unreadable(
    status: Mapping[str, Any], message: str, *, generation: int, now: datetime
) -> dict[str, Any]:
    """Return the status of a Portfolio whose spec cannot be read; what serves goes on, so says it.

    Args:
        status: As the API server has it, whoever wrote it.
        message: What cannot be read.
        generation: Of the spec.
        now: Time of condition transitions.
    """
    before = {str(c.get("type")): c for c in status.get("conditions") or []}
    said = {"Accepted": "False", "Progressing": "False", "Stalled": "True"}
    said |= {} if "Ready" in before else {"Ready": "False"}
    conditions = {
        kind: {
            "type": kind,
            "status": truth,
            "reason": "InvalidSpec",
            "message": shortened(message, MESSAGE_LIMIT),
            "observedGeneration": generation,
            "lastTransitionTime": before[kind]["lastTransitionTime"]
            if before.get(kind, {}).get("status") == truth
            else stamp(now),
        }
        for kind, truth in said.items()
    }
    over = ("Reconciling", "Paused", "Suspended")
    kept = {kind: c for kind, c in before.items() if kind not in over}
    return {
        **status,
        "observedGeneration": generation,
        "conditions": list((kept | conditions).values()),
    }


def troubled(portfolio: Portfolio, reason: str, message: str, *, now: datetime) -> Plan:
    """Return the plan that only says that a pass failed and is tried again."""
    said = {
        c.type: Said(c.status, c.reason, c.message)
        for c in portfolio.status.conditions
        if c.type not in ("Stalled", "Paused")
    }
    trouble = Said("True", reason, message)
    said |= {"Progressing": trouble, "Reconciling": trouble}
    said.setdefault("Ready", Said("False", reason, message))
    plan = reported(portfolio, portfolio.status, said, now=now)
    return replace(plan, events=(*told.trouble(portfolio.status, trouble), *plan.events))


def reported(
    portfolio: Portfolio, new: PortfolioStatus, said: dict[str, Said], *, now: datetime
) -> Plan:
    """Return the plan that does nothing but report a status under these conditions."""
    old, generation = portfolio.status, portfolio.metadata.generation
    new = new.model_copy(
        update={
            "observed_generation": generation,
            "revision": new.revision or revision_of(portfolio.spec),
            "conditions": status.conditions(old.conditions, said, generation=generation, now=now),
        }
    )
    return Plan(status=new, events=told.events(old, new))
