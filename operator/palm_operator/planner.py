"""The next step of a Portfolio, as a value: a pure function of what is observed (law 1).

A ladder of rungs, the first that applies wins: refuse, train and evaluate, freeze the calibration,
prune and publish. No rung remembers anything; the status is written for people and never read to
decide, except for what is deployed now.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from palm import artifacts
from palm.contract import canonical_json
from palm_operator import manifests, progress, status
from palm_operator.api import DeployedPortfolio, PendingRevision, Portfolio, PortfolioStatus
from palm_operator.decision import decide, ledger
from palm_operator.names import Step
from palm_operator.observed import Job, Observed
from palm_operator.plan import ObjectWrite, Plan, Refused, check, refused, reported
from palm_operator.publication import Publication, publication, ready_said
from palm_operator.settings import Settings
from palm_operator.status import Said
from palm_operator.tasks import State, Task, obsolete_jobs, tasks_of
from palm_operator.work import Work, work_for


def plan(portfolio: Portfolio, observed: Observed, settings: Settings, *, now: datetime) -> Plan:
    """Return the next step.

    Args:
        portfolio: The resource, with the status that was last written.
        observed: Its Jobs, its InferenceServices and S3.
        settings: The operator's own settings.
        now: Time of condition transitions.
    """
    try:
        check(portfolio, settings)
    except Refused as refusal:
        return refused(portfolio, observed, refusal, now=now)
    work = work_for(portfolio, observed.evidence)
    tasks = tasks_of(portfolio, work, observed)
    if work.problem or not work.is_determined or any(t.state is not State.DONE for t in tasks):
        return _train_and_evaluate(portfolio, work, tasks, observed, settings, now=now)
    return _prune_and_publish(portfolio, work, tasks, observed, now=now)


def _train_and_evaluate(
    portfolio: Portfolio,
    work: Work,
    tasks: tuple[Task, ...],
    observed: Observed,
    settings: Settings,
    *,
    now: datetime,
) -> Plan:
    obsolete = obsolete_jobs(work, observed)
    starts = _starts(portfolio, tasks, observed, obsolete)
    # The status tells of what runs once this plan is executed.
    begun = {task.name for task in starts}
    after = tuple(replace(t, state=State.RUNNING) if t.name in begun else t for t in tasks)
    kept = portfolio.status.portfolio
    shown = status.refreshed(kept, observed) if kept else None
    report = PortfolioStatus(
        revision=work.revision,
        oracle_calls=status.oracle_calls(work, after, observed),
        portfolio=shown,
        pending=PendingRevision(revision=work.revision, phase=progress.stage(work, after)),
    )
    return replace(
        reported(portfolio, report, _training_said(portfolio, work, after, shown), now=now),
        creates=tuple(_job(portfolio, work, task, settings) for task in starts),
        deletes=(*obsolete, *_in_the_way(tasks, observed, obsolete)),
        writes=_calibration(work),
        discards=tuple(task.key for task in starts if task.invalid),
    )


def _training_said(
    portfolio: Portfolio,
    work: Work,
    tasks: tuple[Task, ...],
    shown: DeployedPortfolio | None,
) -> dict[str, Said]:
    trained, problem = progress.trained_said(work, tasks), progress.first_problem(work, tasks)
    is_stuck = problem is not None and progress.is_stuck(tasks) and work.new_calibration is None
    doing = Said("True", progress.stage(work, tasks), progress.progress_message(work, tasks))
    if is_stuck and problem is not None:
        doing = problem
    waits = Said("False", "WaitingForResults", "a policy is pruned only on evidence: results miss")
    return {
        "Accepted": _accepted(work),
        "Progressing": doing,
        "Trained": trained,
        "Pruned": waits,
        "GuaranteeHeld": replace(waits, status="Unknown"),
        "Published": waits,
        "Ready": ready_said(portfolio, shown, otherwise=problem or doing),
        **_kstatus(doing, stuck=is_stuck),
    }


def _prune_and_publish(
    portfolio: Portfolio,
    work: Work,
    tasks: tuple[Task, ...],
    observed: Observed,
    *,
    now: datetime,
) -> Plan:
    evidence, metadata = observed.evidence, portfolio.metadata
    if work.calibration is None:
        raise ValueError(f"Portfolio {metadata.name}: determined work without a calibration")
    serving = frozenset(s.policy for s in observed.services if s.owned)
    preferred = frozenset(p.digest for p in work.policies if p.name in serving)
    decision = decide(portfolio, work, work.calibration, evidence.results, preferred=preferred)
    content = ledger(portfolio, work, decision, evidence.results)
    key = artifacts.manifest(metadata.namespace, metadata.name, work.revision)
    new = status.deployed(portfolio, work, decision, manifest=content, observed=observed)
    public = publication(portfolio, work, decision, observed, new=new)
    said = {
        "Accepted": _accepted(work),
        "Trained": progress.trained_said(work, tasks),
        **progress.pruned_said(work, new),
        **_publication_said(portfolio, public, progress.conflict_said(observed)),
    }
    pending = None
    if public.portfolio is None or public.portfolio.revision != work.revision:
        pending = PendingRevision(revision=work.revision, phase="Publishing")
    report = PortfolioStatus(
        revision=work.revision,
        oracle_calls=status.oracle_calls(work, tasks, observed),
        portfolio=public.portfolio,
        pending=pending,
    )
    return replace(
        reported(portfolio, report, said, now=now),
        applies=public.applies,
        deletes=(*obsolete_jobs(work, observed), *public.retires),
        writes=() if evidence.manifest == content else (ObjectWrite(key, content),),
    )


def _publication_said(
    portfolio: Portfolio, public: Publication, conflict: Said | None
) -> dict[str, Said]:
    published = conflict or public.published
    finished = published.status == "True" or portfolio.spec.serving.mode == "None"
    stuck = public.is_stuck or conflict is not None
    doing = Said("False" if finished or stuck else "True", published.reason, published.message)
    return {
        "Progressing": doing,
        "Published": published,
        "Ready": ready_said(portfolio, public.portfolio, otherwise=published),
        **({} if finished else _kstatus(doing, stuck=stuck)),
    }


def _starts(
    portfolio: Portfolio, tasks: tuple[Task, ...], observed: Observed, obsolete: list[Job]
) -> list[Task]:
    """Return the tasks to start now; ``training.parallelism`` counts every unfinished Job."""
    free = portfolio.spec.training.parallelism - (len(observed.unfinished) - len(obsolete))
    return [task for task in tasks if task.state is State.STARTABLE][: max(free, 0)]


def _in_the_way(tasks: tuple[Task, ...], observed: Observed, obsolete: list[Job]) -> list[Job]:
    """Return our Jobs that have the name of a Job to be, but make something else."""
    wanted = {t.name: t.digest for t in tasks if t.state is State.WAITING}
    return [
        job
        for job in observed.jobs
        if job.owned
        and not job.deleting
        and job not in obsolete
        and wanted.get(job.name, job.digest) != job.digest
    ]


def _job(portfolio: Portfolio, work: Work, task: Task, settings: Settings) -> dict[str, Any]:
    if task.policy is None:
        return manifests.base_evaluation_job(
            portfolio, work, settings=settings, attempt=task.attempt
        )
    make = manifests.training_job if task.step is Step.TRAIN else manifests.evaluation_job
    return make(portfolio, work, task.policy, settings=settings, attempt=task.attempt)


def _calibration(work: Work) -> tuple[ObjectWrite, ...]:
    """Return the payoff table to freeze; whoever writes first wins, and all read it back."""
    if work.new_calibration is None or work.calibration_key is None:
        return ()
    content = canonical_json(work.new_calibration.model_dump(mode="json", by_alias=True))
    return (ObjectWrite(work.calibration_key, content.encode(), if_absent=True),)


def _accepted(work: Work) -> Said:
    return Said("True", "Accepted", f"{len(work.grid)} weight vectors, one oracle call each")


def _kstatus(doing: Said, *, stuck: bool) -> dict[str, Said]:
    return {"Stalled" if stuck else "Reconciling": replace(doing, status="True")}
