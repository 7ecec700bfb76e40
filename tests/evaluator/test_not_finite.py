"""Policies and rewards whose numbers are not finite: a sentence that names them, and no retry."""

from collections.abc import Sequence
from math import inf, nan
from typing import Any

import numpy as np
import pytest

from jobs import evaluation_request
from palm.contract import EvaluationRequest, EvaluationSettings
from palm.exit_codes import NOT_RETRIED, ExitCode
from palm_evaluator.estimates import policy_result
from palm_evaluator.evaluation import Evaluated, evaluated
from palm_evaluator.generation import Sampled, Sampling
from palm_rewards import RewardScorer
from palm_store.job import InvalidData, code_of
from palm_store.prompts import Prompt
from tiny_models import END, LONGEST, PAD, PROMPTS, VOCABULARY, TokenTokenizer

ASKED = [Prompt("a", None, "line 1"), Prompt("b", None, "line 2")]
SCORERS = [RewardScorer(name, lambda r: [1.0] * len(r.texts)) for name in ("brevity", "humor")]
TRAINED = evaluation_request(policy="w0-3", policy_digest="b" * 32)


class Generator:
    """Gives the response to the second prompt some divergence."""

    engine = "Transformers"
    estimator = "exact"

    def __init__(self, divergence: float, k3: float = 0.0) -> None:
        self._last = Sampled("x", 1, divergence, k3=k3)

    def sampled(self, prompts: Sequence[Any], sampling: Sampling) -> list[list[Sampled]]:
        fine = [Sampled("x", 1, 0.5)] * sampling.samples_per_prompt
        return [fine, [*fine[1:], self._last]]


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_a_policy_without_finite_log_probabilities_is_named_and_not_retried(value: float) -> None:
    with pytest.raises(
        InvalidData, match=r"policy w0-3: .* response to the prompt of line 2"
    ) as caught:
        evaluated(TRAINED, Generator(value), SCORERS, ASKED)
    assert "learningRate" in str(caught.value)
    assert code_of(caught.value) == ExitCode.INVALID_DATA
    assert code_of(caught.value) in NOT_RETRIED


def test_of_the_base_policy_the_model_is_blamed() -> None:
    with pytest.raises(InvalidData, match="the base model's log-probabilities are not finite"):
        evaluated(evaluation_request(), Generator(nan), SCORERS, ASKED)


def test_a_reward_that_is_not_finite_is_named_and_not_retried() -> None:
    scorers = [SCORERS[0], RewardScorer("humor", lambda r: [nan] * len(r.texts))]
    with pytest.raises(InvalidData, match="reward 'humor' of response 0 is nan"):
        evaluated(TRAINED, Generator(0.5), scorers, ASKED)


def test_a_training_that_meets_such_a_reward_is_retried() -> None:
    """It is another sample from its last checkpoint on."""
    from palm_rewards import Responses

    humor = RewardScorer("humor", lambda r: [nan] * len(r.texts))
    with pytest.raises(Exception, match="humor") as caught:
        humor(Responses(prompts=["a"], texts=["b"], token_counts=[1], answers=[None]))
    assert code_of(caught.value) == ExitCode.FAILED


def test_a_diagnostic_that_overflowed_is_left_out() -> None:
    generator = Generator(3.0, k3=inf)
    found = evaluated(TRAINED, generator, SCORERS, ASKED)
    result = policy_result(TRAINED, generator, found, seconds=1.0)
    assert result.divergence.k3 is None
    assert result.divergence.mean > 0.5
    fine = Evaluated([[Sampled("x", 1, 0.5, k3=0.25)]], np.zeros((2, 1, 1)))
    assert policy_result(TRAINED, generator, fine, seconds=1.0).divergence.k3 == 0.25


def diverged_model(what: float) -> Any:
    """A tiny model one of whose tokens has no finite logit."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, intermediate_size=16, max_position_embeddings=16,
        bos_token_id=None, eos_token_id=END, pad_token_id=PAD, tie_word_embeddings=False,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config).eval()
    with torch.no_grad():
        model.lm_head.weight[3] = what
    return model


@pytest.mark.model
@pytest.mark.parametrize("decoding", ["Sampling", "Greedy"])
@pytest.mark.parametrize("what", [nan, inf])
def test_a_policy_that_diverged_is_noticed_by_transformers(decoding: Any, what: float) -> None:
    from palm_evaluator.with_transformers import TransformersGenerator
    from tiny_models import tiny_model

    settings = EvaluationSettings(
        decoding=decoding, samples_per_prompt=1, max_completion_tokens=LONGEST, seed=0
    )
    request: EvaluationRequest = TRAINED.model_copy(update={"settings": settings})
    prompts = [Prompt(" ".join(map(str, ids)), None, f"line {n}") for n, ids in enumerate(PROMPTS)]
    broken = TransformersGenerator(diverged_model(what), tiny_model(2), TokenTokenizer())
    with pytest.raises(InvalidData, match="policy w0-3: log-probabilities"):
        evaluated(request, broken, SCORERS, prompts)
    whole = TransformersGenerator(tiny_model(1), tiny_model(2), TokenTokenizer())
    assert evaluated(request, whole, SCORERS, prompts).rewards.shape == (2, len(PROMPTS), 1)


@pytest.mark.model
def test_a_token_that_is_impossible_is_no_divergence_and_what_follows_the_end_does_not_count() -> (
    None
):
    import torch

    from palm_evaluator.draws import Finiteness

    finite = Finiteness()
    ids: Any = torch.zeros(3, 1, dtype=torch.long)
    for row in ([0.0, -inf], [nan, 0.0], [0.0, 1.0]), ([nan, 0.0], [0.0, 1.0], [-inf, -inf]):
        finite(ids, torch.tensor(row))  # type: ignore[arg-type]
    counted = torch.tensor([[True, False], [True, True], [True, True]])
    assert finite.holds(counted).tolist() == [True, False, False]
