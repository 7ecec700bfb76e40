"""Which deployment `palm rollback` goes back to, and the change of the spec that does. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from palm_cli.failures import InvalidInput, NotGranted
from palm_cli.inputs import shown, shown_name
from palm_operator.api.serving import Pin
from palm_operator.api.status import DeployedRevision, PortfolioStatus

_GIT = {
    "argocd": "Argo CD",
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
    "flux": "Flux",
}


@dataclass(frozen=True)
class Rollback:
    """A change of ``spec.serving.pin``.

    Attributes:
        before: The pin as it is; None: there is none.
        after: The pin to be; None: there is to be none.
        target: The deployment that is gone back to; None: the spec is followed again.
    """

    before: Pin | None
    after: Pin | None
    target: DeployedRevision | None = None

    @property
    def changes(self) -> bool:
        """Say whether there is anything to do."""
        return self.before != self.after

    def patch(self, resource_version: str) -> dict[str, Any]:
        """Return the JSON merge patch, for just the version that was looked at."""
        pin = self.after.model_dump(mode="json") if self.after else None
        return {
            "metadata": {"resourceVersion": resource_version},
            "spec": {"serving": {"pin": pin}},
        }

    @property
    def lines(self) -> list[str]:
        """Return the lines of YAML that the spec is to have; none where the pin is to go."""
        return _yaml(self.after) if self.after else []

    @property
    def difference(self) -> list[str]:
        """Return what changes, as a diff of YAML."""
        return [
            "  spec:",
            "    serving:",
            *(f"-{line[1:]}" for line in _yaml(self.before)[2:]),
            *(f"+{line[1:]}" for line in _yaml(self.after)[2:]),
        ]


def back_to(status: PortfolioStatus, pin: Pin | None, revision: str) -> Rollback:
    """Return the way back to a deployment.

    Args:
        status: With the last deployments.
        pin: The pin as it is.
        revision: A revision, or the number of a deployment; empty: the last before the present.

    Raises:
        NotGranted: There is no deployment to go back to.
        InvalidInput: There is none of that revision or number among the last.
    """
    present = status.portfolio.manifest.sha256 if status.portfolio else ""
    known = list(reversed(status.revisions))
    others = [entry for entry in known if entry.manifest.sha256 != present]
    if not known:
        raise NotGranted("nothing was deployed yet: there is nothing to go back to")
    if not revision:
        if not others:
            raise NotGranted(f"only one portfolio was ever deployed, {_named(known[0])}")
        return _to(others[0], pin)
    # Of one revision the last deployment but the present one, for a pruning may differ.
    matching = [e for e in [*others, *known] if revision in (e.revision, str(e.number))]
    if not matching:
        raise InvalidInput(
            f"--revision is {shown(revision)}; the last deployments are "
            f"{', '.join(_named(entry) for entry in known)}"
        )
    return _to(matching[0], pin)


def undone(pin: Pin | None) -> Rollback:
    """Return the change that follows the spec again."""
    return Rollback(before=pin, after=None)


def _to(entry: DeployedRevision, pin: Pin | None) -> Rollback:
    after = Pin(revision=entry.revision, sha256=entry.manifest.sha256)
    return Rollback(before=pin, after=after, target=entry)


def described(entry: DeployedRevision) -> str:
    """Return a deployment in words."""
    policies = f"{entry.size} {'policies' if entry.size != 1 else 'policy'}"
    return (
        f"{_named(entry)}: {policies}, epsilon={entry.epsilon}, delta={entry.delta}, deployed "
        f"{entry.deployed}"
    )


def git_owner(metadata: Mapping[str, Any]) -> str | None:
    """Return the GitOps tool that manages an object, as its managed fields tell; None: none."""
    for entry in metadata.get("managedFields") or []:
        manager = str(entry.get("manager", "")).lower()
        for part, tool in _GIT.items():
            if part in manager:
                return tool
    return None


def _named(entry: DeployedRevision) -> str:
    return f"number {entry.number} (revision {shown_name(entry.revision)})"


def _yaml(pin: Pin | None) -> list[str]:
    if pin is None:
        return ["spec:", "  serving:"]
    return [
        "spec:",
        "  serving:",
        "    pin:",
        f'      revision: "{pin.revision}"',
        f"      sha256: {pin.sha256}",
    ]
