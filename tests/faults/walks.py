"""Random walks: users, Jobs, other people and faults take turns with the operator.

A walk is a list of steps that hypothesis draws, and shortens when a law is broken.
"""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from builders import portfolio_body
from faults.laws import ALL
from faults.simulation import Simulation
from palm_operator.plan import Plan

Step = tuple[str, Any]

_RANGE = {"min": "0", "max": "9"}
_REWARDS = [
    {"name": "steps", "verifiable": {"type": "ArithmeticSteps"}, "range": _RANGE},
    {"name": "brevity", "verifiable": {"type": "BrevityIfCorrect"}, "range": _RANGE},
]
EDITS: tuple[dict[str, Any], ...] = (
    {"training": {"seed": 1}},
    {"training": {"seed": 2}},
    {"training": {"parallelism": 1}},
    {"training": {"parallelism": 4}},
    {"pruning": {"mu": "0.05"}},
    {"pruning": {"mu": "0.4"}},
    {"prompts": {"evaluation": {"uri": "s3://data/test.jsonl", "limit": 5}}},
    {"prompts": {"evaluation": {"uri": "s3://data/test.jsonl"}}},
    {"grid": {"strategy": "PALM", "mu": "1", "alpha": "0.5"}},
    {"grid": {"strategy": "PALM", "mu": "1", "alpha": "0.25"}},
    {"search": {"mode": "Grid"}},
    {"search": {"mode": "Adaptive"}},
    {"search": {"mode": "Propose"}},
    {"search": {"maxOracleCalls": 4}},
    {"search": {"maxOracleCalls": 40}},
    {"serving": {"mode": "None"}},
    {"serving": {"mode": "PerPolicy"}},
    {"serving": {"mode": "SharedAdapters"}},
    {"serving": {"maxPolicies": 1}},
    {"serving": {"maxPolicies": 8}},
    {"serving": {"rollout": "Recreate"}},
    {"serving": {"rollout": "BlueGreen"}},
    {"serving": {"retireAfter": "0s"}},
    {"serving": {"retireAfter": "5m"}},
    {"rewards": _REWARDS},
    {"storage": {"s3": {"bucket": "palm", "prefix": "runs", "endpoint": "http://not-allowed"}}},
    {"storage": {"s3": {"bucket": "palm", "prefix": "runs"}}},
)
_PLACE = st.integers(0, 30)
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("pass"), st.none()),
    st.tuples(st.just("pass"), st.none()),
    st.tuples(st.just("kill"), st.integers(0, 12)),
    st.tuples(st.just("complete"), _PLACE),
    st.tuples(st.just("complete"), _PLACE),
    st.tuples(st.just("complete all"), st.none()),
    st.tuples(st.just("serve"), st.none()),
    st.tuples(st.just("edit"), st.integers(0, len(EDITS) - 1)),
    st.tuples(st.just("fail"), _PLACE),
    st.tuples(st.just("lose"), _PLACE),
    st.tuples(st.just("remove job"), _PLACE),
    st.tuples(st.just("remove service"), _PLACE),
    st.tuples(st.just("silence"), _PLACE),
    st.tuples(st.just("answer again"), st.none()),
    st.tuples(st.just("spoil"), _PLACE),
    st.tuples(st.just("remove object"), _PLACE),
    st.tuples(st.just("take name"), st.tuples(_PLACE, st.booleans())),
    st.tuples(st.just("give names back"), st.none()),
    st.tuples(st.just("unreachable"), st.none()),
    st.tuples(st.just("kserve goes"), st.none()),
    st.tuples(st.just("kserve comes"), st.none()),
)


def walked(steps: list[Step]) -> Simulation:
    """Walk, with every law checked after every step; then let all go well.

    Raises:
        AssertionError: A law is broken, or the operator never comes to rest where it should.
    """
    world = Simulation(body=portfolio_body())
    for name, choice in steps:
        taken(world, name, choice)
    healed(world)
    return world


def taken(world: Simulation, name: str, choice: Any) -> None:
    """Take one step and check the laws."""
    before = world.before()
    plan = _STEPS[name](world, choice)
    if plan is None:  # what a person or a Job did is there for the next pass, and that is lawful
        before, plan = world.before(), world.planned()
    following = world.planned()
    for law in ALL:
        law(world, before, plan, following)


def healed(world: Simulation) -> None:
    """Whatever happened, a spec that can be served is served, and as if nothing had happened."""
    world.heal()
    world.edit(storage={"s3": {"bucket": "palm", "prefix": "runs"}})
    world.settle()
    assert world.condition("Ready")["status"] == "True", world.body["status"]["conditions"]
    fresh = Simulation(body={**portfolio_body(), "spec": world.body["spec"]})
    fresh.store.objects = dict(world.store.objects)
    fresh.settle()
    assert fresh.created == [], "what S3 has was made again"
    deployed, again = (w.body["status"]["portfolio"] for w in (world, fresh))
    names = [[p["name"] for p in d["policies"]] for d in (deployed, again)]
    assert names[0] == names[1] or _is_as_small(names), f"{names[0]}, and {names[1]} if new"
    assert deployed["manifest"]["sha256"] == again["manifest"]["sha256"] or _is_as_small(names)
    assert not world.planned().acts


def _is_as_small(names: list[list[str]]) -> bool:
    """Of several smallest covers the one that serves already is kept."""
    return len(names[0]) == len(names[1])


def _pass(world: Simulation, _: Any) -> Plan:
    return world.passed()


def _kill(world: Simulation, after: int) -> Plan:
    return world.killed(after)


def _complete(world: Simulation, place: int) -> None:
    if name := _at(_running(world), place):
        world.finish(name)


def _complete_all(world: Simulation, _: Any) -> None:
    for name in _running(world):
        world.finish(name)


def _fail(world: Simulation, place: int) -> None:
    if name := _at(_running(world), place):
        world.finish(name, outcome="Failed")


def _lose(world: Simulation, place: int) -> None:
    if name := _at(_running(world), place):
        world.finish(name, outcome="Lost")


def _serve(world: Simulation, _: Any) -> None:
    world.serve()


def _edit(world: Simulation, index: int) -> None:
    world.edit(**EDITS[index])


def _remove_job(world: Simulation, place: int) -> None:
    if name := _at(sorted(set(world.jobs) - set(world.foreign)), place):
        del world.jobs[name]


def _remove_service(world: Simulation, place: int) -> None:
    if name := _at(sorted(set(world.services) - set(world.foreign)), place):
        del world.services[name]


def _silence(world: Simulation, place: int) -> None:
    if name := _at(sorted(world.services), place):
        world.silent.add(name)


def _answer_again(world: Simulation, _: Any) -> None:
    world.silent.clear()


def _spoil(world: Simulation, place: int) -> None:
    """Cut off an object that Jobs write."""
    written = sorted(k for k in world.store.objects if k.startswith(("base/", "policies/")))
    if key := _at(written, place):
        world.store.write(key, world.store.objects[key][:-7])


def _remove_object(world: Simulation, place: int) -> None:
    if key := _at(sorted(world.store.objects), place):
        world.store.delete(key)


def _take_name(world: Simulation, choice: tuple[int, bool]) -> None:
    place, labelled = choice
    planned = world.planned()
    wanted = [
        body
        for body in (*planned.creates, *planned.applies)
        if body["metadata"]["name"] not in {*world.jobs, *world.services}
        and body["kind"] in ("Job", "InferenceService")
    ]
    if wanted:
        world.take(wanted[place % len(wanted)], labelled=labelled)


def _give_names_back(world: Simulation, _: Any) -> None:
    for name in world.foreign:
        world.jobs.pop(name, None)
        world.services.pop(name, None)
    world.foreign.clear()
    world.conflicts = ()


def _unreachable(world: Simulation, _: Any) -> Plan:
    return world.failed("StorageUnavailable")


def _kserve_goes(world: Simulation, _: Any) -> None:
    world.serves = False
    world.services.clear()


def _kserve_comes(world: Simulation, _: Any) -> None:
    world.serves = True


def _running(world: Simulation) -> list[str]:
    return sorted(name for name in world.unfinished if name not in world.foreign)


def _at(names: list[str], place: int) -> str | None:
    return names[place % len(names)] if names else None


_STEPS: dict[str, Callable[[Simulation, Any], Plan | None]] = {
    "pass": _pass,
    "kill": _kill,
    "complete": _complete,
    "complete all": _complete_all,
    "fail": _fail,
    "lose": _lose,
    "serve": _serve,
    "edit": _edit,
    "remove job": _remove_job,
    "remove service": _remove_service,
    "silence": _silence,
    "answer again": _answer_again,
    "spoil": _spoil,
    "remove object": _remove_object,
    "take name": _take_name,
    "give names back": _give_names_back,
    "unreachable": _unreachable,
    "kserve goes": _kserve_goes,
    "kserve comes": _kserve_comes,
}
