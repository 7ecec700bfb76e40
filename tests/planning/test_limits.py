"""serving.maxPolicies and the operator's ceiling: hold, or publish the best that so few can be."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from builders import SETTINGS, World, portfolio_body
from palm import artifacts
from palm.schema import sha256_of

GRID = {"strategy": "PALM", "mu": "0.5", "alpha": "0.2"}


def world(most: int, *, ceiling: int | None = None, **serving) -> World:
    body = portfolio_body(grid=GRID, serving={"maxPolicies": most, **serving})
    return World(body=body, settings=replace(SETTINGS, max_policies=ceiling))


def settled(made: World) -> World:
    made.run()
    for _ in range(3):
        made.serve()
        made.step()
    return made


def manifest(made: World) -> dict:
    """The manifest of the latest decision."""
    key = artifacts.manifest("ml", "assistant", made.body["status"]["revision"])
    return json.loads(made.store.objects[key])


def best_epsilon(document: dict, most: int) -> float:
    """The smallest ε over the grid that so few can have, by trying every set."""
    policies = document["policies"]
    objective = np.array([p["weights"] for p in policies]) @ (
        np.array([p["utilities"] for p in policies]).T
    )
    best = objective.max(axis=1)
    sets = itertools.combinations(range(len(policies)), most)
    return min(float((1 - objective[:, list(s)].max(axis=1) / best).max()) for s in sets)


def test_hold_serves_nothing_new_and_says_what_so_few_could_reach():
    made = settled(world(8))
    needed = made.body["status"]["portfolio"]["size"]
    assert needed > 2
    services = set(made.services)
    made.body["spec"]["serving"]["maxPolicies"] = 2
    settled(made)
    said = made.condition("Published")
    assert (said["status"], said["reason"]) == ("False", "TooManyPolicies")
    epsilon = best_epsilon(manifest(made), 2)
    for part in (
        f"the smallest cover has {needed} policies and spec.serving.maxPolicies is 2",
        "the best 2 policies are within epsilon=",
        "delta=",
        f"set spec.serving.maxPolicies to {needed}",
        "set spec.serving.onExceeded to BestEffort",
        f"with spec.pruning.mu of {epsilon:.3g}"[:-1],
        "keeps serving",
    ):
        assert part in said["message"]
    assert set(made.services) == services
    assert made.condition("Ready")["status"] == "True"
    assert made.condition("Stalled")["reason"] == "TooManyPolicies"


def test_the_tolerance_that_hold_names_is_enough():
    made = settled(world(2))
    message = made.condition("Published")["message"]
    mu = message.split("with spec.pruning.mu of ")[1].split(",")[0]
    made.body["spec"]["pruning"] = {"mu": mu}
    settled(made)
    assert made.condition("Published")["reason"] == "Published"
    assert made.body["status"]["portfolio"]["size"] <= 2


def test_best_effort_publishes_the_best_so_few_and_claims_no_more():
    made = settled(world(2, onExceeded="BestEffort"))
    deployed = made.body["status"]["portfolio"]
    assert (deployed["size"], len(made.services)) == (2, 2)
    held = made.condition("GuaranteeHeld")
    assert (held["status"], held["reason"]) == ("False", "BestEffort")
    document = manifest(made)
    epsilon = best_epsilon(document, 2)
    assert document["guarantee"]["grid"]["epsilon"] == pytest.approx(epsilon, rel=1e-12)
    assert document["cover"]["limit"]["maxPolicies"] == 2
    assert document["cover"]["limit"]["tolerance"] == pytest.approx(epsilon, rel=1e-12)
    assert document["cover"]["limit"]["smallestCover"] == deployed["guarantee"]["coverSize"] > 2
    assert deployed["guarantee"]["proven"]
    assert f"epsilon={deployed['guarantee']['epsilon']}" in held["message"]
    assert f"delta={deployed['guarantee']['delta']}" in held["message"]
    kinds = {c["type"]: c["status"] for c in made.body["status"]["conditions"]}
    assert kinds["Ready"] == kinds["Published"] == "True"
    assert "Stalled" not in kinds
    assert not made.planned().acts


@pytest.mark.parametrize("how", ["Hold", "BestEffort"])
def test_what_is_no_cover_is_not_called_one(how: str):
    body = portfolio_body(
        failurePolicy={"onOracleFailure": "AllowPartial"},
        grid={"mu": "0.3", "alpha": "0.2"},
        pruning={"mu": "0.001"},
        serving={"maxPolicies": 4, "onExceeded": how},
    )
    made = World(body=body)
    for _ in range(40):
        made.step()
        for name in made.unfinished:
            lost = "-train-w04-" in name or "-train-w05-" in name
            made.finish(name, outcome="Failed" if lost else "Complete")
        made.serve()
    said = made.condition("Published" if how == "Hold" else "GuaranteeHeld")["message"]
    assert said.startswith("2 weight vectors are not certified to be within spec.pruning")
    assert "smallest cover has" not in said
    assert "policies cover the grid within" not in said


def test_one_policy_is_spoken_of_as_one():
    made = settled(world(1, onExceeded="BestEffort"))
    assert made.condition("Published")["message"] == "the one policy answers"
    assert made.condition("Ready")["message"] == "the one policy is served"
    assert "1 covers the grid" in made.condition("GuaranteeHeld")["message"]


def test_a_cover_that_is_small_enough_is_published_as_it_is():
    made = settled(world(8, onExceeded="BestEffort"))
    hold = settled(world(8))
    assert made.condition("GuaranteeHeld")["status"] == "True"
    assert "coverSize" not in made.body["status"]["portfolio"]["guarantee"]
    assert manifest(made) == manifest(hold)


def test_the_lower_of_both_limits_holds_and_the_portfolio_says_whose_it_is():
    made = settled(world(8, ceiling=2))
    said = made.condition("Published")
    assert said["reason"] == "TooManyPolicies"
    assert "the operator's ceiling (PALM_MAX_POLICIES) is 2" in said["message"]
    assert "have the administrator raise the operator's ceiling" in said["message"]
    assert "the lower holds" in made.condition("Accepted")["message"]
    assert not made.services
    own = settled(world(2, ceiling=8, onExceeded="BestEffort"))
    assert own.body["status"]["portfolio"]["size"] == 2
    assert "ceiling" not in own.condition("Accepted")["message"]
    assert "ceiling" not in own.condition("GuaranteeHeld")["message"]


def together(total: int, elsewhere: int, **serving) -> World:
    made = world(8, **serving)
    made.settings, made.elsewhere = replace(SETTINGS, max_policies_in_all=total), elsewhere
    return settled(made)


def test_what_others_have_leaves_less_and_the_portfolio_says_so():
    alone = together(10, 0)
    needed = alone.body["status"]["portfolio"]["size"]
    made = together(10, 8)
    said = made.condition("Published")
    assert said["reason"] == "TooManyPolicies"
    for part in (
        "(PALM_MAX_POLICIES_IN_ALL) is 10, of which other Portfolios have 8",
        "the best 2 policies are within epsilon=",
        f"to {needed + 8}, or delete or shrink other Portfolios (`palm audit -A` lists theirs)",
    ):
        assert part in said["message"]
    assert "spec.serving.maxPolicies to" not in said["message"]  # that is not what keeps it
    assert not made.services
    made.elsewhere = 10 - needed
    settled(made)
    assert made.condition("Published")["reason"] == "Published"
    assert len(made.services) == needed


@pytest.mark.parametrize("how", ["Hold", "BestEffort"])
def test_where_others_have_all_nothing_is_published_and_nothing_is_lost(how: str):
    made = together(10, 10, onExceeded=how)
    assert made.condition("Published")["reason"] == "TooManyPolicies"
    assert "of which other Portfolios have 10" in made.condition("Published")["message"]
    assert not made.services
    served = together(10, 0, onExceeded=how)
    services = set(served.services)
    served.elsewhere = 10
    settled(served)
    assert set(served.services) == services
    assert served.condition("Ready")["status"] == "True"


def test_a_plan_says_how_many_policies_it_publishes_also_before_they_answer():
    made = world(8)
    made.run()
    share = made.planned().share
    assert share == len(made.services) > 2
    made.serve()
    made.step()
    assert made.planned().share == share
    held = settled(world(2))
    assert held.planned().share == 0


def test_a_ceiling_that_is_lowered_takes_nothing_away():
    made = settled(world(8))
    services, deployed = set(made.services), made.body["status"]["portfolio"]
    made.settings = replace(SETTINGS, max_policies=1)
    settled(made)
    assert set(made.services) == services
    assert made.body["status"]["portfolio"] == deployed
    assert made.condition("Ready")["status"] == "True"
    assert made.condition("Published")["reason"] == "TooManyPolicies"


def test_what_is_only_reported_has_no_limit():
    made = settled(world(1, mode="None"))
    assert made.body["status"]["portfolio"]["size"] > 1
    assert made.condition("GuaranteeHeld")["status"] == "True"


def test_a_pinned_portfolio_keeps_to_the_limit_too():
    made = settled(world(8))
    pinned = made.body["status"]["portfolio"]
    reference = {"revision": pinned["revision"], "sha256": pinned["manifest"]["sha256"]}
    made.body["spec"]["serving"] = {
        "maxPolicies": 2, "onExceeded": "BestEffort", "pin": reference,
    }  # fmt: skip
    settled(made)
    said = made.condition("Published")
    assert said["reason"] == "TooManyPolicies"
    assert "the portfolio has" in said["message"]
    assert made.condition("Ready")["status"] == "True"


def test_raising_the_limit_publishes_the_cover_and_starts_no_job():
    made = settled(world(2, onExceeded="BestEffort"))
    before, small = list(made.created), made.body["status"]["portfolio"]["manifest"]
    made.body["spec"]["serving"]["maxPolicies"] = 8
    settled(made)
    assert made.created == before
    assert made.condition("GuaranteeHeld")["status"] == "True"
    assert made.body["status"]["portfolio"]["size"] > 2
    kept = made.store.objects[artifacts.manifest_copy("ml", "assistant", small["sha256"])]
    assert sha256_of(kept) == small["sha256"]
