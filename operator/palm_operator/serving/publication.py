"""Publishing a portfolio: apply the new services, wait for them, switch, retire the old. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from palm_operator.api.portfolio import Portfolio
from palm_operator.api.status import DeployedPortfolio
from palm_operator.calls.requests import Policy
from palm_operator.calls.work import Work
from palm_operator.names import inference_service_name, shared_service_name
from palm_operator.objects import contains
from palm_operator.observed import Observed
from palm_operator.said.servers import AWAITING_TURN, Publishing, published_said
from palm_operator.said.status import Said, refreshed
from palm_operator.serving.chosen import Chosen, kept_choice
from palm_operator.serving.inference_services import as_it_runs, inference_service
from palm_operator.serving.observed_services import Service, ServiceKind
from palm_operator.serving.revisions import is_same, switched
from palm_operator.serving.rollout import Turn, marked, turn
from palm_operator.serving.shared import shared_name, shared_server
from palm_operator.serving.standing import Standing
from palm_operator.times import remaining


@dataclass(frozen=True)
class Publication:
    """What publishing means now."""

    applies: tuple[dict[str, Any], ...]
    retires: tuple[Service, ...]
    portfolio: DeployedPortfolio | None
    """What the status names as deployed."""
    published: Said
    is_stuck: bool = False
    """Whether only a person can help."""
    size: int = 0
    """How many policies it publishes, or is about to; 0: none but those that are deployed."""
    is_new: bool = False
    """Whether the portfolio is the one that is published, as opposed to the one before it."""
    again_in: float | None = None
    """Seconds until something is to be retired; None: nothing waits for a time."""


def publication(
    choice: Chosen,
    work: Work,
    observed: Observed,
    *,
    new: DeployedPortfolio,
    too_many: str = "",
    now: datetime,
) -> Publication:
    """Return what publishing a portfolio means, given what is served already.

    Args:
        choice: The portfolio to be published, with the status that was last written.
        work: The work of the revision that is published.
        observed: What there is.
        new: The portfolio as the status tells it.
        too_many: Why it is not to be published, having more policies than are allowed; empty: it
            has not.
        now: The time, for the switch and what is retired after it.
    """
    portfolio = choice.portfolio
    serving, previous = portfolio.spec.serving, portfolio.status.portfolio
    if serving.mode == "None":
        said = Said("False", "NotRequested", "spec.serving.mode is None: nothing is served")
        shown = switched(new, now=now)
        retires, again_in = retired(portfolio, observed, wanted=frozenset(), now=now)
        return Publication((), retires, shown, said, is_new=True, again_in=again_in)
    kept = refreshed(previous, observed) if previous else None
    if too_many:
        meanwhile = f"; revision {kept.revision} keeps serving" if kept else ""
        said = Said("False", "TooManyPolicies", f"{too_many}{meanwhile}")
        return Publication(remade(portfolio, work, observed), (), kept, said, is_stuck=True)
    shares = serving.mode == "SharedAdapters"
    if not (observed.serves or (shares and observed.serves_llms)):
        said = Said(
            "False",
            "KServeAbsent",
            "the cluster has no InferenceService resource (serving.kserve.io/v1beta1): install "
            "KServe, or set spec.serving.mode to None; it is looked for at every resync, and "
            "nothing is trained again for it",
        )
        return Publication((), (), new, said, is_stuck=True, is_new=True)
    servers = _wanted(choice, work, observed)
    public = _published(portfolio, servers, observed, new=new, kept=kept, now=now)
    if public.is_new or serving.rollout == "Recreate":
        return public
    return replace(public, applies=(*public.applies, *remade(portfolio, work, observed)))


def has_lost_servers(portfolio: Portfolio, services: Iterable[Service]) -> bool:
    """Say whether servers of what is deployed are not there."""
    return not _services(portfolio.status.portfolio) <= {service.name for service in services}


def remade(portfolio: Portfolio, work: Work, observed: Observed) -> tuple[dict[str, Any], ...]:
    """Return the servers of what is deployed that somebody removed while a successor is made.

    With the rollout Recreate only where none but those are there: else they made room.
    """
    said, content = portfolio.status.portfolio, observed.evidence.deployed
    serving = portfolio.spec.serving
    if said is None or content is None or serving.mode == "None" or not observed.serves:
        return ()
    deployed, there = _services(said), {service.name for service in observed.services}
    if serving.rollout == "Recreate" and not there <= deployed:
        return ()
    choice = kept_choice(portfolio, content, sha256=said.manifest.sha256, revision=said.revision)
    if choice is None or (serving.mode == "SharedAdapters" and choice.manifest.is_full):
        return ()
    servers = _wanted(choice, replace(work, revision=choice.revision), observed)
    lost = deployed - there - set(observed.conflicts)
    return tuple(server.manifest for name, server in servers.items() if name in lost)


def retired(
    portfolio: Portfolio, observed: Observed, *, wanted: frozenset[str], now: datetime
) -> tuple[tuple[Service, ...], float | None]:
    """Return the servers to retire, and in how many seconds others are due; None: none is.

    Nothing is retired before the status has said where its successor is, and then a while later.

    Args:
        portfolio: With the status that was last written.
        observed: What there is.
        wanted: Servers that are needed from now on.
        now: The time.
    """
    said = portfolio.status.portfolio
    left = leftovers(observed, wanted)
    if not left or said is None or said.since is None or _services(said) != wanted:
        return (), None
    wait = remaining(said.since, portfolio.spec.serving.retire_after, now=now)
    return ((), wait) if wait else (left, None)


def leftovers(observed: Observed, wanted: frozenset[str]) -> tuple[Service, ...]:
    """Return our servers that are none of those that are needed."""
    ours = [s for s in observed.services if s.owned and not s.deleting]
    return tuple(s for s in ours if s.name not in wanted)


def outdated(
    portfolio: Portfolio, observed: Observed, *, now: datetime
) -> tuple[tuple[Service, ...], float | None]:
    """Return what to retire while a successor is made: all but what is deployed, if that serves."""
    said = portfolio.status.portfolio
    if said is None or not all(p.ready for p in refreshed(said, observed).policies if p.service):
        return (), None
    return retired(portfolio, observed, wanted=frozenset(_services(said)), now=now)


def service_names(choice: Chosen, observed: Observed) -> list[str | None]:
    """Return the name of what serves each survivor; None where nothing is to.

    Raises:
        InvalidPortfolio: The namespace's name leaves no room for a name.
    """
    portfolio, policies = choice.portfolio, choice.policies
    mode, metadata = portfolio.spec.serving.mode, portfolio.metadata
    if mode == "SharedAdapters":
        kind = _shared_kind(portfolio, observed)
        return [shared_name(portfolio, policies, kind)] * len(policies)
    if mode == "PerPolicy":
        return [inference_service_name(metadata.name, metadata.namespace, p.name) for p in policies]
    return [None] * len(policies)


def ready_said(portfolio: Portfolio, shown: DeployedPortfolio | None, *, otherwise: Said) -> Said:
    """Return the condition Ready: it speaks of what is served, also while a successor is made.

    Args:
        portfolio: The Portfolio.
        shown: What the status names as deployed.
        otherwise: What keeps a portfolio from being served.
    """
    if shown is None:
        return Said("False", otherwise.reason, otherwise.message)
    served = [p for p in shown.policies if p.service]
    if portfolio.spec.serving.mode == "None" and not served:
        them = "policies are" if shown.size > 1 else "policy is"
        return Said("True", "Pruned", f"{shown.size} {them} chosen; none is to be served")
    ready = [p for p in served if p.ready]
    if served and len(ready) == len(served):
        all_of_them = f"all {len(served)} policies are" if len(served) > 1 else "the one policy is"
        return Said("True", "Serving", f"{all_of_them} served")
    silent = next((f"; {p.name}: {p.message}" for p in served if not p.ready and p.message), "")
    message = f"{len(ready)} of {len(served)} policies are served{silent}"
    return Said("False", otherwise.reason, message)


@dataclass(frozen=True)
class _Server:
    """One object of KServe's, and the policies it is to serve."""

    manifest: dict[str, Any]
    policies: tuple[Policy, ...]


def _wanted(choice: Chosen, work: Work, observed: Observed) -> dict[str, _Server]:
    """Return the servers that a portfolio needs, by name."""
    portfolio, policies = choice.portfolio, choice.policies
    live = {service.name: service.body for service in observed.services}
    if portfolio.spec.serving.mode == "SharedAdapters":
        kind = _shared_kind(portfolio, observed)
        made = [_Server(shared_server(portfolio, work, policies, kind), policies)]
    else:
        made = [_Server(inference_service(portfolio, work, p), (p,)) for p in policies]
    by_name = {server.manifest["metadata"]["name"]: server for server in made}
    return {
        name: replace(server, manifest=as_it_runs(server.manifest, live.get(name)))
        for name, server in by_name.items()
    }


def _shared_kind(portfolio: Portfolio, observed: Observed) -> ServiceKind:
    # A runtime to pin is a wish that only an InferenceService knows.
    wishes_runtime = portfolio.spec.serving.runtime is not None
    serves_llms = observed.serves_llms and not (observed.serves and wishes_runtime)
    return "LLMInferenceService" if serves_llms else "InferenceService"


def _published(
    portfolio: Portfolio,
    servers: Mapping[str, _Server],
    observed: Observed,
    *,
    new: DeployedPortfolio,
    kept: DeployedPortfolio | None,
    now: datetime,
) -> Publication:
    step = _step(portfolio, servers, observed)
    applied = {manifest["metadata"]["name"] for manifest in step.applies}
    publishing = _publishing(servers, observed, applied)
    all_serve = all(p.standing.state == "Serving" for p in publishing)
    keeps = kept is not None and not all_serve and _keeps(portfolio, kept, new)
    shown = kept if keeps and kept is not None else new
    said, is_stuck = published_said(publishing, kept=kept if keeps else None)
    retires, again_in = step.retires, None
    if all_serve:
        shown = switched(shown, now=now)
        retires, again_in = retired(portfolio, observed, wanted=frozenset(servers), now=now)
    for leaving in (step.leaving, *(service.name for service in step.retires)):
        shown = marked(shown, leaving)
    return Publication(
        step.applies, retires, shown, said, is_stuck, is_new=not keeps, again_in=again_in
    )


def _step(portfolio: Portfolio, servers: Mapping[str, _Server], observed: Observed) -> Turn:
    """Return which servers are made, changed and, to make room for them, taken away now."""
    live = {service.name: service for service in observed.services}
    foreign = set(observed.conflicts) | {s.name for s in observed.services if not s.owned}
    due = tuple(
        server.manifest
        for name, server in servers.items()
        if name not in foreign
        and not (
            name in live and (live[name].deleting or contains(live[name].body, server.manifest))
        )
    )
    if portfolio.spec.serving.rollout == "BlueGreen":
        return Turn(applies=due)
    ours = [service for service in observed.services if service.owned]
    said = portfolio.status.portfolio
    return turn(due, wanted=frozenset(servers), services=ours, said=said)


def _publishing(
    servers: Mapping[str, _Server], observed: Observed, applied: set[str]
) -> list[Publishing]:
    live = {service.name: service for service in observed.services}
    return [
        Publishing(policy, name, _standing(name, live, applied, observed), server.manifest["kind"])
        for name, server in servers.items()
        for policy in server.policies
    ]


def _keeps(portfolio: Portfolio, kept: DeployedPortfolio, new: DeployedPortfolio) -> bool:
    """Say whether the portfolio before is still what users are sent to."""
    answering = sum(policy.ready for policy in kept.policies)
    if is_same(kept, new):
        return False
    if portfolio.spec.serving.rollout == "BlueGreen":
        return answering > 0
    return answering > sum(policy.ready for policy in new.policies)


def _standing(
    name: str, live: Mapping[str, Service], applied: set[str], observed: Observed
) -> Standing:
    """Return how a service stands in view of what is done to it just now."""
    if name in observed.refusals:
        before = live[name].standing.answers if name in live else False
        return Standing("Failing", "Refused", observed.refusals[name], answers=before)
    if name not in live and name not in applied:
        return Standing("Starting", AWAITING_TURN, "its server waits for its turn")
    if name not in live:
        return Standing("Starting", "Applied", "its server is being made")
    if name in applied:
        return replace(live[name].standing, state="Starting", message="it is being changed")
    return live[name].standing


def _services(portfolio: DeployedPortfolio | None) -> set[str]:
    return {p.service for p in portfolio.policies if p.service} if portfolio else set()


def service_names_fit(portfolio: Portfolio, policy: str) -> None:
    """Raise InvalidPortfolio unless KServe's limit leaves room for a policy's service."""
    metadata, mode = portfolio.metadata, portfolio.spec.serving.mode
    if mode == "PerPolicy":
        inference_service_name(metadata.name, metadata.namespace, policy)
    elif mode == "SharedAdapters":
        shared_service_name(metadata.name, metadata.namespace, "0" * 32)
