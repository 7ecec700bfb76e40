"""A portfolio to be published: what a manifest says, with what serving needs of it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from palm import artifacts
from palm.contract import AffineMap
from palm.errors import InvalidResult
from palm.route_table import RouteGuarantee
from palm_operator.api.portfolio import Portfolio
from palm_operator.api.status import (
    DeployedPolicy,
    DeployedPortfolio,
    Guarantee,
    ManifestReference,
    Shortfall,
    Uncovered,
)
from palm_operator.api.training import Adapter
from palm_operator.calls.requests import Policy, storage_location
from palm_operator.deciding.manifest_file import ManifestFile, Shortfalls, pinned_manifest
from palm_operator.jobs.manifests import shown_weights
from palm_operator.observed import Observed
from palm_operator.said.status import POLICIES_LIMIT, number, refreshed, shortfall


@dataclass(frozen=True)
class Chosen:
    """A manifest, and where it lies.

    Attributes:
        portfolio: Whose it is, with the spec of its serving as of now and what it was made from as
            the manifest says.
        manifest: Which policies, what they are worth, what is guaranteed.
        sha256: Of the manifest.
    """

    portfolio: Portfolio
    manifest: ManifestFile
    sha256: str

    @property
    def revision(self) -> str:
        """Return the revision that it is of."""
        return self.manifest.portfolio.revision

    @property
    def policies(self) -> tuple[Policy, ...]:
        """Return the survivors."""
        return tuple(
            Policy(
                index=policy.index,
                name=policy.name,
                digest=policy.policy_digest,
                evaluation_digest=policy.evaluation_digest,
                weights=policy.weights,
                training_weights=policy.training_weights,
            )
            for policy in self.manifest.survivors
        )

    @property
    def normalization(self) -> tuple[AffineMap, ...]:
        """Return training units to normalized ones, one per reward."""
        units = self.manifest.calibration
        pairs = zip(units.offset, units.scale, strict=True)
        return tuple(AffineMap(offset=offset, scale=scale) for offset, scale in pairs)

    @property
    def route_guarantee(self) -> RouteGuarantee:
        """Return what is guaranteed, for the route table."""
        claim = self.manifest.guarantee
        return RouteGuarantee(
            epsilon=claim.epsilon,
            delta=claim.delta,
            scope=claim.scope,
            confidence=claim.confidence,
        )


def chosen(portfolio: Portfolio, manifest: ManifestFile, *, sha256: str) -> Chosen:
    """Return a portfolio to be published, made from what its manifest says."""
    spec, inputs = portfolio.spec, manifest.inputs
    adapter = Adapter(type=inputs.training.adapter.type, rank=inputs.training.adapter.rank)
    made_from = spec.model_copy(
        update={
            "base_model": spec.base_model.model_copy(update={"uri": inputs.base_model}),
            "training": spec.training.model_copy(update={"adapter": adapter}),
        }
    )
    return Chosen(portfolio.model_copy(update={"spec": made_from}), manifest, sha256)


def kept_choice(
    portfolio: Portfolio, content: bytes, *, sha256: str, revision: str
) -> Chosen | None:
    """Return a portfolio that was published, from its manifest; None where that is another's.

    Args:
        portfolio: Whose it is.
        content: The manifest as it lies in S3.
        sha256: Of the manifest, as the status or the record says.
        revision: That it is of.
    """
    metadata = portfolio.metadata
    try:
        manifest = pinned_manifest(
            content,
            sha256=sha256,
            revision=revision,
            namespace=metadata.namespace,
            name=metadata.name,
        )
    except InvalidResult:
        return None
    return chosen(portfolio, manifest, sha256=sha256)


def deployed(
    choice: Chosen, observed: Observed, *, services: Sequence[str | None]
) -> DeployedPortfolio:
    """Return what is (being) deployed, for people.

    Args:
        choice: The portfolio.
        observed: What there is.
        services: Per survivor, the name of what serves it.
    """
    metadata, manifest = choice.portfolio.metadata, choice.manifest
    key = artifacts.manifest_copy(metadata.namespace, metadata.name, choice.sha256)
    shares = zip(manifest.survivors, manifest.cover.usage, services, strict=True)
    policies = [
        DeployedPolicy(
            name=policy.name,
            weights=[number(weight) for weight in policy.weights],
            rewards=[number(reward.mean) for reward in policy.rewards],
            usage=number(share),
            service=service,
            model=policy.name if service else None,
        )
        for policy, share, service in shares
    ]
    return refreshed(
        DeployedPortfolio(
            revision=choice.revision,
            size=len(policies),
            policies=policies[:POLICIES_LIMIT],
            guarantee=claimed(manifest),
            uncovered=_uncovered(manifest),
            manifest=ManifestReference(
                uri=artifacts.uri(storage_location(choice.portfolio.spec), key),
                sha256=choice.sha256,
            ),
        ),
        observed,
    )


def claimed(manifest: ManifestFile) -> Guarantee:
    """Return what is claimed, over the whole simplex wherever that is certified."""
    claim, cover = manifest.guarantee, manifest.cover
    proven, needed = cover.proven, cover.limit.smallest_cover if cover.limit else None
    total, grid = _shown(claim), _shown(claim.grid)
    if claim.scope == "Grid":
        return Guarantee(
            epsilon=total.epsilon,
            delta=total.delta,
            scope="Grid",
            proven=proven,
            cover_size=needed,
            grid=grid,
        )
    has_error = claim.confidence is not None and claim.eta is not None
    worst, worst_delta = claim.argmax_epsilon, claim.argmax_delta
    return Guarantee(
        epsilon=total.epsilon,
        delta=total.delta,
        scope=claim.scope,
        proven=proven,
        cover_size=needed,
        confidence=number(claim.confidence or 0.0) if has_error else None,
        eta=number(claim.eta or 0.0) if has_error else None,
        tau=number(claim.tau or 0.0),
        worst_epsilon=None if worst is None else [number(weight) for weight in worst],
        worst_delta=None if worst_delta is None else [number(weight) for weight in worst_delta],
        measured=_shown(claim.measured) if claim.measured else None,
        grid=grid,
    )


def _uncovered(manifest: ManifestFile) -> Uncovered | None:
    listed = manifest.cover.uncovered
    if not listed:
        return None
    shown = [shown_weights(missing.weights) for missing in listed[:POLICIES_LIMIT]]
    return Uncovered(count=len(listed), weights=shown)


def _shown(found: Shortfalls) -> Shortfall:
    return shortfall(found.epsilon, found.delta)
