"""What GitOps tools see: kstatus, Argo CD's Lua and Flux' CEL agree in every state of a life."""

import copy
from pathlib import Path

import celpy
import yaml
from celpy.adapter import json_to_cel
from hypothesis import given, settings
from hypothesis import strategies as st
from lupa.lua51 import LuaRuntime

from builders import World, portfolio_body
from palm_operator.life.pausing import paused
from palm_operator.settings import Settings

GITOPS = Path(__file__).resolve().parents[2] / "docs" / "gitops"
LUA = (GITOPS / "argocd-health.lua").read_text(encoding="utf-8")
FLUX = yaml.safe_load((GITOPS / "flux-kustomization.yaml").read_text(encoding="utf-8"))
EXPRESSIONS = FLUX["spec"]["healthCheckExprs"][0]


def conditions(body) -> dict[str, str]:
    return {c["type"]: c["status"] for c in body.get("status", {}).get("conditions", [])}


def kstatus(body) -> str:
    """kstatus' own algorithm for resources it knows nothing else about."""
    if body.get("status", {}).get("observedGeneration") not in (None, generation(body)):
        return "InProgress"
    said = conditions(body)
    if said.get("Reconciling") == "True":
        return "InProgress"
    if said.get("Stalled") == "True":
        return "Failed"
    return "InProgress" if said.get("Ready", "True") != "True" else "Current"


def generation(body) -> int:
    return body["metadata"]["generation"]


def argo(body) -> tuple[str, str]:
    lua = LuaRuntime(register_eval=False, register_builtins=False)
    health = lua.eval(f"function(obj)\n{LUA}\nend")(lua.table_from(body, recursive=True))
    return health["status"], health["message"]


def flux(body) -> str:
    """Flux' order: in progress, failed, current; what cannot be evaluated is waited for."""
    environment = celpy.Environment()
    for verdict in ("inProgress", "failed", "current"):
        program = environment.program(environment.compile(EXPRESSIONS[verdict]))
        try:
            if program.evaluate({key: json_to_cel(value) for key, value in body.items()}):
                return verdict
        except celpy.CELEvalError:
            return "inProgress"
    return "inProgress"


def agree(body) -> str:
    """Check that all three say what the conditions say; return what Argo CD shows."""
    shown, message = argo(body)
    said = conditions(body)
    assert message
    assert not (said.get("Reconciling") and said.get("Stalled"))
    if "status" not in body or body["status"]["observedGeneration"] != generation(body):
        expected = ("Suspended" if body["spec"].get("suspend") else "Progressing", "inProgress")
    elif said.get("Stalled") == "True":
        expected = ("Degraded", "failed")
        assert kstatus(body) == "Failed"
    elif said.get("Suspended") == "True":
        expected = ("Suspended", "current")
        assert kstatus(body) == ("Current" if said["Ready"] == "True" else "InProgress")
    elif said["Ready"] == "True":
        expected = ("Healthy", "current")
        assert kstatus(body) == ("InProgress" if said.get("Reconciling") else "Current")
    else:
        expected = ("Progressing", "inProgress")
        assert kstatus(body) == "InProgress"
    assert (shown, flux(body)) == expected
    return shown


def edited(world, **spec) -> None:
    for key, value in spec.items():
        world.body["spec"][key] = {**world.body["spec"].get(key, {}), **value}
    world.body["metadata"]["generation"] += 1


def test_a_whole_life_is_told_right():
    world, seen = World(body=portfolio_body()), []

    def passed() -> None:
        world.step()
        assert world.body["status"]["observedGeneration"] == generation(world.body)
        seen.append(agree(world.body))

    assert agree(world.body) == "Progressing"  # nothing is said yet
    passed()
    assert seen[-1] == "Progressing"
    world.run()
    assert agree(world.body) == "Healthy"
    assert kstatus(world.body) == "Current"

    edited(world, training={"episodes": 80_000})
    assert agree(world.body) == "Progressing"  # the edit is not seen yet
    passed()
    assert seen[-1] == "Healthy"  # the old portfolio serves
    assert kstatus(world.body) == "InProgress"
    world.run()
    assert agree(world.body) == "Healthy"

    edited(world, grid={"mu": "1/1000", "alpha": "1/1000000"})
    passed()
    assert seen[-1] == "Degraded"  # refused, while what is deployed serves
    assert argo(world.body)[1] == world.condition("Stalled")["message"]


def test_a_refused_one_is_degraded():
    world = World(body=portfolio_body(), settings=Settings())
    world.body["spec"]["storage"]["s3"]["endpoint"] = "http://elsewhere"
    world.step()
    assert agree(world.body) == "Degraded"


def test_a_refused_one_is_degraded_also_where_it_is_suspended():
    world = World(body=portfolio_body())
    world.run()
    edited(world, grid={"mu": "1/1000", "alpha": "1/1000000"})
    world.body["spec"]["suspend"] = True
    world.step()
    assert agree(world.body) == "Degraded"
    assert conditions(world.body)["Suspended"] == "True"


def test_a_suspended_one_is_suspended_whatever_it_has_reached():
    world = World(body=portfolio_body())
    world.step()
    for reached in ("nothing", "all"):
        suspended = copy.deepcopy(world)
        suspended.body["spec"]["suspend"] = True
        suspended.body["metadata"]["generation"] += 1
        assert argo(suspended.body)[0] == "Suspended"  # also before the operator has seen it
        suspended.step()
        assert agree(suspended.body) == "Suspended"
        assert kstatus(suspended.body) == ("InProgress" if reached == "nothing" else "Current")
        world.run()


def test_a_paused_one_is_suspended_and_what_serves_goes_on_being_current():
    world = World(body=portfolio_body())
    world.run()
    world.body["metadata"]["annotations"] = {"palm-operator.dev/paused": "true"}
    plan = paused(world.portfolio, now=world.now)
    world.body["status"] = plan.status.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert argo(world.body)[0] == "Suspended"
    assert kstatus(world.body) == "Current"
    world.body["metadata"]["generation"] += 1  # an edit meanwhile is not looked at
    assert (kstatus(world.body), flux(world.body)) == ("InProgress", "inProgress")
    world.body["metadata"]["annotations"] = {"palm-operator.dev/paused": "false"}
    assert argo(world.body)[0] == "Progressing"


STEPS = st.lists(
    st.sampled_from(
        ["pass", "pass", "finish", "fail", "lose", "serve", "silence", "edit", "grid", "suspend"]
    ),
    min_size=3,
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_at_every_moment_of_every_walk_the_tools_see_what_the_conditions_say(steps):
    world = World(body=portfolio_body())
    for count, step in enumerate(steps):
        unfinished = world.unfinished
        match step:
            case "pass":
                decided = world.step()
                assert world.body["status"]["observedGeneration"] == generation(world.body)
                if kstatus(world.body) == "Current":  # nothing is being made
                    assert not decided.creates
                    assert conditions(world.body)["Progressing"] == "False"
            case "finish" | "fail" | "lose" if unfinished:
                outcome = {"finish": "Complete", "fail": "Failed", "lose": "Lost"}[step]
                world.finish(unfinished[0], outcome=outcome)
            case "serve":
                world.serve()
            case "silence":
                world.silent ^= set(world.services)
            case "edit":
                edited(world, training={"seed": count % 3})
            case "suspend":
                world.body["spec"]["suspend"] = not world.body["spec"].get("suspend")
                world.body["metadata"]["generation"] += 1
            case "grid":
                edited(world, search={"mode": "Grid" if count % 2 else "Adaptive"})
        agree(world.body)
