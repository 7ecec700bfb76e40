"""What is compared was made of the same contents, or nothing is decided and the input is named."""

import json
from typing import Any

import pytest

from builders import World, make_portfolio, make_result, portfolio_body, request_of
from palm import artifacts
from palm.contract import PolicyResult
from palm_operator.calls.same_inputs import Named, unequal_inputs
from palm_operator.record.events import OracleCall, parsed_entry

MODELS = [
    {"name": "steps", "verifiable": {"type": "ArithmeticSteps"}},
    {"name": "humor", "model": {"uri": "s3://models/humor", "preset": "Humor"}},
]


def made_from(**changes: str) -> dict[str, Any]:
    """What an image says it read; keywords are first digits of SHA-256."""
    sha = {"base": "a", "prompts": "b", "humor": "c"} | changes
    return {
        "image": "registry.example/palm-evaluator@sha256:1",
        "versions": {"python": "3.11"},
        "baseModel": {"uri": "s3://anything", "sha256": sha["base"] * 64},
        "prompts": {"uri": "s3://anything", "sha256": sha["prompts"] * 64},
        "rewards": [
            {"name": "steps", "kind": "Verifiable"},
            {
                "name": "humor",
                "kind": "Model",
                "source": {"uri": "s3://anything", "sha256": sha["humor"] * 64},
            },
        ],
    }


def with_provenance(result: PolicyResult, **provenance: Any) -> PolicyResult:
    document = result.model_dump(mode="json", by_alias=True)
    document["provenance"] = made_from() | {"requestSha256": "d" * 64} | provenance
    return PolicyResult.model_validate(document)


def results(*provenances: dict[str, Any] | None) -> list[Named]:
    request = request_of(first_job(rewards=MODELS))
    made = make_result(request, None)
    found = [made if p is None else with_provenance(made, **p) for p in provenances]
    return [Named(f"w{i}", f"policies/{i}.json", result) for i, result in enumerate(found)]


def first_job(**spec: Any) -> dict[str, Any]:
    (job,) = World(body=portfolio_body(**spec)).step().creates
    return job


SPEC = make_portfolio(rewards=MODELS).spec


def test_equal_contents_are_no_problem_and_images_that_did_not_say_neither() -> None:
    training = {"training": made_from(prompts="e")}  # other prompts: another file, another limit
    assert unequal_inputs(SPEC, results({}, training, None, training)) is None


@pytest.mark.parametrize(
    ("odd", "what"),
    [
        (made_from(prompts="9"), "the evaluation prompts s3://data/test.jsonl"),
        (made_from(base="9"), "the base model s3://models/tiny"),
        (made_from(humor="9"), "the reward model s3://models/humor of 'humor'"),
        ({"training": made_from(base="9")}, "the base model s3://models/tiny"),
    ],
)
def test_the_input_that_differed_is_named_with_whom_it_differed_for(
    odd: dict[str, Any], what: str
) -> None:
    message = unequal_inputs(SPEC, results({}, odd, {}))
    assert message is not None
    assert message.startswith(f"{what} had different contents: SHA-256 ")
    step = "training" if "training" in odd else "evaluation"
    assert f"SHA-256 999999999999… for the {step} of w1." in message
    # What most were made of stays.
    assert "delete what was made of another: policies/1.json below" in message


def test_two_trainings_on_different_prompts_differ() -> None:
    one, other = ({"training": made_from(prompts=digit)} for digit in "34")
    message = unequal_inputs(SPEC, results(one, one, other))
    assert message is not None
    assert message.startswith("the training prompts s3://data/train.jsonl had different contents")


def answered(world: World, name: str, **provenance: Any) -> None:
    """Let a Job end; its result says what it read."""
    world.finish(name)
    request = world.requests[name]
    if hasattr(request, "evaluation_digest"):
        key = artifacts.evaluation_result(request.policy_digest, request.evaluation_digest)
        result = PolicyResult.model_validate_json(world.store.objects[key])
        text = with_provenance(result, **provenance).model_dump_json(by_alias=True)
        world.store.objects[key] = text.encode()


def half_way(**spec: Any) -> World:
    """A world in which the base policy and the extremes are evaluated."""
    world = World(body=portfolio_body(rewards=MODELS, **spec))
    for _ in range(3):
        world.step()
        for name in world.unfinished:
            answered(world, name)
    return world


def test_nothing_more_is_started_or_published_until_contents_are_equal_again() -> None:
    world = half_way(training={"parallelism": 1})
    world.step()
    world.step()
    (training,) = world.unfinished
    answered(world, training)
    world.step()
    (evaluation,) = world.unfinished
    answered(world, evaluation, **made_from(prompts="9"))
    created = list(world.created)

    decided = world.step()
    assert world.created == created
    assert world.condition("Trained")["reason"] == "InputsDiffer"
    assert world.condition("Stalled")["reason"] == "InputsDiffer"
    assert world.condition("GuaranteeHeld")["status"] == "Unknown"
    assert [e.reason for e in decided.events if e.type == "Warning"] == ["InputsDiffer"]
    name = world.requests[evaluation].policy
    assert f"for the evaluation of {name}" in world.condition("Trained")["message"]

    # The remedy that the message names.
    request = world.requests[evaluation]
    world.store.delete(
        artifacts.evaluation_result(request.policy_digest, request.evaluation_digest)
    )
    world.jobs.pop(evaluation)
    world.run()
    assert world.condition("GuaranteeHeld")["status"] == "True"
    assert world.body["status"]["oracleCalls"]["summary"] == "5/5"


def test_units_are_not_frozen_on_contents_that_differ() -> None:
    world = World(body=portfolio_body(rewards=MODELS))
    for digit in "bb9":
        world.step()
        for name in world.unfinished:
            answered(world, name, **made_from(prompts=digit))
    world.step()
    assert world.condition("Trained")["reason"] == "InputsDiffer"
    assert not [key for key in world.store.objects if key.startswith("calibrations/")]


def test_what_is_deployed_goes_on_being_served() -> None:
    world = World(body=portfolio_body(rewards=MODELS))
    world.run()
    before = world.body["status"]["portfolio"]
    served = dict(world.services)
    for number, policy in enumerate(world.work.policies[:2]):
        result = PolicyResult.model_validate_json(world.store.objects[policy.result_key])
        odd = with_provenance(result, **made_from(base=str(number)))
        world.store.objects[policy.result_key] = odd.model_dump_json(by_alias=True).encode()
    world.step()
    assert world.condition("Trained")["reason"] == "InputsDiffer"
    assert world.condition("Ready")["status"] == "True"
    assert world.body["status"]["portfolio"]["policies"] == before["policies"]
    assert world.services == served


def calls(world: World) -> list[OracleCall]:
    entries = [v for k, v in sorted(world.store.objects.items()) if k.startswith("records/")]
    events = [event for entry in entries for event in parsed_entry(entry).parsed]
    return [event for event in events if isinstance(event, OracleCall)]


def test_the_record_has_the_digests_of_what_was_read() -> None:
    world = World(body=portfolio_body(rewards=MODELS))
    for _ in range(4):
        world.step()
        for name in world.unfinished:
            commit = {"uri": "x", "revision": "0f" * 20, "sha256": "a" * 64}
            answered(world, name, baseModel=commit, training=made_from(prompts="e"))
    world.step()
    call = calls(world)[0]
    assert call.training is not None
    assert call.training.read is not None
    assert call.evaluation.read is not None
    assert call.training.read.prompts.sha256 == "e" * 64
    read = call.evaluation.read
    assert (read.prompts.sha256, read.rewards["humor"].sha256) == ("b" * 64, "c" * 64)
    assert read.base_model.revision == "0f" * 20
    assert read.image == "registry.example/palm-evaluator@sha256:1"


def test_what_an_image_claims_to_be_is_not_drawn_on_an_auditors_terminal() -> None:
    world = half_way()
    hostile = {
        "image": "\x1b[2J",
        "baseModel": {"uri": "\x1b[2J", "revision": "\x1b", "sha256": "a" * 64},
    }
    world.step()
    for name in world.unfinished:
        answered(world, name, **hostile)
    for _ in range(3):
        world.step()
        for name in world.unfinished:
            answered(world, name, **hostile)
    assert len(calls(world)) > 2
    assert "\\u001b" not in json.dumps([c.model_dump(mode="json") for c in calls(world)])
    assert calls(world)[-1].evaluation.read is not None
    assert calls(world)[-1].evaluation.read.image is None
