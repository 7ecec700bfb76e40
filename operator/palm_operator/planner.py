"""The next step of a Portfolio, as a value: a pure function of what is observed (law 1).

A ladder of rungs, the first that applies wins: refuse, train and evaluate, freeze the calibration,
prune and publish. With the oracle MOD, training and evaluation come twice (``mixing``). No rung
remembers anything; the status is written for people and never read to
decide, except for what is deployed now.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from palm import artifacts
from palm.contract import canonical_json
from palm.schema import sha256_of
from palm_operator.api.portfolio import Portfolio
from palm_operator.api.status import (
    DeployedPortfolio,
    DeployedRevision,
    PendingRevision,
    PortfolioStatus,
)
from palm_operator.calls.evidence import Evidence
from palm_operator.calls.running_calls import running_calls
from palm_operator.calls.search import search_of
from palm_operator.calls.tasks import State, Task, obsolete_jobs
from palm_operator.calls.uses import claims
from palm_operator.calls.work import Work, work_for
from palm_operator.deciding import mixing
from palm_operator.deciding.decision import decide, guaranteed_by_all
from palm_operator.deciding.ledger import ledger
from palm_operator.deciding.limits import allowance, best_effort_said, cut_said, within
from palm_operator.deciding.mixing import Mixed, Stage
from palm_operator.jobs import manifests
from palm_operator.jobs.job_standing import next_look, with_deadlines
from palm_operator.jobs.observed_jobs import Job
from palm_operator.life import suspension
from palm_operator.names import Step
from palm_operator.observed import Observed
from palm_operator.plan import Plan
from palm_operator.record.news import recording
from palm_operator.refusing import Refused, check, refused, reported
from palm_operator.said import guarantees, progress, status, told
from palm_operator.said.status import Said
from palm_operator.serving.gateways import with_gateway
from palm_operator.serving.publication import Publication, leftovers, ready_said
from palm_operator.serving.publishing import decided, kept, pinned
from palm_operator.serving.recall import recalled
from palm_operator.serving.revisions import history
from palm_operator.settings import Settings
from palm_operator.times import earliest
from palm_operator.writes import ObjectWrite


def plan(portfolio: Portfolio, observed: Observed, settings: Settings, *, now: datetime) -> Plan:
    """Return the next step.

    Args:
        portfolio: The resource, with the status that was last written.
        observed: Its Jobs, its InferenceServices and S3.
        settings: The operator's own settings.
        now: Time of condition transitions.
    """
    portfolio = recalled(portfolio, observed)
    return with_gateway(_next(portfolio, observed, settings, now=now), portfolio, settings)


def _next(portfolio: Portfolio, observed: Observed, settings: Settings, *, now: datetime) -> Plan:
    try:
        check(portfolio, settings)
    except Refused as refusal:
        return refusal_plan(portfolio, observed, refusal, now=now)
    observed = with_deadlines(portfolio, observed, now=now)
    work = work_for(portfolio, observed.evidence)
    asked = mixing.stage_of(portfolio, work, search_of(portfolio, work, observed), observed)
    if not asked.is_ready:
        return _train_and_evaluate(portfolio, asked, observed, settings, now=now)
    if not work.fine_tuned:
        return _prune_and_publish(portfolio, asked, observed, settings, now=now)
    mixed = mixing.mixed_cover(portfolio, asked, observed, allowance(portfolio, settings, observed))
    step = _prune_and_publish if mixed.is_ready else _train_and_evaluate
    return step(portfolio, mixed.retraining, observed, settings, mixed=mixed, now=now)


def refusal_plan(
    portfolio: Portfolio, observed: Observed, refusal: Refused, *, now: datetime
) -> Plan:
    """Return the plan for a spec that breaks a rule: it says so, and suspends what is to be."""
    said = refused(portfolio, observed, refusal, now=now)
    if not portfolio.spec.suspend:
        return said
    return replace(
        said,
        patches=suspension.patches(portfolio, observed, [], now=now),
        again_in=suspension.again_in(portfolio, observed, [], None),
    )


def _train_and_evaluate(
    portfolio: Portfolio,
    stage: Stage,
    observed: Observed,
    settings: Settings,
    *,
    mixed: Mixed | None = None,
    now: datetime,
) -> Plan:
    work, search, tasks = stage.work, stage.search, stage.tasks
    is_over = search.is_over and search.is_certified
    unasked = mixing.unasked(stage)
    obsolete = obsolete_jobs(work, observed, search_over=is_over, unasked=unasked)
    changed = _run_otherwise(portfolio, tasks, settings, obsolete)
    starts = _starts(portfolio, tasks, observed, obsolete)
    # The status tells of what runs once this plan is executed.
    begun = {task.name for task in starts if task.name not in observed.job_refusals}
    after = tuple(
        replace(t, state=State.RUNNING, job=None) if t.name in begun else t for t in tasks
    )
    allowed = allowance(portfolio, settings, observed)
    public = pinned(portfolio, work, observed, allowed=allowed, now=now)
    public = public or kept(portfolio, work, observed, now=now)
    said = _training_said(portfolio, replace(stage, tasks=after), observed, public, mixed)
    said["Accepted"] = cut_said(progress.accepted_said(portfolio, work), allowed)
    said = suspension.told(portfolio, said, search, observed, obsolete)
    record = recording(portfolio, work, observed, now=now)
    report = PortfolioStatus(
        revision=work.revision,
        oracle_calls=status.oracle_calls(mixed.search if mixed else search, after, observed),
        progress=running_calls(portfolio, after, observed),
        portfolio=public.portfolio,
        pending=PendingRevision(revision=work.revision, phase=said["Progressing"].reason),
        revisions=_history(portfolio, public.portfolio, observed, now=now),
        record=record.reference,
    )
    plan = reported(portfolio, report, said, now=now)
    return replace(
        plan,
        events=(*told.started([task for task in starts if task.name in begun]), *plan.events),
        creates=tuple(_job(portfolio, work, task, settings) for task in starts),
        applies=public.applies,
        share=_share(public),
        deletes=(*obsolete, *_in_the_way(tasks, observed, obsolete), *changed, *public.retires),
        patches=suspension.patches(portfolio, observed, obsolete, now=now),
        writes=(
            *claims(portfolio, work, observed.evidence),
            *_calibration(work),
            *record.writes,
        ),
        discards=tuple(task.key for task in starts if task.invalid),
        again_in=earliest(
            suspension.again_in(portfolio, observed, obsolete, public.again_in),
            next_look(portfolio, observed, now=now),
        ),
    )


def _training_said(
    portfolio: Portfolio,
    stage: Stage,
    observed: Observed,
    public: Publication,
    mixed: Mixed | None,
) -> dict[str, Said]:
    work, search, tasks = stage.work, stage.search, stage.tasks
    too_many = mixed.held_said if mixed else None
    trained = too_many or progress.trained_said(portfolio, work, tasks, search, observed)
    problem = too_many or progress.first_problem(portfolio, work, tasks, search, observed)
    is_stuck = (
        problem is not None and progress.is_stuck(tasks, observed) and work.new_calibration is None
    )
    doing = progress.doing_said(work, tasks, search, observed)
    if is_stuck and problem is not None:
        doing = problem
    waits = Said(
        "False",
        "WaitingForResults",
        "not decided yet: it waits for results of training and evaluation",
    )
    held = replace(waits, status="Unknown")
    is_comparable = work.problem is None or not work.problem.holds
    if is_stuck and search.is_calibrated and is_comparable:
        found = guaranteed_by_all(portfolio, work, observed.evidence)
        held = guarantees.uncertified_said(search, found)
        waits = replace(held, message=progress.uncovered(search))
    return {
        "Progressing": doing,
        "Trained": trained,
        "Pruned": mixing.retraining_said(mixed) if mixed else waits,
        "GuaranteeHeld": held,
        "Published": public.published if portfolio.spec.serving.pin else too_many or waits,
        "Ready": ready_said(portfolio, public.portfolio, otherwise=problem or doing),
        **_kstatus(doing, stuck=is_stuck),
    }


def _prune_and_publish(
    portfolio: Portfolio,
    stage: Stage,
    observed: Observed,
    settings: Settings,
    *,
    mixed: Mixed | None = None,
    now: datetime,
) -> Plan:
    work, search, tasks, is_partial = stage.work, stage.search, stage.tasks, stage.is_partial
    evidence, allowed = observed.evidence, allowance(portfolio, settings, observed)
    serving = frozenset(p for s in observed.services if s.owned for p in s.policies)
    preferred = frozenset(p.digest for p in work.policies if p.name in serving)
    # Policies that take the place of mixtures are judged as they are, whether they cover or not.
    is_judged = is_partial or mixed is not None
    cover = decide(portfolio, work, evidence, preferred=preferred, is_partial=is_judged)
    decision, held = within(portfolio, work, evidence, cover, allowed, preferred)
    found = mixed.decision if mixed else None
    content = ledger(portfolio, work, search, decision, evidence, mixed=found)
    public = pinned(portfolio, work, observed, allowed=allowed, now=now)
    public = public or decided(portfolio, work, content, observed, held=held, now=now)
    # A partial portfolio still wants what failed: it is tried again as soon as somebody mends it.
    obsolete = obsolete_jobs(work, observed, search_over=not is_partial)
    changed = _run_otherwise(portfolio, tasks if is_partial else (), settings, obsolete)
    said = {
        "Accepted": cut_said(progress.accepted_said(portfolio, work), allowed),
        "Trained": progress.trained_said(portfolio, work, tasks, search, observed),
        **({"Trained": mixing.retrained_said(mixed)} if mixed and not is_partial else {}),
        **guarantees.pruned_said(work, cover, mixed=found, is_partial=is_partial),
        **best_effort_said(allowed, decision),
        **_publication_said(portfolio, public, progress.conflict_said(observed)),
    }
    obsolete = obsolete_jobs(work, observed, search_over=True)
    said = suspension.told(portfolio, said, search, observed, obsolete)
    record = recording(portfolio, work, observed, manifest=content, now=now)
    report = PortfolioStatus(
        revision=work.revision,
        oracle_calls=status.oracle_calls(mixed.search if mixed else search, tasks, observed),
        portfolio=public.portfolio,
        pending=_pending(portfolio, work, public),
        revisions=_history(portfolio, public.portfolio, observed, now=now),
        record=record.reference,
    )
    return replace(
        reported(portfolio, report, said, now=now),
        applies=public.applies,
        share=_share(public),
        deletes=(*obsolete, *changed, *public.retires),
        patches=suspension.patches(portfolio, observed, obsolete, now=now),
        writes=(
            *claims(portfolio, work, evidence),
            *_manifest(portfolio, work, content, evidence),
            *record.writes,
        ),
        again_in=earliest(
            suspension.again_in(portfolio, observed, obsolete, public.again_in),
            next_look(portfolio, observed, now=now),
        ),
    )


def _manifest(
    portfolio: Portfolio, work: Work, content: bytes, evidence: Evidence
) -> tuple[ObjectWrite, ...]:
    """Return the manifest to be written; its copy for ever first: where the latest is, that is."""
    if evidence.manifest == content:
        return ()
    metadata = portfolio.metadata
    copy = artifacts.manifest_copy(metadata.namespace, metadata.name, sha256_of(content))
    latest = artifacts.manifest(metadata.namespace, metadata.name, work.revision)
    return ObjectWrite(copy, content), ObjectWrite(latest, content)


def _pending(portfolio: Portfolio, work: Work, public: Publication) -> PendingRevision | None:
    if public.portfolio is not None and public.portfolio.revision == work.revision:
        return None
    waits = "Suspended" if portfolio.spec.suspend else "Publishing"
    phase = "HeldByPin" if portfolio.spec.serving.pin else waits
    return PendingRevision(revision=work.revision, phase=phase)


def _share(public: Publication) -> int:
    """Return how many policies are published, or about to be."""
    shown = public.portfolio
    return max(public.size, sum(1 for p in shown.policies if p.service) if shown else 0)


def _history(
    portfolio: Portfolio, shown: DeployedPortfolio | None, observed: Observed, *, now: datetime
) -> list[DeployedRevision]:
    needed = frozenset(p.service for p in shown.policies if p.service) if shown else frozenset()
    has_leftovers = bool(leftovers(observed, needed))
    record = observed.record
    recorded = record.last_deployment(portfolio.metadata.uid) if record else 0
    return history(portfolio, shown, has_leftovers=has_leftovers, recorded=recorded, now=now)


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
    if portfolio.spec.suspend:
        return []
    free = portfolio.spec.training.parallelism - (len(observed.unfinished) - len(obsolete))
    return [task for task in tasks if task.state is State.STARTABLE][: max(free, 0)]


def _run_otherwise(
    portfolio: Portfolio, tasks: tuple[Task, ...], settings: Settings, obsolete: list[Job]
) -> list[Job]:
    """Return Jobs that failed, or cannot run, and would be run otherwise now: they are made anew.

    What runs goes on, whatever the template says by now: the policy would be the same.
    """
    found = []
    for task in tasks:
        job = task.job
        if job is None or job.deleting or not job.run or job in obsolete:
            continue
        hindered = job.hindrance is not None or job.overdue_after is not None
        waits = job.state == "Active" and not job.begun and hindered
        if (task.state is State.FAILED or waits) and job.run != manifests.run_digest(
            portfolio, task.step, settings
        ):
            found.append(job)
    return found


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


def _kstatus(doing: Said, *, stuck: bool) -> dict[str, Said]:
    return {"Stalled" if stuck else "Reconciling": replace(doing, status="True")}
