"""What is said of a portfolio's InferenceServices: which policy, why, what happens. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from palm_operator.api.status import DeployedPortfolio
from palm_operator.calls.requests import Policy
from palm_operator.jobs.manifests import shown_weights
from palm_operator.said.status import FOREIGN_LIMIT, Said, shortened
from palm_operator.serving.observed_services import ServiceKind
from palm_operator.serving.standing import Standing

AWAITING_TURN = "AwaitingTurn"
"""Reason of a server that is not begun yet: rollout Recreate makes one after the other."""
_WAITING = "WaitingForKServe"
_DEPLOYMENTS: Mapping[ServiceKind, str] = {
    "InferenceService": "predictor",
    "LLMInferenceService": "kserve",
}
_WHAT_HAPPENS = {
    "Refused": "it is applied again, with growing pauses",
    "NotAnswering": "it is asked again, with growing pauses",
}


@dataclass(frozen=True)
class Publishing:
    """One survivor, its InferenceService, and how that stands."""

    policy: Policy
    service: str
    standing: Standing
    kind: ServiceKind = "InferenceService"

    @property
    def is_failing(self) -> bool:
        """Say whether something is wrong, as opposed to not yet done."""
        return self.standing.state in ("Failing", "Stuck")


def published_said(
    portfolio: Sequence[Publishing], *, kept: DeployedPortfolio | None
) -> tuple[Said, bool]:
    """Return the condition Published, and whether only a person can help.

    Args:
        portfolio: Every survivor.
        kept: What is served meanwhile, where that is another portfolio.
    """
    serving = [p for p in portfolio if p.standing.state == "Serving"]
    if len(serving) == len(portfolio):
        said = (
            f"all {len(serving)} policies answer" if len(serving) > 1 else "the one policy answers"
        )
        return Said("True", "Published", said), False
    meanwhile = _meanwhile(portfolio, kept)
    failing = [p for p in portfolio if p.is_failing]
    if failing:
        message = f"{_failure(failing)}{meanwhile}"
        is_stuck = all(
            p.standing.state == "Stuck" or p.standing.reason == AWAITING_TURN
            for p in portfolio
            if p not in serving
        )
        return Said("False", failing[0].standing.reason, message), is_stuck
    first = next(p for p in portfolio if p not in serving)
    message = (
        f"{len(serving)} of {len(portfolio)} policies answer; {first.policy.name}: "
        f"{shortened(first.standing.message, FOREIGN_LIMIT)}{meanwhile}"
    )
    return Said("False", _WAITING, message), False


def _failure(failing: Sequence[Publishing]) -> str:
    first = failing[0]
    others = f"; and {len(failing) - 1} more" if len(failing) > 1 else ""
    reason = first.standing.reason
    happens = _WHAT_HAPPENS.get(reason)
    if happens is None and first.standing.state == "Stuck":
        happens = f"mend it: `kubectl describe {first.kind.lower()} {first.service}`"
    elif happens is None:
        happens = (
            "Kubernetes tries again: "
            f"`kubectl logs deployment/{first.service}-{_DEPLOYMENTS[first.kind]} --all-containers`"
        )
    return (
        f"policy {first.policy.name} (weights {shown_weights(first.policy.weights)}) is not "
        f"served: {shortened(first.standing.message, FOREIGN_LIMIT)}; {happens}{others}"
    )


def _meanwhile(portfolio: Sequence[Publishing], kept: DeployedPortfolio | None) -> str:
    """Return who takes requests until all is well."""
    if kept is not None and any(policy.ready for policy in kept.policies):
        return f"; the portfolio of revision {kept.revision} keeps serving"
    answering = [p for p in portfolio if p.standing.answers and p.standing.state != "Serving"]
    return f"; {len(answering)} are served as they were before" if answering else ""
