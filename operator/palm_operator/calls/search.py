"""Which oracle calls are made next, and when they are enough: pure, from what S3 and Jobs say.

A policy of the grid is evaluated (it is evidence), in flight (it will be), failed (a person must
look), lost (it may be tried again) or open (nothing was done for it). Evidence counts whoever made
it: what another mode, revision or Portfolio trained is not trained again. The search asks for more
until all of the grid is certified to be covered within ``spec.pruning``, or until
``spec.search.maxOracleCalls`` are spent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import lru_cache
from typing import Literal

import numpy as np

from palm.rational import parse_decimal
from palm.search import SearchStep, Target, next_batch
from palm_operator.api.portfolio import Portfolio
from palm_operator.calls.grids import WeightVectors
from palm_operator.calls.outcomes import is_evaluated, outcomes_of
from palm_operator.calls.requests import Policy
from palm_operator.calls.tasks import BROKEN, State, Task, policy_tasks
from palm_operator.calls.work import Work
from palm_operator.jobs.job_kinds import name_of
from palm_operator.names import Step
from palm_operator.observed import Observed

Mode = Literal["Grid", "Adaptive", "Propose"]


class Fate(Enum):
    """How far a policy of the grid is."""

    EVALUATED = auto()
    IN_FLIGHT = auto()
    """It is being trained, or trained and not evaluated yet."""
    FAILED = auto()
    """Its Jobs will not get further by themselves."""
    LOST = auto()
    """Its Job ended without what it was to make; it may be tried again, the call is spent."""


@dataclass(frozen=True)
class Search:
    """How far the search is.

    Attributes:
        mode: How weight vectors are chosen.
        called: The policies whose tasks matter, most urgent first: the extremes, all that is begun,
            and what is to be trained next.
        fates: How far each policy for which an oracle call was made is, by index in the grid.
        size: Weight vectors of the grid.
        limit: ``maxOracleCalls``.
        uncovered: Weight vectors that are not certified to be covered, ascending.
        due: How many of the called are to be trained next.
        wants_more: Whether there is a weight vector to train that the limit does not allow.
        is_over: Whether no further policy is wanted; one in flight may be superfluous.
        is_calibrated: Whether the units of weights are frozen, without which nothing is certified.
        gap: By how much the worst of the uncovered misses, in normalized units.
    """

    mode: Mode
    called: tuple[Policy, ...]
    fates: dict[int, Fate]
    size: int
    limit: int
    uncovered: tuple[int, ...]
    due: int = 0
    wants_more: bool = False
    is_over: bool = False
    is_calibrated: bool = False
    gap: float = 0.0

    def count(self, fate: Fate) -> int:
        """Return how many policies have a fate."""
        return sum(each is fate for each in self.fates.values())

    @property
    def is_certified(self) -> bool:
        """Say whether every weight vector of the grid is certified to be covered."""
        return not self.uncovered

    @property
    def is_done(self) -> bool:
        """Say whether it is certified and nothing more is made that may add evidence."""
        return self.is_certified and not self.due and not self.count(Fate.IN_FLIGHT)

    @property
    def is_at_limit(self) -> bool:
        """Say whether it ends without a certificate because the oracle calls are spent."""
        return self.wants_more and not self.is_certified and not self.count(Fate.IN_FLIGHT)

    @property
    def spent(self) -> int:
        """Return the oracle calls made or under way, failed ones and those found in S3 included."""
        return len(self.fates)

    @property
    def saved(self) -> int:
        """Return the weight vectors that are certified to be covered without an oracle call."""
        return self.size - self.spent - self._ahead

    @property
    def planned(self) -> int:
        """Return the oracle calls when all is done: at most so many, exactly so many at the end."""
        return self.spent + min(self._ahead, max(self.limit - self.spent, 0))

    @property
    def _ahead(self) -> int:
        """Return the weight vectors that may still have to be trained."""
        if self.is_done or (self.is_certified and self.mode == "Adaptive"):
            return 0
        if self.mode == "Propose":
            return self.size - self.spent  # a certified one may be trained for a smaller portfolio
        return sum(index not in self.fates for index in self.uncovered)


def search_of(portfolio: Portfolio, work: Work, observed: Observed) -> Search:
    """Return how far the search is, and what is to be trained next."""
    evidence, settings = observed.evidence, portfolio.spec.search
    fates = fates_of(portfolio, work, observed)
    extremes = sorted(work.extremes, key=lambda policy: policy.index)
    open_ = [p for p in work.policies if fates.get(p.index) in (None, Fate.LOST)]
    begun = [
        p for p in work.policies if fates.get(p.index) not in (None, Fate.LOST) and not p.is_extreme
    ]
    unknown = tuple(i for i in range(len(work.grid)) if fates.get(i) is not Fate.EVALUATED)
    found = Search(
        mode=settings.mode,
        called=(*extremes, *begun),
        fates=fates,
        size=len(work.grid),
        limit=settings.max_oracle_calls,
        uncovered=unknown,
    )
    if work.calibration is None or not all(is_evaluated(p, evidence) for p in work.extremes):
        return found
    found = replace(found, is_calibrated=True)
    if settings.mode == "Grid":
        return replace(found, called=(*found.called, *open_), due=len(open_), is_over=not unknown)
    outcomes = outcomes_of(portfolio, work, work.calibration, evidence)
    in_flight = _of(fates, Fate.IN_FLIGHT)
    step = _step(
        work.grid,
        tuple(outcomes.by_index.items()),
        in_flight,
        _of(fates, Fate.FAILED),
        settings.mode,
        (portfolio.spec.pruning.mu, portfolio.spec.pruning.alpha),
        max(portfolio.spec.training.parallelism - len(in_flight), 1),
    )
    following = _allowed(step.batch, fates, max(found.limit - found.spent, 0))
    return replace(
        found,
        called=(*found.called, *(work.policies[index] for index in following)),
        uncovered=step.uncovered,
        due=len(following),
        wants_more=bool(step.batch) and not following,
        is_over=step.is_complete,
        gap=step.gap,
    )


def _allowed(batch: tuple[int, ...], fates: Mapping[int, Fate], calls: int) -> list[int]:
    """Return what may be trained of a batch; to try again is no further call."""
    following = []
    for index in batch:
        if index in fates:
            following.append(index)
        elif calls > 0:
            following.append(index)
            calls -= 1
    return following


def fates_of(portfolio: Portfolio, work: Work, observed: Observed) -> dict[int, Fate]:
    """Return the fates of the policies for which an oracle call was made, or cannot be."""
    evidence, made = observed.evidence, observed.digests_with_jobs
    foreign = observed.foreign_names
    fates: dict[int, Fate] = {}
    for policy in work.policies:
        step, digest = policy.oracle_call
        done = evidence.results if step is Step.EVALUATE else evidence.trained
        if (
            digest in done
            or not made.isdisjoint((policy.digest, policy.evaluation_digest))
            or (foreign and name_of(portfolio, step, policy.name) in foreign)
        ):
            fates[policy.index] = _fate(*policy_tasks(portfolio, observed, policy))
    return fates


def _fate(evaluation: Task, training: Task) -> Fate:
    if training.state is State.DONE and evaluation.state is State.DONE:
        return Fate.EVALUATED
    if training.state in BROKEN or evaluation.state in BROKEN:
        return Fate.FAILED
    if training.state in (State.DONE, State.RUNNING):
        return Fate.IN_FLIGHT
    return Fate.LOST


def _of(fates: Mapping[int, Fate], fate: Fate) -> tuple[int, ...]:
    return tuple(index for index, each in fates.items() if each is fate)


@lru_cache(maxsize=64)
def _step(
    grid: WeightVectors,
    utilities: tuple[tuple[int, tuple[float, ...]], ...],
    in_flight: tuple[int, ...],
    failed: tuple[int, ...],
    mode: Mode,
    tolerances: tuple[str, str],
    size: int,
) -> SearchStep:
    """A resync must not pay again for what has been decided on the same evidence."""
    mu, alpha = (float(parse_decimal(text)) for text in tolerances)
    return next_batch(
        weights=np.array(grid),
        utilities=dict(utilities),
        in_flight=in_flight,
        failed=failed,
        mode=mode,
        target=Target(mu=mu, alpha=alpha),
        size=size,
    )
