"""Which portfolio is published: the decision, the pinned one, or the one before. Pure."""

from dataclasses import replace
from datetime import datetime

from palm.errors import InvalidPortfolio, InvalidResult
from palm.schema import sha256_of
from palm_operator.api.portfolio import Portfolio
from palm_operator.calls.work import Work
from palm_operator.deciding.limits import Allowance, too_many
from palm_operator.deciding.manifest_file import parsed_manifest, pinned_manifest
from palm_operator.observed import Observed
from palm_operator.said.status import Said, refreshed
from palm_operator.serving.chosen import Chosen, chosen, deployed
from palm_operator.serving.publication import (
    Publication,
    outdated,
    publication,
    remade,
    service_names,
)
from palm_operator.serving.revisions import dated
from palm_operator.serving.routes import renewed_routes, with_routes


def decided(
    portfolio: Portfolio,
    work: Work,
    content: bytes,
    observed: Observed,
    *,
    held: str = "",
    now: datetime,
) -> Publication:
    """Return what publishing a decision means.

    Args:
        portfolio: Whose decision, with the status that was last written.
        work: The determined work.
        content: The manifest of the decision.
        observed: What there is.
        held: Why it is not to be published, having too many policies; empty: it is.
        now: The time.
    """
    manifest = parsed_manifest(content)
    choice = chosen(portfolio, manifest, sha256=sha256_of(content))
    if portfolio.spec.suspend and not _is_begun(choice, observed):
        why = "spec.suspend is true: what is decided now is published when it is false"
        before = kept(portfolio, work, observed, now=now)
        return replace(before, published=Said("False", "Suspended", why))
    return _published(choice, work, observed, held=held, now=now)


def pinned(
    portfolio: Portfolio,
    work: Work,
    observed: Observed,
    *,
    allowed: Allowance,
    now: datetime,
) -> Publication | None:
    """Return what publishing the pinned portfolio means; None where none is pinned.

    A pin that cannot be followed changes nothing: what serves goes on.
    """
    pin, metadata = portfolio.spec.serving.pin, portfolio.metadata
    if pin is None:
        return None
    content = observed.evidence.pinned
    if content is None:
        why = "there is no such manifest in S3 below spec.storage"
        return _not_followed(portfolio, work, observed, "PinNotFound", why, now=now)
    try:
        manifest = pinned_manifest(
            content,
            sha256=pin.sha256,
            revision=pin.revision,
            namespace=metadata.namespace,
            name=metadata.name,
        )
        choice = chosen(portfolio, manifest, sha256=pin.sha256)
        if portfolio.spec.serving.mode == "SharedAdapters" and manifest.is_full:
            raise InvalidResult("its policies are full models, which share no server")
        size = len(choice.policies)
        held = too_many(allowed, size) if size > allowed.most else ""
        public = _published(choice, work, observed, held=held, now=now)
    except (InvalidResult, InvalidPortfolio) as error:
        return _not_followed(portfolio, work, observed, "PinInvalid", str(error), now=now)
    if public.published.status != "True":
        return public
    message = (
        f"{public.published.message}; spec.serving.pin holds revision {pin.revision}: what is "
        "decided of the spec otherwise is not published"
    )
    return replace(public, published=Said("True", "Pinned", message))


def kept(portfolio: Portfolio, work: Work, observed: Observed, *, now: datetime) -> Publication:
    """Return what goes on being published while a successor is made."""
    before = portfolio.status.portfolio
    shown = refreshed(before, observed) if before else None
    retires, again_in = outdated(portfolio, observed, now=now)
    return Publication(
        applies=(*remade(portfolio, work, observed), *renewed_routes(portfolio, observed, shown)),
        retires=retires,
        portfolio=shown,
        published=Said("False", "WaitingForResults", "a successor is made"),
        again_in=again_in,
    )


def _published(
    choice: Chosen, work: Work, observed: Observed, *, held: str, now: datetime
) -> Publication:
    portfolio = choice.portfolio
    new = deployed(choice, observed, services=service_names(choice, observed))
    new = dated(new, portfolio.status.portfolio)
    of_revision = replace(work, revision=choice.revision)
    public = publication(choice, of_revision, observed, new=new, too_many=held, now=now)
    if not held and portfolio.spec.serving.mode != "None":
        public = replace(public, size=len(choice.policies))
    return with_routes(public, portfolio, choice, observed)


def _is_begun(choice: Chosen, observed: Observed) -> bool:
    """Say whether a portfolio is what is deployed, or servers are being made that only it needs."""
    before = choice.portfolio.status.portfolio
    if before is not None and before.manifest.sha256 == choice.sha256:
        return True
    old = {policy.service for policy in before.policies} if before else set()
    new = {name for name in service_names(choice, observed) if name} - old
    return any(service.owned and service.name in new for service in observed.services)


def _not_followed(
    portfolio: Portfolio, work: Work, observed: Observed, reason: str, why: str, *, now: datetime
) -> Publication:
    pin = portfolio.spec.serving.pin
    named = f"revision {pin.revision}, sha256 {pin.sha256}" if pin else "nothing"
    message = (
        f"spec.serving.pin names {named}, and {why}; nothing is changed: mend or remove the pin "
        "(`palm rollback --undo`)"
    )
    before = kept(portfolio, work, observed, now=now)
    return replace(before, published=Said("False", reason, message), is_stuck=True)
