"""Since when what is deployed, and what was deployed before. Pure; the status is the memory.

The status is written once per pass, the switch with it: whoever is killed before it has not
switched, whoever is killed after it finds the time of the switch there.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from palm_operator.api.portfolio import Portfolio
from palm_operator.api.status import DeployedPortfolio, DeployedRevision
from palm_operator.times import stamp

KEPT = 10
"""Deployments that the status remembers."""

Reason = Literal["First", "Revision", "Pruning", "Serving", "Pinned", "StatusLost"]


def dated(new: DeployedPortfolio, previous: DeployedPortfolio | None) -> DeployedPortfolio:
    """Return a portfolio with the times since when it, or some of its policies, are deployed."""
    if previous is None:
        return new
    before = {(p.name, p.service): p.since for p in previous.policies}
    policies = [p.model_copy(update={"since": before.get((p.name, p.service))})
                for p in new.policies]  # fmt: skip
    since = previous.since if is_same(new, previous) else None
    return new.model_copy(update={"policies": policies, "since": since})


def is_same(one: DeployedPortfolio, other: DeployedPortfolio) -> bool:
    """Say whether two are the same decision, served by the same servers."""
    return _identity(one) == _identity(other)


def switched(new: DeployedPortfolio, *, now: datetime) -> DeployedPortfolio:
    """Return a portfolio of which every policy answers: it is deployed, if it was not before."""
    since = new.since or stamp(now)
    policies = [p.model_copy(update={"since": p.since or since}) for p in new.policies]
    return new.model_copy(update={"policies": policies, "since": since})


def history(
    portfolio: Portfolio,
    shown: DeployedPortfolio | None,
    *,
    has_leftovers: bool,
    recorded: int,
    now: datetime,
) -> list[DeployedRevision]:
    """Return the last deployments, the one that is shown among them.

    Args:
        portfolio: With the history as it was last written.
        shown: What the status names as deployed from now on.
        has_leftovers: Whether servers that it does not need are still there.
        recorded: Number of the last deployment of this Portfolio in its record; 0: there is none.
            Where the status was lost, numbers go on behind it.
        now: The time.
    """
    past = list(portfolio.status.revisions)
    if shown is None or shown.since is None:
        return past
    is_known = past and past[-1].manifest == shown.manifest
    if is_known and past[-1].deployed == shown.since:
        return past if has_leftovers else [*_retired(past[:-1], stamp(now)), past[-1]]
    entry = DeployedRevision(
        number=max(past[-1].number if past else 0, recorded) + 1,
        revision=shown.revision,
        deployed=shown.since,
        reason=_reason(portfolio, shown, recorded),
        generation=portfolio.metadata.generation,
        size=shown.size,
        epsilon=shown.guarantee.epsilon,
        delta=shown.guarantee.delta,
        manifest=shown.manifest,
    )
    return [*past, entry][-KEPT:]


def _retired(past: Iterable[DeployedRevision], when: str) -> list[DeployedRevision]:
    return [e if e.retired else e.model_copy(update={"retired": when}) for e in past]


def _reason(portfolio: Portfolio, shown: DeployedPortfolio, recorded: int) -> Reason:
    past, pin = portfolio.status.revisions, portfolio.spec.serving.pin
    if pin is not None and pin.sha256 == shown.manifest.sha256:
        return "Pinned"
    if not past:
        return "StatusLost" if recorded else "First"
    if past[-1].revision != shown.revision:
        return "Revision"
    return "Serving" if past[-1].manifest == shown.manifest else "Pruning"


def _identity(portfolio: DeployedPortfolio) -> tuple[object, ...]:
    servers = tuple((policy.name, policy.service) for policy in portfolio.policies)
    return portfolio.revision, portfolio.manifest.sha256, servers
