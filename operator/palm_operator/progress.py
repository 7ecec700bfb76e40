"""What is said while policies are trained and evaluated, and when a person must help."""

from palm_operator.api import DeployedPortfolio
from palm_operator.names import LAST_ATTEMPT, Step
from palm_operator.observed import Observed
from palm_operator.status import Said
from palm_operator.tasks import State, Task
from palm_operator.work import Work

_SHOWN = 3


def trained_said(work: Work, tasks: tuple[Task, ...]) -> Said:
    """Return the condition Trained: every policy of the grid is trained and evaluated."""
    if problem := first_problem(work, tasks):
        return problem
    missing = [task for task in tasks if task.state is not State.DONE]
    if not missing and work.is_determined:
        return Said(
            "True", "AllTrained", f"all {len(work.grid)} policies are trained and evaluated"
        )
    repeated = [t for t in tasks if t.is_repetition and t.state is not State.DONE]
    if repeated:
        return Said("False", _repetition_reason(repeated[0]), _repetition(repeated[0]))
    return Said("False", stage(work, tasks), progress_message(work, tasks))


def first_problem(work: Work, tasks: tuple[Task, ...]) -> Said | None:
    """Return what a person must look at; None when nothing."""
    if work.problem:
        return Said("False", "CalibrationFailed", work.problem)
    for state in (State.FAILED, State.EXHAUSTED, State.CONFLICT):
        broken = [task for task in tasks if task.state is state]
        if broken:
            return _broken(broken)
    return None


def stage(work: Work, tasks: tuple[Task, ...]) -> str:
    """Return the reason under Progressing: what is being made now."""
    if work.affine_maps is None:
        return "EvaluatingBasePolicy"
    if work.calibration is None:
        return "TrainingExtremes"
    left = [t for t in tasks if t.state is not State.DONE]
    return "Training" if any(t.step is Step.TRAIN for t in left) else "Evaluating"


def progress_message(work: Work, tasks: tuple[Task, ...]) -> str:
    """Return one line on what runs, for how many of how many."""
    total = len(work.grid)
    done = sum(t.state is State.DONE and t.step is Step.EVALUATE and t.policy is not None
               for t in tasks)  # fmt: skip
    parts = []
    for step, verb in ((Step.TRAIN, "training"), (Step.EVALUATE, "evaluating")):
        running = [t for t in tasks if t.step is step and t.state is State.RUNNING]
        if running:
            parts.append(f"{verb} {_enumerated([t.subject for t in running])}")
    return f"{'; '.join(parts) or 'no Job runs'}; {done} of {total} policies are evaluated"


def is_stuck(tasks: tuple[Task, ...]) -> bool:
    """Say whether nothing runs and nothing can be started."""
    return not any(t.state in (State.RUNNING, State.STARTABLE) for t in tasks)


def conflict_said(observed: Observed) -> Said | None:
    """Return the complaint about objects that are not ours but have a name we need."""
    foreign = sorted(
        {*observed.conflicts}
        | {job.name for job in observed.jobs if not job.owned}
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


def pruned_said(work: Work, portfolio: DeployedPortfolio) -> dict[str, Said]:
    """Return the conditions Pruned and GuaranteeHeld of a decided portfolio."""
    guarantee = portfolio.guarantee
    proven = "proven to be the smallest" if guarantee.proven else "not proven to be the smallest"
    return {
        "Pruned": Said(
            "True",
            "Covered",
            f"{portfolio.size} of {len(work.grid)} policies cover every weight vector of the grid, "
            f"{proven}",
        ),
        "GuaranteeHeld": Said(
            "True",
            "GridCovered",
            f"at every weight vector of the grid a chosen policy is within epsilon="
            f"{guarantee.epsilon} (relative) and delta={guarantee.delta} (normalized units) of the "
            "best policy observed; between them nothing is claimed",
        ),
    }


def _broken(broken: list[Task]) -> Said:
    task = broken[0]
    others = f"; and {len(broken) - 1} more" if len(broken) > 1 else ""
    if task.state is State.CONFLICT:
        return Said(
            "False",
            "NameConflict",
            f"a Job {task.name} exists and is not controlled by this Portfolio; it is not touched: "
            f"delete it, or rename the Portfolio{others}",
        )
    what = "oracle call" if task.step is Step.TRAIN else "evaluation"
    if task.state is State.FAILED:
        job = task.job
        why = f"{job.reason}: {job.message}" if job else "unknown"
        return Said(
            "False",
            "OracleCallFailed" if task.step is Step.TRAIN else "EvaluationFailed",
            f"the {what} of {task.subject} failed ({why}); nothing is pruned without it: see "
            f"`kubectl logs job/{task.name}`, then delete Job {task.name} to try again{others}",
        )
    return Said(
        "False",
        _repetition_reason(task),
        f"the {what} of {task.subject} finished {LAST_ATTEMPT} times and "
        f"{_complaint(task)}; delete its Jobs to try again{others}",
    )


def _repetition(task: Task) -> str:
    what = "oracle call" if task.step is Step.TRAIN else "evaluation"
    return (
        f"an earlier {what} of {task.subject} finished and {_complaint(task)}; "
        f"attempt {task.attempt} of {LAST_ATTEMPT}"
    )


def _complaint(task: Task) -> str:
    if task.invalid:
        return f"{task.key} is not valid: {task.invalid}"
    return f"{task.key} is not in S3"


def _repetition_reason(task: Task) -> str:
    return "ResultInvalid" if task.invalid else "ResultMissing"


def _enumerated(items: list[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more
