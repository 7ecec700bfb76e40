"""The laws of an operator that is left alone for a year, each a function that raises.

They are checked after every step of a walk, on the plan of that step and the world before it.
"""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from faults.simulation import Before, Simulation
from palm_operator import names
from palm_operator.calls.reading import wants
from palm_operator.calls.work import work_for
from palm_operator.names import LAST_ATTEMPT
from palm_operator.objects import is_owned
from palm_operator.plan import Plan

Law = Callable[[Simulation, Before, Plan, Plan], None]
"""Of the world now, the world before, the plan that was made of it, and the plan that is next."""

STATUS_BYTES = 24_000
"""Of a status with the eight policies and ten revisions that fit into these walks."""


def next_step_is_a_function_of_what_is_there(
    world: Simulation, _: Before, __: Plan, following: Plan
) -> None:
    """Law 1: planning again, with nothing remembered, plans the same."""
    assert world.planned() == following


def nothing_is_made_twice(world: Simulation, before: Before, plan: Plan, _following: Plan) -> None:
    """Laws 2 and 3: no Job for what S3 has, or for what a Job of ours makes."""
    made = Counter((_label(job, "step"), _label(job, "digest")) for job in plan.creates)
    assert not made or max(made.values()) == 1, made
    active = {
        (_label(job, "step"), _label(job, "digest"))
        for name, job in before.jobs.items()
        if _is_ours(world, job) and not _is_over(job)
    }
    assert not active & set(made), f"made twice at once: {active & set(made)}"
    if not made:
        return
    portfolio, evidence = world.portfolio, _evidence_before(world, before)
    for want in wants(portfolio, work_for(portfolio, evidence), evidence):
        valid = want.key in before.objects and want.key not in evidence.invalid
        steps = {step for step, digest in made if digest == want.digest}
        assert not (valid and steps), f"{want.key} is there and is made again"


def attempts_are_few(_: Simulation, __: Before, plan: Plan, _following: Plan) -> None:
    """Law 3: what fails to appear is tried a few times, not for ever."""
    for job in plan.creates:
        assert int(_label(job, "attempt")) <= LAST_ATTEMPT


def bad_evidence_decides_nothing(
    world: Simulation, before: Before, plan: Plan, _following: Plan
) -> None:
    """Law 4: only invalid objects are discarded; a decision stands on valid ones alone."""
    if not plan.discards and not plan.writes:
        return
    evidence = _evidence_before(world, before)
    assert set(plan.discards) <= set(evidence.invalid), "a valid object is discarded"
    for write in plan.writes:
        if not write.key.endswith("portfolio.json"):
            continue
        document = json.loads(write.content)
        trained = {p["name"] for p in document["policies"] if "rewards" in p or p.get("survives")}
        work = work_for(world.portfolio, evidence)
        valid = {p.name for p in work.policies if p.evaluation_digest in evidence.results}
        survivors = {p["name"] for p in document["policies"] if p["survives"]}
        assert survivors <= valid, f"decided on {survivors - valid} of {trained}"


def frozen_units_stay(_: Simulation, before: Before, plan: Plan, _following: Plan) -> None:
    """Law 4: a payoff table is never written over."""
    for write in plan.writes:
        if write.key.startswith("calibrations/"):
            assert write.if_absent


def last_good_keeps_serving(
    world: Simulation, before: Before, plan: Plan, _following: Plan
) -> None:
    """Law 5: a server goes only once the status, as last written, does not send users to it."""
    deployed = (before.status.get("portfolio") or {}).get("policies") or []
    sent = {p["service"] for p in deployed if p.get("service") and p.get("ready")}
    gone = {child.name for child in plan.deletes}
    assert not sent & gone, f"{sent & gone} are in use and removed"


def ready_means_served(world: Simulation, _: Before, plan: Plan, _following: Plan) -> None:
    """Law 5: Ready is only said of servers that are there and answer."""
    said = {c.type: c.status for c in plan.status.conditions}
    if said.get("Ready") != "True" or plan.status.portfolio is None:
        return
    observed = {s.name: s for s in world.observed.services}
    for policy in plan.status.portfolio.policies:
        if policy.service and policy.service not in {c.name for c in plan.deletes}:
            assert policy.service in observed, f"{policy.service} is not there"


def what_is_not_ours_is_not_touched(
    world: Simulation, before: Before, plan: Plan, _following: Plan
) -> None:
    """Law 6: nothing of others is deleted, applied or adopted."""
    uid = world.body["metadata"]["uid"]
    for child in plan.deletes:
        body = before.jobs.get(child.name) or before.services.get(child.name)
        assert body is not None
        assert is_owned(body, uid), f"{child.name} is not ours and would be deleted"
    assert world.foreign == before.foreign


def work_is_bounded(world: Simulation, before: Before, plan: Plan, _following: Plan) -> None:
    """Law 7: no more Jobs at once than allowed; the status does not grow with the grid."""
    unfinished = {name for name, j in before.jobs.items() if _is_ours(world, j) and not _is_over(j)}
    left = unfinished - {child.name for child in plan.deletes}
    if plan.creates:
        limit = world.portfolio.spec.training.parallelism
        assert len(left) + len(plan.creates) <= limit, f"{len(left)} and {len(plan.creates)} more"
    text = plan.status.model_dump_json(by_alias=True, exclude_none=True)
    assert len(text) <= STATUS_BYTES, f"the status has {len(text)} bytes"


def conditions_are_read_right(world: Simulation, _: Before, plan: Plan, _following: Plan) -> None:
    """Law 8: each condition once, of the generation that was seen; kstatus is never ambiguous."""
    kinds = [c.type for c in plan.status.conditions]
    assert len(kinds) == len(set(kinds)), kinds
    generation = world.body["metadata"]["generation"]
    assert plan.status.observed_generation == generation
    assert all(c.observed_generation == generation for c in plan.status.conditions)
    said = {c.type: c for c in plan.status.conditions}
    assert not {"Reconciling", "Stalled"} <= set(said), "both Reconciling and Stalled"
    is_current = "Reconciling" not in said and "Stalled" not in said
    if is_current:
        assert said["Ready"].status == "True", f"neither under way nor Ready: {said['Ready']}"
    for condition in plan.status.conditions:
        assert condition.message, f"{condition.type} says nothing"
        assert condition.reason.isalnum(), condition.reason


def guarantee_is_honest(world: Simulation, _: Before, plan: Plan, _following: Plan) -> None:
    """Law 9: the guarantee is held only of a decision that was made on enough evidence."""
    said = {c.type: c.status for c in plan.status.conditions}
    if said.get("GuaranteeHeld") == "True":
        assert said.get("Pruned") == "True"
        assert said.get("Trained") == "True"
    deployed = plan.status.portfolio
    if deployed is not None:
        assert deployed.guarantee.scope in ("Grid", "Simplex")
        assert float(deployed.guarantee.delta) >= 0


def no_change_is_no_word(world: Simulation, _: Before, __: Plan, following: Plan) -> None:
    """Law 10: where nothing new is to be said, nobody is told anything."""
    if following.status == world.portfolio.status:
        assert following.events == ()


ALL: tuple[Law, ...] = (
    next_step_is_a_function_of_what_is_there,
    nothing_is_made_twice,
    attempts_are_few,
    bad_evidence_decides_nothing,
    frozen_units_stay,
    last_good_keeps_serving,
    ready_means_served,
    what_is_not_ours_is_not_touched,
    work_is_bounded,
    conditions_are_read_right,
    guarantee_is_honest,
    no_change_is_no_word,
)


def _label(job: dict[str, Any], name: str) -> str:
    return str((job["metadata"].get("labels") or {}).get(f"{names.PREFIX}{name}", ""))


def _is_ours(world: Simulation, body: dict[str, Any]) -> bool:
    return is_owned(body, world.body["metadata"]["uid"])


def _is_over(job: dict[str, Any]) -> bool:
    return bool(job.get("status", {}).get("conditions"))


def _evidence_before(world: Simulation, before: Before) -> Any:
    from builders import observed_in
    from palm_store import InMemoryStore

    store = InMemoryStore()
    store.objects = dict(before.objects)
    return observed_in(world.portfolio, store).evidence
