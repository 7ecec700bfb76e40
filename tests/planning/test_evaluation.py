"""What the operator asks of the evaluator, and what it makes of the answers."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from builders import SETTINGS, make_portfolio, make_result, portfolio_body
from palm.contract import AffineMap, PolicyResult
from palm.errors import InvalidResult
from palm_operator.api.portfolio import parse_portfolio
from palm_operator.calls.evidence import policy_result
from palm_operator.calls.outcomes import Outcomes, evaluation_error
from palm_operator.calls.requests import (
    Place,
    base_evaluation,
    policies_at,
    policy_evaluation,
    revision_of,
    training_utilities,
)
from palm_operator.refusing import Refused, check

MAPS = (AffineMap(offset=0.0, scale=2.0), AffineMap(offset=0.0, scale=4.0))
CODED = {"name": "kind", "model": {"uri": "s3://palm/kind", "trustRemoteCode": True}}


def with_reward(reward: dict[str, Any]) -> dict[str, Any]:
    body = portfolio_body()
    body["spec"]["rewards"][1] = reward
    return body


def some_policy(portfolio: Any) -> Any:
    (policy,) = policies_at(portfolio, MAPS, [Place(0, (0.5, 0.5), (0.5, 0.5))])
    return policy


def test_code_that_comes_with_a_model_is_refused_unless_the_settings_allow_it() -> None:
    portfolio = parse_portfolio(with_reward(CODED))
    with pytest.raises(Refused, match=r"spec\.rewards\[1\]\.model\.trustRemoteCode") as refusal:
        check(portfolio, SETTINGS)
    assert refusal.value.reason == "RemoteCodeNotAllowed"
    check(portfolio, replace(SETTINGS, allow_remote_code=True))


def test_a_preset_reaches_the_images_with_nothing_left_open() -> None:
    body = with_reward({"name": "safe", "model": {"uri": "s3://palm/b", "preset": "BeaverCost"}})
    reward = base_evaluation(parse_portfolio(body)).rewards[1].model
    assert reward is not None
    assert (reward.architecture, reward.sign, reward.template) == (
        "ScoreHead",
        "Negative",
        "Format",
    )
    assert reward.format == "BEGINNING OF CONVERSATION: USER: {prompt} ASSISTANT:{response}"


def test_how_long_a_reward_may_take_makes_no_other_policy() -> None:
    quick, slow = (
        parse_portfolio(with_reward({"name": "b", "verifiable": {"type": "Length"}, **patience}))
        for patience in ({}, {"timeoutSeconds": 7200})
    )
    assert some_policy(quick).digest == some_policy(slow).digest
    assert revision_of(quick.spec) == revision_of(slow.spec)


def test_another_version_of_a_function_makes_another_policy() -> None:
    one, other = (
        parse_portfolio(with_reward({"name": "b", "entrypoint": {"function": "a:b", "version": v}}))
        for v in ("1", "2")
    )
    assert some_policy(one).digest != some_policy(other).digest


def test_a_precision_is_asked_for_in_units_of_training() -> None:
    portfolio = make_portfolio(
        evaluation={"precision": {"standardError": "0.01"}}, training={"klCoefficient": "0.05"}
    )
    request = policy_evaluation(portfolio, some_policy(portfolio), MAPS)
    assert request.settings.precision is not None
    assert request.units.rewards == (2.0, 4.0)
    assert request.units.divergence == pytest.approx(20.0)
    bare = policy_evaluation(portfolio, some_policy(portfolio))
    assert bare.evaluation_digest == request.evaluation_digest  # the policy's digest has the maps
    assert base_evaluation(portfolio).units.rewards is None


def test_greedy_responses_are_judged_without_the_divergence() -> None:
    sampled = make_portfolio()
    greedy = make_portfolio(evaluation={"decoding": "Greedy", "samplesPerPrompt": 1})
    result = make_result(base_evaluation(sampled), (0.5, 0.5))
    without = training_utilities(greedy.spec, MAPS, [result])
    with_it = training_utilities(sampled.spec, MAPS, [result])
    assert without == pytest.approx(with_it + 0.01 * result.divergence.mean)


def test_a_result_of_another_decoding_or_of_other_prompts_is_not_believed() -> None:
    request = base_evaluation(make_portfolio())
    result = make_result(request, None)
    for wrong, sentence in (
        ({"decoding": "Greedy"}, "decoding of the result is Greedy"),
        ({"prompt_divergences": (0.1,) * 3}, "has 3 divergences of prompts; expected 2"),
    ):
        content = result.model_copy(update=wrong).model_dump_json(by_alias=True).encode()
        with pytest.raises(InvalidResult, match=sentence):
            policy_result(content, request)


def paired_results(correlation: float) -> tuple[PolicyResult, ...]:
    """Two policies whose rewards and KL vary over prompts, each KL with its rewards."""
    rng = np.random.default_rng(0)
    found = []
    for index in range(2):
        request = base_evaluation(make_portfolio()).model_copy(
            update={"evaluation_digest": str(index) * 32}
        )
        rows = rng.standard_normal((200, 1)) + 0.01 * rng.standard_normal((200, 2))
        divergence = 100 * correlation * rows[:, 0] + 100 * (1 - correlation)
        result = make_result(request, (0.5, 0.5), prompts=200)
        kl = result.divergence.model_copy(
            update={"standard_error": float(divergence.std(ddof=1) / np.sqrt(200))}
        )
        changes = {
            "prompt_rewards": tuple(map(tuple, rows.tolist())),
            "prompt_divergences": tuple(divergence.tolist()),
            "divergence": kl,
        }
        found.append(result.model_copy(update=changes))
    return tuple(found)


def eta_of(portfolio: Any, results: tuple[PolicyResult, ...]) -> float:
    policies = tuple(SimpleNamespace(evaluation_digest=r.evaluation_digest, index=i)
                     for i, r in enumerate(results))  # fmt: skip
    outcomes = Outcomes(policies, np.eye(2), np.array([[0.1, 0.2], [0.3, 0.4]]))  # type: ignore[arg-type]
    unit = AffineMap(offset=0.0, scale=1.0)
    work = SimpleNamespace(calibration=SimpleNamespace(scale=(1.0, 1.0)), affine_maps=(unit, unit))
    known = {r.evaluation_digest: r for r in results}
    error = evaluation_error(portfolio.spec, work, outcomes, known)  # type: ignore[arg-type]
    assert error is not None
    return error.absolute


def test_what_rewards_and_divergence_have_in_common_cancels() -> None:
    """β·KL is 0.01·KL: with correlation it is the reward's own variation, which it takes away."""
    results = paired_results(1.0)
    apart = tuple(r.model_copy(update={"prompt_divergences": None}) for r in results)
    portfolio = make_portfolio()
    assert eta_of(portfolio, results) < 0.1 * eta_of(portfolio, apart)


def test_more_confidence_is_a_larger_error_and_no_other_revision() -> None:
    usual, sure = make_portfolio(), make_portfolio(evaluation={"confidence": "0.999"})
    results = paired_results(0.0)
    assert eta_of(usual, results) < eta_of(sure, results)
    assert revision_of(usual.spec) == revision_of(sure.spec)
