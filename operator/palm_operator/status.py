"""The status of a Portfolio: conditions that move only when something changed, and short numbers.

``Reconciling`` and ``Stalled`` are kstatus' abnormal-true conditions: present only when true.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

from palm import artifacts
from palm.contract import PolicyResult
from palm_operator.api import (
    Condition,
    DeployedPolicy,
    DeployedPortfolio,
    Guarantee,
    ManifestReference,
    OracleCalls,
    Portfolio,
    PortfolioStatus,
)
from palm_operator.decision import Decision, ledger_sha256
from palm_operator.names import Step, inference_service_name
from palm_operator.observed import Observed
from palm_operator.requests import storage_location
from palm_operator.tasks import State, Task
from palm_operator.work import Work

ORDER = (
    "Accepted",
    "Progressing",
    "Trained",
    "Pruned",
    "GuaranteeHeld",
    "Published",
    "Ready",
    "Reconciling",
    "Stalled",
)
MESSAGE_LIMIT = 2048
EVENT_LIMIT = 1000
POLICIES_LIMIT = 64
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
    stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
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
                else stamp,
            )
        )
    return result


def events(old: PortfolioStatus, new: PortfolioStatus) -> tuple[Event, ...]:
    """Return the events of the conditions whose status or reason changed."""
    before = {c.type: (c.status, c.reason) for c in old.conditions}
    changed = [c for c in new.conditions if _is_news(c, before.get(c.type))]
    return tuple(
        Event(
            type="Warning" if c.type == "Stalled" or _is_refusal(c) else "Normal",
            reason=c.reason if c.type != "Ready" else f"{'' if c.status == 'True' else 'Not'}Ready",
            message=shortened(c.message, EVENT_LIMIT),
        )
        for c in changed
    )


def oracle_calls(work: Work, tasks: tuple[Task, ...], observed: Observed) -> OracleCalls:
    """Return how many policies are asked for, under way, there, failed, and found in S3."""
    by_policy: dict[str, dict[Step, Task]] = {}
    for task in tasks:
        if task.policy is not None:
            by_policy.setdefault(task.policy.digest, {})[task.step] = task
    states = {
        digest: {step: task.state for step, task in steps.items()}
        for digest, steps in by_policy.items()
    }
    done = [d for d, s in states.items() if all(state is State.DONE for state in s.values())]
    running = [d for d, s in states.items() if State.RUNNING in s.values()]
    broken = {State.FAILED, State.EXHAUSTED, State.CONFLICT}
    failed = [d for d, s in states.items() if broken & set(s.values())]
    reused = [d for d in done if not observed.jobs_of(Step.TRAIN, d)]
    return OracleCalls(
        planned=len(work.grid),
        running=len(running),
        succeeded=len(done),
        failed=len(failed),
        reused=len(reused),
        summary=f"{len(done)}/{len(work.grid)}",
    )


def deployed(
    portfolio: Portfolio,
    work: Work,
    decision: Decision,
    *,
    manifest: bytes,
    observed: Observed,
) -> DeployedPortfolio:
    """Return what is (being) deployed, for people."""
    metadata = portfolio.metadata
    key = artifacts.manifest(metadata.namespace, metadata.name, work.revision)
    serves = portfolio.spec.serving.mode == "PerPolicy"
    results: Mapping[str, PolicyResult] = observed.evidence.results
    policies = [
        DeployedPolicy(
            name=policy.name,
            weights=[number(weight) for weight in policy.weights],
            rewards=[number(r.mean) for r in results[policy.evaluation_digest].rewards],
            usage=number(share),
            service=inference_service_name(metadata.name, metadata.namespace, policy.name)
            if serves
            else None,
        )
        for policy, share in zip(decision.survivors, decision.usage, strict=True)
    ]
    epsilon = decision.pruning.epsilon
    return refreshed(
        DeployedPortfolio(
            revision=work.revision,
            size=len(policies),
            policies=policies[:POLICIES_LIMIT],
            guarantee=Guarantee(
                epsilon=UNDEFINED if epsilon is None else number(epsilon),
                delta=number(decision.pruning.delta),
                scope="Grid",
                proven=decision.pruning.proven,
            ),
            manifest=ManifestReference(
                uri=artifacts.uri(storage_location(portfolio.spec), key),
                sha256=ledger_sha256(manifest),
            ),
        ),
        observed,
    )


def refreshed(portfolio: DeployedPortfolio, observed: Observed) -> DeployedPortfolio:
    """Return a deployed portfolio with the readiness and URLs that its services have now."""
    services = {s.name: s for s in observed.services if s.owned}
    policies = [
        policy.model_copy(
            update={
                "ready": policy.service in services and services[policy.service].ready,
                "url": services[policy.service].url if policy.service in services else None,
            }
        )
        if policy.service
        else policy
        for policy in portfolio.policies
    ]
    return portfolio.model_copy(update={"policies": policies})


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


def _is_refusal(condition: Condition) -> bool:
    return condition.type == "Accepted" and condition.status == "False"


def _is_news(condition: Condition, before: tuple[Truth, str] | None) -> bool:
    """Say whether a condition tells something that no other one tells, and not just "not yet"."""
    if condition.type in ("Progressing", "Reconciling", "GuaranteeHeld"):
        return False
    if before is None:
        return condition.status == "True" or _is_refusal(condition)
    # Ready repeats the reasons of others while it is False.
    compared = before[0] if condition.type == "Ready" else before
    return compared != (
        condition.status if condition.type == "Ready" else (condition.status, condition.reason)
    )
