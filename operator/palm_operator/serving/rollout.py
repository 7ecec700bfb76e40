"""Rollout Recreate: policy by policy, never more servers than the larger portfolio has. Pure.

One step per pass, from what is observed alone: nothing is begun while a server of the new portfolio
does not answer or an old one is not gone. An old server goes in two steps, so that nobody is sent
to one that is being removed: first the status and the route table say that it does not take
requests any more, then it is deleted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from palm_operator.api.status import DeployedPortfolio
from palm_operator.serving.observed_services import Service

LEAVING = "it makes room for its successor"


@dataclass(frozen=True)
class Turn:
    """What is done in this pass.

    Attributes:
        applies: Servers to make or change.
        leaving: The old server of which is said that it takes no more requests.
        retires: The old server of which that has been said.
    """

    applies: tuple[dict[str, Any], ...] = ()
    leaving: str | None = None
    retires: tuple[Service, ...] = ()


def turn(
    due: Sequence[dict[str, Any]],
    *,
    wanted: frozenset[str],
    services: Sequence[Service],
    said: DeployedPortfolio | None,
) -> Turn:
    """Return the next step from the servers that are there to those that are wanted.

    Args:
        due: Manifests of servers that are missing or not as they should be.
        wanted: Names of all servers of the portfolio that is published.
        services: Our servers, those that are being deleted included.
        said: The portfolio as the status last named it.
    """
    old = [s for s in services if s.name not in wanted and not s.deleting]
    live = {s.name: s for s in services}
    changed = [m for m in due if m["metadata"]["name"] in live]
    missing = [m for m in due if m["metadata"]["name"] not in live]
    if not old and not changed:
        return Turn(applies=tuple(missing))
    unsettled = {n for n in wanted & set(live) if live[n].standing.state != "Serving"}
    mended = [m for m in changed if m["metadata"]["name"] in unsettled]
    if mended:
        return Turn(applies=(mended[0],))
    if unsettled or any(s.deleting for s in services):
        return Turn()
    if changed:
        return Turn(applies=(changed[0],))
    if not missing:
        return Turn()
    room = max(len(wanted), len({p.service for p in said.policies if p.service} if said else ()))
    if len(services) < room:
        return Turn(applies=(missing[0],))
    victim = min(old, key=lambda s: (s.standing.answers, s.name))
    if _ready(said).get(victim.name, False):
        return Turn(leaving=victim.name)
    return Turn(retires=(victim,))


def marked(shown: DeployedPortfolio, leaving: str | None) -> DeployedPortfolio:
    """Return a portfolio as it is told of while one of its servers makes room."""
    policies = [
        p.model_copy(update={"ready": False, "message": LEAVING}) if p.service == leaving else p
        for p in shown.policies
    ]
    return shown.model_copy(update={"policies": policies}) if leaving else shown


def _ready(said: DeployedPortfolio | None) -> Mapping[str, bool]:
    return {p.service: p.ready for p in said.policies if p.service} if said else {}
