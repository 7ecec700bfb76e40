"""A plan as a value, and the plans that only say something: refusals and troubles. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from palm.errors import InvalidPortfolio
from palm.policies import policy_name
from palm_operator import status, told
from palm_operator.api import Portfolio
from palm_operator.api_status import PortfolioStatus
from palm_operator.grids import GridRefused, weight_vectors
from palm_operator.observed import Job, Observed, Service
from palm_operator.publication import ready_said, service_names_fit
from palm_operator.requests import revision_of, storage_location
from palm_operator.settings import Settings
from palm_operator.status import MESSAGE_LIMIT, Event, Said, shortened
from palm_operator.times import stamp


@dataclass(frozen=True)
class ObjectWrite:
    """An object to be written to S3."""

    key: str
    content: bytes
    if_absent: bool = False
    """Whether an object that is there already stays, and is as good."""
    exclusive: bool = False
    """Whether one that is there already means that the plan is outdated."""
    claims: bool = False
    """It says what is relied on. What was found before it was there is looked at again: a purge of
    others could not know."""


@dataclass(frozen=True)
class Patch:
    """A change to be merged into an object of the Portfolio's namespace."""

    kind: Literal["Job", "JobSet", "Workload"]
    name: str
    content: Mapping[str, Any]
    """With ``metadata.uid``: another object of that name is left alone."""


@dataclass(frozen=True)
class Plan:
    """Everything to be done in one pass, and what to say afterwards."""

    status: PortfolioStatus
    creates: tuple[dict[str, Any], ...] = ()
    applies: tuple[dict[str, Any], ...] = ()
    deletes: tuple[Job | Service, ...] = ()
    patches: tuple[Patch, ...] = ()
    """In this order."""
    writes: tuple[ObjectWrite, ...] = ()
    discards: tuple[str, ...] = ()
    """Keys of objects in S3 that are not valid and are about to be made again."""
    events: tuple[Event, ...] = ()
    again_in: float | None = None
    """Seconds after which something is due by the clock alone; None: nothing is."""

    @property
    def next_pass(self) -> float | None:
        """Return in how many seconds another pass is to follow, whatever happens; None: in none."""
        return 0.0 if self.continues else self.again_in

    @property
    def continues(self) -> bool:
        """Say whether another pass follows at once: it retires what no route table names now."""
        return bool(self.writes) or any(a["kind"] == "ConfigMap" for a in self.applies)

    @property
    def acts(self) -> bool:
        """Say whether there is anything to do besides reporting and recording."""
        writes = [write for write in self.writes if not write.exclusive]
        changes = (self.creates, self.applies, self.deletes, self.patches)
        return any(changes) or bool(writes or self.discards)


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
