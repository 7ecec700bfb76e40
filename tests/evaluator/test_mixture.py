"""Policies mixed at decoding: two tiny models whose mixture is known, token by token."""

from collections.abc import Callable
from dataclasses import replace
from math import log, sqrt
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jobs import evaluation_request
from palm.contract import AdapterSettings
from palm.evaluations import MixedPolicy
from palm.policies import mixture_digest
from palm_evaluator.__main__ import chosen_engine
from palm_store.job import InvalidRequest
from tiny_models import (
    END,
    LONGEST,
    PROMPTS,
    VOCABULARY,
    TokenTokenizer,
    enumerated_divergence,
    log_probability,
    responses,
    tiny_model,
    token_log_probabilities,
)

pytestmark = pytest.mark.model

WEIGHTS = (0.3, 0.7)
EXPERTS = (1, 2)
BASE = 3
SAMPLES = 1500


def mixed_distribution(tokens: list[int], weights: tuple[float, ...] = WEIGHTS) -> Any:
    """Π_i π_i^(w_i), normalized, after some tokens: from the definition."""
    logs = [token_log_probabilities(tiny_model(seed), tokens) for seed in EXPERTS]
    product = np.prod([np.exp(row) ** w for row, w in zip(logs, weights, strict=True)], axis=0)
    return product / product.sum()


def mixed_probability(prompt: list[int], response: tuple[int, ...]) -> float:
    steps = [
        mixed_distribution(prompt + list(response[:position]))[token]
        for position, token in enumerate(response)
    ]
    return float(np.prod(steps))


def generator(weights: tuple[float, ...] = WEIGHTS, *, base: int = BASE) -> Any:
    from palm_evaluator.mixture import Mixture
    from palm_evaluator.with_transformers import TransformersGenerator

    experts = [tiny_model(seed) for seed in EXPERTS]
    reference = tiny_model.__wrapped__(base)  # its generation configuration is changed
    return TransformersGenerator(Mixture(experts, weights, reference), reference, TokenTokenizer())


def sampling(samples: int, **changes: Any) -> Any:
    from palm_evaluator.generation import Sampling

    return replace(Sampling(samples, LONGEST, seed=3), **changes)


def texts() -> list[str]:
    return [" ".join(map(str, prompt)) for prompt in PROMPTS]


@pytest.fixture(scope="module")
def sampled() -> list[list[Any]]:
    drawn: list[list[Any]] = generator().sampled(texts(), sampling(SAMPLES))
    return drawn


def constant(*probabilities: float) -> Callable[..., Any]:
    """A model that says the same whatever it reads, as logits that are not normalized."""
    import torch

    logits = torch.tensor([[[log(p) + 5.0 for p in probabilities]]])
    return lambda **inputs: SimpleNamespace(logits=logits)


def test_the_mixed_logits_are_those_computed_by_hand() -> None:
    from palm_evaluator.mixture import Mixture

    model = SimpleNamespace(device="cpu", generation_config=None)
    experts = [constant(1 / 2, 1 / 4, 1 / 4), constant(1 / 8, 1 / 8, 3 / 4)]
    found = Mixture(experts, (0.5, 0.5), model)().logits[0, 0].exp()
    # √(1/2·1/8) = 1/4, √(1/4·1/8) = 1/√32, √(1/4·3/4) = √3/4
    assert found.tolist() == pytest.approx([1 / 4, 1 / sqrt(32), sqrt(3) / 4], rel=1e-6)
    # 2/3·log p + 1/3·log q, before it is normalized
    found = Mixture(experts, (2 / 3, 1 / 3), model)().logits[0, 0]
    assert found[0].item() == pytest.approx(-(2 / 3 * log(2) + 1 / 3 * log(8)), rel=1e-6)


@pytest.mark.parametrize("prompt", range(len(PROMPTS)))
def test_responses_come_as_often_as_the_mixture_says(sampled: list[list[Any]], prompt: int) -> None:
    found = [item.text for item in sampled[prompt]]
    for response in responses():
        if response[-1] != END and len(response) == LONGEST:
            expected = mixed_probability(PROMPTS[prompt], response)
            spread = sqrt(expected * (1 - expected) / SAMPLES)
            share = found.count(" ".join(map(str, response))) / SAMPLES
            assert share == pytest.approx(expected, abs=4.5 * spread + 1 / SAMPLES)


@pytest.mark.parametrize("prompt", range(len(PROMPTS)))
def test_the_divergence_is_that_of_the_mixture(sampled: list[list[Any]], prompt: int) -> None:
    exact = 0.0
    for response in responses():
        probability = mixed_probability(PROMPTS[prompt], response)
        base = log_probability(tiny_model(BASE), PROMPTS[prompt], response)
        exact += probability * (log(probability) - base)
    values = np.array([item.divergence for item in sampled[prompt]])
    error = values.std(ddof=1) / sqrt(len(values))
    assert exact > 0.05
    assert values.mean() == pytest.approx(exact, abs=3 * error)
    assert error < 0.2 * exact
    for seed in EXPERTS:  # neither of the two would pass for it
        alone = enumerated_divergence(tiny_model(seed), tiny_model(BASE), PROMPTS[prompt])
        assert abs(alone - exact) > 3 * error


def test_the_divergence_of_a_response_is_the_exact_sum_over_its_positions() -> None:
    for row, prompt in zip(generator().sampled(texts(), sampling(4)), PROMPTS, strict=True):
        for item in row:
            tokens = [int(word) for word in item.text.split()]
            response = tokens if len(tokens) == item.tokens else [*tokens, END]
            expected = 0.0
            for position in range(len(response)):
                before = prompt + response[:position]
                mixed = mixed_distribution(before)
                base = token_log_probabilities(tiny_model(BASE), before)
                expected += float((mixed * (np.log(mixed) - base)).sum())
            assert item.divergence == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_greedy_takes_the_likeliest_token_of_the_mixture_every_time() -> None:
    rows = generator().sampled(texts(), sampling(1, greedy=True))
    for prompt, (item,) in zip(PROMPTS, rows, strict=True):
        best: list[int] = []
        while len(best) < LONGEST and END not in best:
            best.append(int(mixed_distribution(prompt + best).argmax()))
        assert item.text == " ".join(str(token) for token in best if token != END)
        assert item.divergence == 0.0


def test_nearly_all_weight_on_one_policy_is_that_policy() -> None:
    from palm_evaluator.with_transformers import TransformersGenerator

    alone = TransformersGenerator(tiny_model(1), tiny_model(BASE), TokenTokenizer())
    one = generator((1 - 1e-7, 1e-7)).sampled(texts(), sampling(30))
    other = alone.sampled(texts(), sampling(30))
    assert [[item.text for item in row] for row in one] == [
        [item.text for item in row] for row in other
    ]
    for mixed, single_row in zip(one, other, strict=True):
        assert [item.divergence for item in mixed] == pytest.approx(
            [item.divergence for item in single_row], abs=1e-4
        )


def test_adapters_that_share_a_base_model_mix_as_models_of_their_own_do(tmp_path: Any) -> None:
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model

    from palm_evaluator.mixture import Mixture
    from palm_evaluator.with_transformers import _adapted

    folders = []
    for seed in EXPERTS:
        torch.manual_seed(seed)
        adapted = get_peft_model(
            tiny_model.__wrapped__(BASE), LoraConfig(r=2, target_modules="all-linear")
        )
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter)
        adapted.save_pretrained(tmp_path / str(seed))
        folders.append(tmp_path / str(seed))
    base = tiny_model(BASE)
    apart = [
        PeftModel.from_pretrained(tiny_model.__wrapped__(BASE), folder).eval() for folder in folders
    ]
    shared = _adapted(tiny_model.__wrapped__(BASE), folders)
    ids = torch.tensor([[2, 3, 4, 2]])
    with torch.inference_mode():
        one, other = (
            Mixture(experts, WEIGHTS, base)(input_ids=ids).logits for experts in (apart, shared)
        )
        plain = base(input_ids=ids).logits.log_softmax(dim=-1)
    assert torch.allclose(one, other, atol=1e-6)
    assert not torch.allclose(one, plain, atol=1e-2)
    assert one.shape == (1, 4, VOCABULARY)


def mixture(*weights: float) -> tuple[MixedPolicy, ...]:
    return tuple(
        MixedPolicy(policy_digest=f"{place:x}" * 32, weight=weight)
        for place, weight in enumerate(weights, start=1)
    )


def mixed_request(*weights: float, **changes: Any) -> Any:
    settings = {"policy": "w1", "policy_digest": "b" * 32, "adapter": AdapterSettings(type="Full")}
    return evaluation_request(mixture=mixture(*weights), **(settings | changes))


@pytest.mark.parametrize(
    ("weights", "changes", "why"),
    [
        ((0.5, 0.4), {}, "sum to 1, not 0.9"),
        ((0.5, -0.5, 1.0), {}, "greater than 0"),
        ((1.0,), {}, "less than 1"),
        ((0.5, 0.5), {"policy_digest": None}, "needs a policyDigest"),
        ((0.5, 0.5), {"adapter": None}, "an adapter"),
    ],
)
def test_a_mixture_that_is_none_is_refused(
    weights: tuple[float, ...], changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        mixed_request(*weights, **changes)


def test_a_policy_is_in_a_mixture_once() -> None:
    twice = (MixedPolicy(policy_digest="1" * 32, weight=0.5),) * 2
    with pytest.raises(ValueError, match="more than once"):
        evaluation_request(
            mixture=twice, policy_digest="b" * 32, adapter=AdapterSettings(type="Full")
        )


def test_the_digest_of_a_mixture_is_of_its_policies_and_weights_whatever_their_order() -> None:
    one = mixture(0.25, 0.75)
    assert mixture_digest(one) == mixture_digest(one[::-1])
    assert mixture_digest(one) != mixture_digest(mixture(0.75, 0.25))


def test_vllm_refuses_a_mixture_and_auto_takes_transformers() -> None:
    with pytest.raises(InvalidRequest, match="vLLM samples from one model"):
        chosen_engine("vLLM", mixes=True)
    assert chosen_engine("Auto", mixes=True) == "Transformers"
