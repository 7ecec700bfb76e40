"""KL(π || π_ref) of two tiny models, enumerated response by response, against its estimate."""

from typing import Any

import numpy as np
import pytest

from tiny_models import (
    END,
    LONGEST,
    PAD,
    PROMPTS,
    VOCABULARY,
    TokenTokenizer,
    enumerated_divergence,
    log_probability,
    responses,
    tiny_model,
)

pytestmark = pytest.mark.model

SAMPLES = 1500


@pytest.fixture(scope="module")
def sampled() -> list[list[Any]]:
    from palm_evaluator.generation import Sampling
    from palm_evaluator.with_transformers import TransformersGenerator

    generator = TransformersGenerator(tiny_model(1), tiny_model(2), TokenTokenizer())
    texts = [" ".join(map(str, prompt)) for prompt in PROMPTS]
    return generator.sampled(texts, Sampling(SAMPLES, LONGEST, seed=3))


@pytest.mark.parametrize("prompt", range(len(PROMPTS)))
def test_the_estimate_is_the_enumerated_divergence(sampled: list[list[Any]], prompt: int) -> None:
    exact = enumerated_divergence(tiny_model(1), tiny_model(2), PROMPTS[prompt])
    values = np.array([item.divergence for item in sampled[prompt]])
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert exact > 0.1
    assert values.mean() == pytest.approx(exact, abs=3 * error)
    assert error < 0.2 * exact  # tight enough to tell estimators apart


@pytest.mark.parametrize("prompt", range(len(PROMPTS)))
def test_responses_come_as_often_as_the_policy_says(sampled: list[list[Any]], prompt: int) -> None:
    counts = dict.fromkeys((item.text for item in sampled[prompt]), 0)
    for item in sampled[prompt]:
        counts[item.text] += 1
    for response in responses():
        text = " ".join(str(token) for token in response if token != END)
        if response[-1] != END and len(response) == LONGEST:
            expected = np.exp(log_probability(tiny_model(1), PROMPTS[prompt], response))
            spread = np.sqrt(expected * (1 - expected) / SAMPLES)
            assert counts.get(text, 0) / SAMPLES == pytest.approx(
                expected, abs=4.5 * spread + 1 / SAMPLES
            )


def test_the_end_token_counts_and_what_follows_it_does_not() -> None:
    import torch

    from palm_evaluator.with_transformers import counted_tokens

    response = torch.tensor([[4, END, PAD, PAD], [4, 3, 2, 4], [END, END, 3, PAD]])
    assert counted_tokens(response, [END]).sum(dim=1).tolist() == [2, 4, 1]


def test_the_base_policy_does_not_diverge_from_itself() -> None:
    from palm_evaluator.generation import Sampling
    from palm_evaluator.with_transformers import TransformersGenerator

    generator = TransformersGenerator(tiny_model(1), tiny_model(1), TokenTokenizer())
    (row,) = generator.sampled(["2 3"], Sampling(4, LONGEST, seed=0))
    assert [item.divergence for item in row] == [0.0] * 4


def test_equal_seeds_draw_equal_responses() -> None:
    from palm_evaluator.generation import Sampling
    from palm_evaluator.with_transformers import TransformersGenerator

    generator = TransformersGenerator(tiny_model(1), tiny_model(2), TokenTokenizer())
    first, again, other = (
        generator.sampled(["2 3"], Sampling(20, LONGEST, seed=seed)) for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def generator(policy: int = 1, base: int = 2) -> Any:
    from palm_evaluator.with_transformers import TransformersGenerator

    return TransformersGenerator(tiny_model(policy), tiny_model(base), TokenTokenizer())


def test_a_response_depends_on_its_own_seed_and_not_on_its_batch() -> None:
    from palm_evaluator.generation import Sampling

    together = generator().sampled(["2 3", "4", "3 3 2"], Sampling(6, LONGEST, seed=5))
    fewer = generator().sampled(["2 3", "4"], Sampling(2, LONGEST, seed=5))
    later = generator().sampled(["2 3", "4", "3 3 2"], Sampling(4, LONGEST, seed=5, first=2))
    for prompt in range(2):
        texts = [item.text for item in together[prompt]]
        assert [item.text for item in fewer[prompt]] == texts[:2]
        assert [item.text for item in later[prompt]] == texts[2:]


def test_policies_that_agree_say_the_same_under_the_same_seeds() -> None:
    """Common random numbers: a policy beside itself differs nowhere, beside another less than
    two independent samples would."""
    from palm_evaluator.generation import Sampling

    sampling = Sampling(400, LONGEST, seed=5)
    base, policy = (generator(seed).sampled(["2 3"], sampling)[0] for seed in (2, 1))
    other = generator(1).sampled(["2 3"], Sampling(400, LONGEST, seed=6))[0]
    same = sum(a.text == b.text for a, b in zip(base, policy, strict=True))
    independent = sum(a.text == b.text for a, b in zip(base, other, strict=True))
    assert same > independent


def test_a_models_own_generation_config_does_not_bend_the_distribution() -> None:
    from palm_evaluator.generation import Sampling
    from palm_evaluator.with_transformers import TransformersGenerator

    bent = tiny_model.__wrapped__(1)
    bent.generation_config.repetition_penalty = 5.0
    bent.generation_config.temperature = 0.1
    bent.generation_config.top_k = 1
    sampling = Sampling(50, LONGEST, seed=5)
    one = TransformersGenerator(bent, tiny_model(2), TokenTokenizer()).sampled(["2 3"], sampling)
    assert one == generator().sampled(["2 3"], sampling)


def test_greedy_decoding_takes_the_likeliest_token_every_time() -> None:
    from palm_evaluator.generation import Sampling

    ((item,),) = generator().sampled(["2 3"], Sampling(1, LONGEST, seed=5, greedy=True))
    best: tuple[int, ...] = ()
    while len(best) < LONGEST and END not in best:
        best = max(
            ((*best, token) for token in range(VOCABULARY)),
            key=lambda tokens: log_probability(tiny_model(1), PROMPTS[0], tokens),
        )
    assert item.text == " ".join(str(token) for token in best if token != END)
    assert item.divergence == 0.0


def test_k3_is_a_mean_of_its_own_with_the_same_expectation(sampled: list[list[Any]]) -> None:
    exact = enumerated_divergence(tiny_model(1), tiny_model(2), PROMPTS[0])
    values = np.array([item.k3 for item in sampled[0]])
    assert (values >= 0).all()
    assert values.mean() == pytest.approx(exact, rel=0.5)  # heavy-tailed: no more than that
