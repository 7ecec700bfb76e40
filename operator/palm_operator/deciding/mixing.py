"""The oracle that mixes at decoding (MOD): its policies choose, fine-tuned ones are served. Pure.

The search asks for mixtures of the extreme policies, and pruning finds a cover of the grid by
them. No stock server can serve a mixture, so policies are fine-tuned for the cover's weight vectors
and evaluated. What is published is decided anew, from the fine-tuned policies alone. The mixtures
stay in that decision as what is possible: where one of them was better, the guarantee has it.
"""

from dataclasses import dataclass

from palm_operator.api.portfolio import Portfolio
from palm_operator.calls import partial
from palm_operator.calls.requests import Policy
from palm_operator.calls.search import Fate, Search, fates_of
from palm_operator.calls.tasks import Task, held, tasks_of
from palm_operator.calls.work import Work
from palm_operator.deciding.decision import Decision, decide
from palm_operator.deciding.limits import Allowance, within
from palm_operator.observed import Observed
from palm_operator.said import progress
from palm_operator.said.guarantees import certified_of
from palm_operator.said.status import Said


@dataclass(frozen=True)
class Stage:
    """A search, and how far it is.

    Attributes:
        work: The policies that it asks for.
        search: Which of them, and when they are enough.
        tasks: What is to be made for it.
        is_partial: Whether the best of what there is shall do, as oracle calls failed.
        is_ready: Whether there is all that a decision needs.
    """

    work: Work
    search: Search
    tasks: tuple[Task, ...]
    is_partial: bool
    is_ready: bool


@dataclass(frozen=True, eq=False)
class Mixed:
    """A cover of the grid by mixtures, and how far the policies are that take their place.

    Attributes:
        decision: The cover; its certificate is about the mixtures.
        search: The search that found it.
        retraining: Of the policies that can be served, at the cover's weight vectors.
        held: Why nothing is fine-tuned for it, being too large to be published; empty: it is.
    """

    decision: Decision
    search: Search
    retraining: Stage
    held: str

    @property
    def is_ready(self) -> bool:
        """Say whether what is to be published can be decided."""
        return self.retraining.is_ready and not self.held

    @property
    def held_said(self) -> Said | None:
        """Return why nothing goes on; None where it does."""
        if not self.held:
            return None
        return Said("False", "TooManyPolicies", f"{self.held}. Nothing is fine-tuned for it")


def stage_of(portfolio: Portfolio, work: Work, search: Search, observed: Observed) -> Stage:
    """Return how far a search is."""
    tasks = tasks_of(portfolio, work, observed, search.called)
    if work.problem is not None and work.problem.holds:
        tasks = held(tasks)
    is_partial = partial.is_allowed(portfolio, work, search, tasks, observed)
    is_ready = not work.problem and (is_partial or progress.is_complete(search, tasks))
    return Stage(work, search, tasks, is_partial, is_ready)


def mixed_cover(
    portfolio: Portfolio, asked: Stage, observed: Observed, allowed: Allowance
) -> Mixed:
    """Return the cover by mixtures, and the retraining of its policies.

    Args:
        portfolio: Whose policies they are.
        asked: The search among mixtures, of which there is enough.
        observed: What there is.
        allowed: How many policies may be published: more are not fine-tuned either.
    """
    work, evidence, none = asked.work, observed.evidence, frozenset[str]()
    cover = decide(portfolio, work, evidence, is_partial=asked.is_partial)
    decision, held = within(portfolio, work, evidence, cover, allowed, none)
    search = retraining_search(
        portfolio, work.served, decision.survivors, observed, held=bool(held)
    )
    retraining = stage_of(portfolio, work.served, search, observed)
    return Mixed(decision, asked.search, retraining, held)


def retraining_search(
    portfolio: Portfolio,
    work: Work,
    survivors: tuple[Policy, ...],
    observed: Observed,
    *,
    held: bool = False,
) -> Search:
    """Return the search that asks for the policies of some weight vectors, all of them.

    Args:
        portfolio: Whose policies they are.
        work: The policies that can be served.
        survivors: Whose weight vectors are meant.
        observed: What there is.
        held: Whether none is to be made.
    """
    wanted = {policy.index for policy in (*work.extremes, *survivors)}
    fates = fates_of(portfolio, work, observed)
    fates = {index: fate for index, fate in fates.items() if index in wanted}
    missing = tuple(i for i in sorted(wanted) if fates.get(i) is not Fate.EVALUATED)
    inner = [work.policies[i] for i in sorted(wanted) if not work.policies[i].is_extreme]
    return Search(
        mode="Grid",
        called=work.extremes if held else (*work.extremes, *inner),
        fates=fates,
        size=len(wanted),
        limit=len(wanted),
        uncovered=missing,
        due=0 if held else sum(fates.get(i) in (None, Fate.LOST) for i in missing),
        is_over=not missing,
        is_calibrated=True,
    )


def unasked(stage: Stage) -> frozenset[str]:
    """Return the digests of what may be trained in place of mixtures, and is not wanted now."""
    if not stage.work.mixed:
        return frozenset()
    asked = {task.digest for task in stage.tasks}
    return frozenset(p.digest for p in stage.work.policies if p.digest not in asked)


def retraining_said(mixed: Mixed) -> Said:
    """Return the condition Pruned while the policies of the cover are fine-tuned."""
    decision = mixed.decision
    return Said(
        "False",
        "Retraining",
        f"{len(decision.survivors)} of {len(decision.outcomes.policies)} policies, mixed at "
        f"decoding, cover the grid: within {certified_of(decision)}, if each is the best for its "
        "weight vector. They cannot be served: policies are fine-tuned for their weight vectors, "
        "and what is published is pruned and certified from those",
    )


def retrained_said(mixed: Mixed) -> Said:
    """Return the condition Trained once they are."""
    asked, made = mixed.search, mixed.retraining.search
    return Said(
        "True",
        "Retrained",
        f"{asked.count(Fate.EVALUATED)} of {asked.size} weight vectors are evaluated, mixed at "
        f"decoding where no policy was trained; the {made.count(Fate.EVALUATED)} fine-tuned "
        "policies of the single rewards and of the survivors are trained and evaluated",
    )
