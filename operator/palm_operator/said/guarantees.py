"""What is said of a decided portfolio: how small it is, and what is guaranteed of it. Pure."""

from dataclasses import replace

from palm.noise import noise_floor
from palm_operator.calls.search import Fate, Search
from palm_operator.calls.work import Work
from palm_operator.deciding.decision import Decision
from palm_operator.deciding.guarantee import Guaranteed
from palm_operator.jobs.manifests import shown_weights
from palm_operator.said.progress import uncovered
from palm_operator.said.status import Said, number, shortfall

_SHOWN = 3
_ASSUMED = "no policy is better than the best one seen at a weight vector that was trained for"


def pruned_said(
    work: Work, decision: Decision, *, mixed: Decision | None = None, is_partial: bool = False
) -> dict[str, Said]:
    """Return the conditions Pruned and GuaranteeHeld of a decided portfolio.

    Args:
        work: The policies that it is chosen from.
        decision: The portfolio.
        mixed: The cover by mixtures whose weight vectors its policies were fine-tuned for.
        is_partial: Whether oracle calls failed, and it is the best of what there is.
    """
    proven = decision.pruning.proven
    if decision.pruning.uncovered:
        return _partially(work, decision, None if is_partial else mixed)
    held = _held(decision)
    if mixed is not None:
        held = replace(held, message=f"{held.message}. {_about(mixed)}")
    return {
        "Pruned": Said(
            "True",
            "Covered",
            f"{len(decision.survivors)} of {len(decision.outcomes.policies)} policies cover all "
            f"{len(work.grid)} weight vectors of the grid, "
            f"{'' if proven else 'not '}proven to be the smallest such set",
        ),
        "GuaranteeHeld": held,
    }


def _about(mixed: Decision) -> str:
    return (
        "This is about the fine-tuned policies, which are served; the "
        f"{len(mixed.survivors)} policies mixed at decoding, which are not, were within "
        f"{certified_of(mixed)}, if each is the best for its weight vector"
    )


def _partially(work: Work, decision: Decision, mixed: Decision | None) -> dict[str, Said]:
    """Return the same of a portfolio that does not cover the grid.

    Either spec.failurePolicy allows it although calls failed, or it took the place of mixtures that
    did.
    """
    uncovered = decision.pruning.uncovered
    missing = f"{len(uncovered)} of {len(work.grid)} weight vectors"
    first = "; ".join(f"({shown_weights(work.grid[index])})" for index in uncovered[:_SHOWN])
    more = f" and {len(uncovered) - _SHOWN} more" if len(uncovered) > _SHOWN else ""
    claim = decision.guaranteed.certificate
    found = ""
    if claim is not None:
        total = shortfall(claim.epsilon, claim.delta)
        found = (
            f"; epsilon={total.epsilon} and delta={total.delta} is what still holds for every "
            f"preference{_sampling(decision.guaranteed)}"
        )
    return {
        "Pruned": Said(
            "True",
            "PartiallyCovered",
            f"{len(decision.survivors)} of {len(decision.outcomes.policies)} policies cover "
            f"{len(work.grid) - len(uncovered)} of {len(work.grid)} weight vectors, and are as "
            "good as all of them together, within spec.pruning, at the others",
        ),
        "GuaranteeHeld": Said(
            "False",
            "RetrainedNotCertified",
            f"{missing} are not certified to be within spec.pruning of optimal: {first}{more} "
            f"(status.portfolio.uncovered){found}. {_about(mixed)}. With spec.oracle.type FineTune "
            "the search goes on until all are certified, and trains nothing twice",
        )
        if mixed is not None
        else Said(
            "False",
            "PartialPortfolio",
            f"oracle calls failed and spec.failurePolicy is AllowPartial: {missing} are not "
            f"certified to be within spec.pruning of optimal: {first}{more} "
            f"(status.portfolio.uncovered){found}",
        ),
    }


def uncertified_said(search: Search, found: Guaranteed) -> Said:
    """Return the condition GuaranteeHeld of a search that ended without a certificate.

    Args:
        search: How far it came.
        found: What could be claimed if every policy evaluated were kept.
    """
    best = ""
    if found.certificate is not None:
        all_kept = shortfall(found.certificate.epsilon, found.certificate.delta)
        best = (
            f"; all {search.count(Fate.EVALUATED)} evaluated policies together would be within "
            f"epsilon={all_kept.epsilon} and delta={all_kept.delta} for every preference"
            f"{_sampling(found)}"
        )
    return Said("False", "NotCertified", f"{uncovered(search)}{best}")


def certified_of(decision: Decision) -> str:
    """Return how far from optimal a decision leaves anybody, and in which scope, for people."""
    found, pruning = decision.guaranteed, decision.pruning
    if found.certificate is None:
        grid = shortfall(pruning.epsilon, pruning.delta)
        return (
            f"epsilon={grid.epsilon} (relative) and delta={grid.delta} (normalized units) of "
            "optimal at every weight vector of the grid, as measured"
        )
    total = shortfall(found.certificate.epsilon, found.certificate.delta)
    return (
        f"epsilon={total.epsilon} (relative) and delta={total.delta} (normalized units) of optimal "
        f"for every preference{_sampling(found)}"
    )


def _held(decision: Decision) -> Said:
    found, pruning = decision.guaranteed, decision.pruning
    if found.certificate is None:
        grid = shortfall(pruning.epsilon, pruning.delta)
        return Said(
            "True",
            "GridCovered",
            f"at every weight vector of the grid a chosen policy is within epsilon={grid.epsilon} "
            f"(relative) and delta={grid.delta} (normalized units) of optimal, as measured; "
            f"between them nothing is claimed. Assumes that {_ASSUMED}",
        )
    total = shortfall(found.certificate.epsilon, found.certificate.delta)
    worst = shown_weights(tuple(float(x) for x in found.certificate.argmax_delta))
    return Said(
        "True",
        "SimplexCertified",
        f"for every preference a chosen policy is within epsilon={total.epsilon} (relative) and "
        f"delta={total.delta} (normalized units, worst at {worst}) of optimal{_sampling(found)}. "
        f"Assumes that {_ASSUMED}{_noise(decision)}",
    )


def _sampling(found: Guaranteed) -> str:
    if found.eta is None or found.measured is None:
        return ", as measured: the sampling error is not known"
    measured = shortfall(found.measured.epsilon, found.measured.delta)
    return (
        f", with confidence {number(found.confidence)}: the sampling error eta={number(found.eta)} "
        f"is included, without it epsilon={measured.epsilon}, delta={measured.delta}"
    )


def _noise(decision: Decision) -> str:
    """Say so where pruning tells policies apart that the evaluation cannot."""
    floor, tolerated = noise_floor(eta=decision.guaranteed.eta or 0.0, tau=0.0), decision.tolerated
    if not floor > tolerated:
        return ""
    return (
        f". spec.pruning tolerates {number(tolerated)} where sampling alone may make a difference "
        f"of {number(floor)}: more evaluation prompts or samples bring them together"
    )
