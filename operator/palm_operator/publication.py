"""Publishing a portfolio: apply the new services, wait for them, switch, retire the old. Pure."""

from dataclasses import dataclass
from typing import Any

from palm_operator.api import DeployedPortfolio, Portfolio
from palm_operator.decision import Decision
from palm_operator.names import inference_service_name
from palm_operator.observed import Observed, Service, contains
from palm_operator.serving import inference_service
from palm_operator.status import Said, refreshed
from palm_operator.work import Work


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


def publication(
    portfolio: Portfolio,
    work: Work,
    decision: Decision,
    observed: Observed,
    *,
    new: DeployedPortfolio,
) -> Publication:
    """Return what publishing the decision means, given what is served already."""
    serving, previous = portfolio.spec.serving, portfolio.status.portfolio
    ours = tuple(s for s in observed.services if s.owned and not s.deleting)
    if serving.mode == "None":
        said = Said("False", "NotRequested", "spec.serving.mode is None: nothing is served")
        return Publication((), ours, new, said)
    kept = refreshed(previous, observed) if previous else None
    if len(decision.survivors) > serving.max_policies:
        said = Said("False", "TooManyPolicies", _too_many(portfolio, decision))
        return Publication((), (), kept, said, is_stuck=True)
    if not observed.serves:
        said = Said(
            "False",
            "KServeAbsent",
            "the cluster has no InferenceService resource (serving.kserve.io/v1beta1): install "
            "KServe, or set spec.serving.mode to None",
        )
        return Publication((), (), new, said, is_stuck=True)
    return _per_policy(portfolio, work, decision, observed, new=new, kept=kept)


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
        return Said("True", "Pruned", f"{shown.size} policies are chosen; none is to be served")
    ready = [p for p in served if p.ready]
    if served and len(ready) == len(served):
        return Said("True", "Serving", f"all {len(served)} policies are served")
    return Said("False", otherwise.reason, f"{len(ready)} of {len(served)} policies are served")


def _per_policy(
    portfolio: Portfolio,
    work: Work,
    decision: Decision,
    observed: Observed,
    *,
    new: DeployedPortfolio,
    kept: DeployedPortfolio | None,
) -> Publication:
    live = {service.name: service for service in observed.services}
    wanted = {
        manifest["metadata"]["name"]: manifest
        for manifest in (inference_service(portfolio, work, p) for p in decision.survivors)
    }
    foreign = set(observed.conflicts) | {s.name for s in observed.services if not s.owned}
    applies = tuple(
        manifest
        for name, manifest in wanted.items()
        if name not in foreign
        and not (name in live and (live[name].deleting or contains(live[name].body, manifest)))
    )
    ready = [n for n in wanted if n in live and live[n].owned and live[n].ready]
    all_ready = len(ready) == len(wanted) and not applies
    old = [s for s in observed.services if s.owned and not s.deleting and s.name not in wanted]
    # Nothing is retired before its successor answers.
    retires = tuple(old) if all_ready else ()
    still_serves = kept is not None and any(p.ready for p in kept.policies)
    shown = kept if still_serves and not all_ready and kept != new else new
    if all_ready:
        said = Said("True", "Published", f"all {len(wanted)} InferenceServices are Ready")
    else:
        said = Said("False", "WaitingForKServe", _waiting(len(wanted), len(ready)))
    return Publication(applies, retires, shown, said)


def _waiting(count: int, ready: int) -> str:
    how_many = f"{ready} of them are" if ready else "none is"
    return (
        f"{count} InferenceServices applied; {how_many} Ready yet; KServe's controller makes them "
        "so, see `kubectl get inferenceservices`"
    )


def _too_many(portfolio: Portfolio, decision: Decision) -> str:
    return (
        f"the portfolio has {len(decision.survivors)} policies and spec.serving.maxPolicies is "
        f"{portfolio.spec.serving.max_policies}; raise it, or raise spec.pruning.mu or alpha"
    )


def service_names_fit(portfolio: Portfolio, policy: str) -> None:
    """Raise InvalidPortfolio unless KServe's limit leaves room for a policy's service."""
    if portfolio.spec.serving.mode == "PerPolicy":
        inference_service_name(portfolio.metadata.name, portfolio.metadata.namespace, policy)
