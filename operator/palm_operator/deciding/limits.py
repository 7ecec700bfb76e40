"""How many policies may be published, and what is said where the smallest cover has more. Pure."""

import math
from dataclasses import dataclass, replace

from palm_operator.api.portfolio import Portfolio
from palm_operator.calls.evidence import Evidence
from palm_operator.calls.work import Work
from palm_operator.deciding.decision import Decision, best_effort
from palm_operator.observed import Observed
from palm_operator.said.guarantees import certified_of
from palm_operator.said.status import Said
from palm_operator.settings import Settings

_DIGITS = 3
_CEILING = "the operator's ceiling (PALM_MAX_POLICIES)"
_TOTAL = "the operator's ceiling of all Portfolios together (PALM_MAX_POLICIES_IN_ALL)"
_ASKED = "spec.serving.maxPolicies"


@dataclass(frozen=True)
class Allowance:
    """How many policies a Portfolio may publish.

    Attributes:
        asked: spec.serving.maxPolicies.
        ceiling: The operator's own of one Portfolio; None: it has none.
        total: The operator's own of all Portfolios together; None: it has none.
        elsewhere: How many of those are other Portfolios'.
    """

    asked: int
    ceiling: int | None
    total: int | None = None
    elsewhere: int = 0

    @property
    def own(self) -> int:
        """Return how many it may publish where no other Portfolio is."""
        return self.asked if self.ceiling is None else min(self.asked, self.ceiling)

    @property
    def most(self) -> int:
        """Return how many it may publish; 0: others have all."""
        if self.total is None:
            return self.own
        return min(self.own, max(self.total - self.elsewhere, 0))

    @property
    def is_cut(self) -> bool:
        """Say whether the operator allows a Portfolio fewer than this one asks for."""
        return self.own < self.asked

    @property
    def said(self) -> str:
        """Return whose rule holds, for people."""
        if self.most < self.own:
            return f"{_TOTAL} is {self.total}, of which other Portfolios have {self.elsewhere}"
        if self.is_cut:
            return f"{_CEILING} is {self.ceiling} ({_ASKED} is {self.asked})"
        return f"{_ASKED} is {self.asked}"

    def way_out(self, size: int) -> str:
        """Return what lets so many policies be published."""
        steps = []
        if self.asked < size:
            steps.append(f"set {_ASKED} to {size}")
        if self.ceiling is not None and self.ceiling < size:
            steps.append(f"have the administrator raise {_CEILING} to {size}")
        needed = size + self.elsewhere
        if self.total is not None and self.total < needed:
            steps.append(
                f"have the administrator raise {_TOTAL} to {needed}, or delete or shrink other "
                "Portfolios (`palm audit -A` lists theirs)"
            )
        return ", and ".join(steps)


def allowance(portfolio: Portfolio, settings: Settings, observed: Observed) -> Allowance:
    """Return how many policies a Portfolio may publish."""
    return Allowance(
        portfolio.spec.serving.max_policies,
        settings.max_policies,
        settings.max_policies_in_all,
        observed.elsewhere,
    )


def within(
    portfolio: Portfolio,
    work: Work,
    evidence: Evidence,
    cover: Decision,
    allowed: Allowance,
    preferred: frozenset[str],
) -> tuple[Decision, str]:
    """Return the decision that is to be published; or the cover, and why it is not.

    Args:
        portfolio: Whose policies they are.
        work: The determined work.
        evidence: What S3 says.
        cover: The smallest cover.
        allowed: How many policies may be published.
        preferred: Digests of policies to keep where it costs nothing.
    """
    serving, size = portfolio.spec.serving, len(cover.survivors)
    if size <= allowed.most or serving.mode == "None":
        return cover, ""
    if not allowed.most:
        return cover, too_many(allowed, size)
    best = best_effort(portfolio, work, evidence, cover, most=allowed.most, preferred=preferred)
    if serving.on_exceeded == "BestEffort":
        return best, ""
    return cover, too_many(allowed, size, best)


def cut_said(accepted: Said, allowed: Allowance) -> Said:
    """Return the condition Accepted, also of a Portfolio that asks for more than it may have."""
    if not allowed.is_cut:
        return accepted
    cut = f"; {_ASKED} is {allowed.asked}, but {_CEILING} is {allowed.ceiling}: the lower holds"
    return replace(accepted, message=f"{accepted.message}{cut}")


def too_many(allowed: Allowance, size: int, best: Decision | None = None) -> str:
    """Return why a portfolio is not published, what so few could reach, and what can be done.

    Args:
        allowed: How many may be published.
        size: How many policies it has.
        best: The best set of so many; None where none is known, as of a pinned portfolio.
    """
    if best is None or best.limit is None:
        return (
            f"the portfolio has {size} policies and {allowed.said}; {allowed.way_out(size)}, or "
            "raise spec.pruning.mu or alpha"
        )
    count, limit = len(best.survivors), best.limit
    return (
        f"{_smallest(best)} has {size} policies and {allowed.said}; the best {_policies(count)} "
        f"{'are' if count > 1 else 'is'} within {certified_of(best)}"
        f"{'' if best.pruning.proven else ' (not proven to be the best)'}. To publish all {size}, "
        f"{allowed.way_out(size)}; to publish the best {count}, set spec.serving.onExceeded to "
        f"BestEffort{_looser(limit.measure, limit.tolerance, count)}"
    )


def best_effort_said(allowed: Allowance, best: Decision) -> dict[str, Said]:
    """Return the condition GuaranteeHeld of a best effort; nothing for a cover."""
    count, limit = len(best.survivors), best.limit
    if limit is None:
        return {}
    proven = "no set of so few is closer" if best.pruning.proven else "not proven to be the best"
    message = (
        f"{_smallest(best)} has {limit.cover} policies, and {_policies(count)} "
        f"{'are' if count > 1 else 'is'} published, for {allowed.said} and "
        "spec.serving.onExceeded is BestEffort: a chosen policy is within "
        f"{certified_of(best)}; {proven} on the grid. To have all {limit.cover}, "
        f"{allowed.way_out(limit.cover)}{_looser(limit.measure, limit.tolerance, count)}"
    )
    return {"GuaranteeHeld": Said("False", "BestEffort", message)}


def _smallest(best: Decision) -> str:
    """Return what has more policies than may be published."""
    if uncovered := len(best.pruning.uncovered):
        return (
            f"{uncovered} weight vectors are not certified to be within spec.pruning of optimal, "
            "and the smallest portfolio as good as all that is trained"
        )
    return "the smallest cover"


def _policies(count: int) -> str:
    return f"{count} {'policies' if count > 1 else 'policy'}"


def _looser(measure: str, tolerance: float, count: int) -> str:
    """Return which tolerance of pruning so few policies keep, where one does."""
    shown = _rounded_up(tolerance)
    if measure == "Relative" and shown <= 1:
        return f"; with spec.pruning.mu of {shown:g}, {_cover(count)} the grid"
    if measure == "Absolute":
        return f"; with spec.pruning.alpha of {shown:g}, {_cover(count)} the grid"
    return ""


def _cover(count: int) -> str:
    return f"{count} cover" if count > 1 else "1 covers"


def _rounded_up(value: float) -> float:
    """Return a number of three digits that is not below a value."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - _DIGITS + 1)
    return float(f"{math.ceil(value / unit) * unit:.{_DIGITS}g}")
