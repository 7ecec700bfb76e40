"""What is deployed, where the status does not say it any more. Pure.

A status may be lost: backups leave it out, and other versions may not be able to read it. What
serves must go on serving until a successor answers, so it is taken from the record and its
manifest. Since when it is deployed is not taken: that it is, is what is told anew.
"""

from collections.abc import Iterable

from palm_operator.api.portfolio import Portfolio
from palm_operator.observed import Observed
from palm_operator.record.chain import Recorded
from palm_operator.serving.chosen import deployed, kept_choice
from palm_operator.serving.observed_services import Service
from palm_operator.serving.publication import has_lost_servers, service_names


def deployed_manifest(
    portfolio: Portfolio, services: Iterable[Service], record: Recorded
) -> str | None:
    """Return the SHA-256 of the manifest of what is deployed, where it is needed.

    It is where servers are to be made again from it, or where the status was lost.
    """
    said = portfolio.status.portfolio
    if said is not None:
        return said.manifest.sha256 if has_lost_servers(portfolio, services) else None
    last = record.deployment(portfolio.metadata.uid)
    return last.manifest.sha256 if last else None


def recalled(portfolio: Portfolio, observed: Observed) -> Portfolio:
    """Return a Portfolio whose status says what is deployed, as far as anybody knows it.

    Args:
        portfolio: With the status that was last written, or none.
        observed: What there is; the manifest of the last deployment, where the status was lost.
    """
    metadata, content, record = portfolio.metadata, observed.evidence.deployed, observed.record
    last = record.deployment(metadata.uid) if record else None
    if portfolio.status.portfolio is not None or last is None or content is None:
        return portfolio
    choice = kept_choice(portfolio, content, sha256=last.manifest.sha256, revision=last.revision)
    if choice is None:
        return portfolio
    known = deployed(choice, observed, services=service_names(choice, observed))
    status = portfolio.status.model_copy(update={"portfolio": known})
    return portfolio.model_copy(update={"status": status})
