"""What is said while policies are trained and evaluated, and when a person must help."""

from palm_operator.api.portfolio import Portfolio
from palm_operator.calls.search import Fate, Search
from palm_operator.calls.tasks import BROKEN, State, Task
from palm_operator.calls.work import Work
from palm_operator.names import Step
from palm_operator.observed import Observed
from palm_operator.said.failures import failed_said, repetition, repetition_reason
from palm_operator.said.status import Said, number
from palm_operator.said.waiting import held_up_said, refused_said, waiting_said, waiting_text

_SHOWN = 3


def is_complete(search: Search, tasks: tuple[Task, ...]) -> bool:
    """Say whether there is all the evidence that a decision needs."""
    base = [task for task in tasks if task.policy is None]
    return search.is_done and all(task.state is State.DONE for task in base)


def trained_said(
    portfolio: Portfolio,
    work: Work,
    tasks: tuple[Task, ...],
    search: Search,
    observed: Observed,
) -> Said:
    """Return the condition Trained: what is trained and evaluated is enough."""
    if problem := first_problem(portfolio, work, tasks, search, observed):
        return problem
    if is_complete(search, tasks):
        return _enough(search)
    repeated = [t for t in tasks if t.is_repetition and t.state is not State.DONE]
    if repeated:
        return Said("False", repetition_reason(repeated[0]), repetition(repeated[0]))
    if hindered := refused_said(tasks, observed.job_refusals) or waiting_said(tasks):
        return hindered
    return Said("False", stage(work, tasks), progress_message(tasks, search))


def first_problem(
    portfolio: Portfolio,
    work: Work,
    tasks: tuple[Task, ...],
    search: Search,
    observed: Observed,
) -> Said | None:
    """Return what a person must look at; None when nothing."""
    if work.problem:
        return Said("False", work.problem.reason, work.problem.message)
    if search.is_at_limit:
        return _at_limit(search)
    for state in BROKEN:
        # A failed oracle call is no problem once its weight vector is certified without it.
        broken = [
            task
            for task in tasks
            if task.state is state and (task.policy is None or not search.is_certified)
        ]
        if broken:
            return failed_said(broken, portfolio)
    refusals = {name: why for name, why in observed.job_refusals.items() if why.is_final}
    return held_up_said(tasks) or refused_said(tasks, refusals)


def doing_said(work: Work, tasks: tuple[Task, ...], search: Search, observed: Observed) -> Said:
    """Return what is being made, or what it waits for."""
    hindered = refused_said(tasks, observed.job_refusals) or waiting_said(tasks)
    if hindered is not None:
        return Said("True", hindered.reason, hindered.message)
    return Said("True", stage(work, tasks), progress_message(tasks, search))


def stage(work: Work, tasks: tuple[Task, ...]) -> str:
    """Return the reason under Progressing: what is being made now."""
    if work.affine_maps is None:
        return "EvaluatingBasePolicy"
    if work.calibration is None:
        return "TrainingExtremes"
    left = [t for t in tasks if t.state is not State.DONE]
    training = "Retraining" if work.mixed else "Training"
    return training if any(t.step is Step.TRAIN for t in left) else "Evaluating"


def progress_message(tasks: tuple[Task, ...], search: Search) -> str:
    """Return one line on what runs, for how many of how many, and what is certified so far."""
    done = search.count(Fate.EVALUATED)
    parts = []
    for step, verb in ((Step.TRAIN, "training"), (Step.EVALUATE, "evaluating")):
        running = [t for t in tasks if t.step is step and t.state is State.RUNNING]
        if running:
            parts.append(f"{verb} {_enumerated([t.subject for t in running])}")
    parts = parts or ["no Job runs"]
    parts[-1] += waiting_text(tasks)
    if search.mode == "Grid":
        return f"{'; '.join(parts)}; {done} of {search.size} policies are evaluated"
    parts.append(f"{done} of at most {search.planned} policies are evaluated")
    if search.is_certified:
        why = "what runs is let finish" if search.is_over else "more may make the portfolio smaller"
        parts.append(f"all {search.size} weight vectors are certified: {why}")
    elif search.is_calibrated:
        parts.append(f"{len(search.uncovered)} of {search.size} weight vectors are not certified")
    return "; ".join(parts)


def uncovered(search: Search) -> str:
    """Return how much of the grid is not certified, and by how much the worst misses."""
    missing = f"{len(search.uncovered)} of {search.size} weight vectors"
    if search.mode == "Grid":
        return f"{missing} have no evaluated policy"
    return (
        f"{missing} are not certified to be covered, the worst misses by {number(search.gap)} "
        "(normalized units)"
    )


def is_stuck(tasks: tuple[Task, ...], observed: Observed) -> bool:
    """Say whether nothing runs and nothing can be started, unless a person helps."""
    runs = [t for t in tasks if t.state is State.RUNNING]
    if any(t.job is None or not t.job.is_held_up for t in runs):
        return False
    refusals = observed.job_refusals
    startable = [t for t in tasks if t.state is State.STARTABLE]
    if all(t.name in refusals and refusals[t.name].is_final for t in startable):
        return True
    # Jobs that will not run occupy every place.
    places = observed.unfinished
    return bool(places) and all(job.is_held_up for job in places)


def conflict_said(observed: Observed) -> Said | None:
    """Return the complaint about objects that are not ours but have a name we need."""
    foreign = sorted(
        observed.foreign_names
        | {service.name for service in observed.services if not service.owned}
    )
    if not foreign:
        return None
    return Said(
        "False",
        "NameConflict",
        f"{_enumerated(foreign)} exists and is not controlled by this Portfolio; it is not "
        "touched: delete or rename it, or rename the Portfolio",
    )


def accepted_said(portfolio: Portfolio, work: Work) -> Said:
    """Return the condition Accepted of a Portfolio that can be carried out, with what it costs."""
    search, pruning, count = portfolio.spec.search, portfolio.spec.pruning, len(work.grid)
    mixes = ""
    if portfolio.spec.oracle.type == "MOD":
        mixes = (
            f"; spec.oracle.type is MOD: {len(portfolio.spec.rewards)} policies are trained, calls "
            "for other weight vectors only evaluate mixtures of them, and the survivors of pruning "
            "are fine-tuned before they are published"
        )
    if search.mode == "Grid":
        return Said("True", "Accepted", f"{count} weight vectors, one oracle call each{mixes}")
    return Said(
        "True",
        "Accepted",
        f"{count} weight vectors; at most {min(count, search.max_oracle_calls)} oracle calls, as "
        f"many as certify pruning mu={pruning.mu}, alpha={pruning.alpha}: tighter tolerances may "
        f"take more{mixes}",
    )


def _enough(search: Search) -> Said:
    done = search.count(Fate.EVALUATED)
    if done == search.size:
        return Said("True", "AllTrained", f"all {done} policies are trained and evaluated")
    failed = search.count(Fate.FAILED)
    lost = f"; {failed} oracle calls failed and are not needed" if failed else ""
    return Said(
        "True",
        "Certified",
        f"{done} of {search.size} weight vectors are trained and evaluated; the others are "
        f"certified to be covered without an oracle call{lost}",
    )


def _at_limit(search: Search) -> Said:
    failed = search.count(Fate.FAILED)
    lost = f", {failed} of them failed" if failed else ""
    return Said(
        "False",
        "OracleCallLimitReached",
        f"{search.spent} oracle calls are spent{lost}; spec.search.maxOracleCalls is "
        f"{search.limit}: {uncovered(search)}; raise maxOracleCalls, or spec.pruning.mu or alpha. "
        "What is deployed stays",
    )


def _enumerated(items: list[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more
