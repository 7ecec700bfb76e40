from pathlib import Path
from typing import Any

import pytest

from jobs import training_request, training_settings
from palm.contract import AdapterSettings
from palm_trainer.arguments import (
    Hardware,
    adapter_arguments,
    grpo_arguments,
    optimiser_steps,
)

CPU = Hardware(cuda=False)
GPU = Hardware(cuda=True, largest_batch=8)


def arguments(hardware: Hardware = CPU, **settings: Any) -> dict[str, Any]:
    request = training_request(settings=training_settings(**settings))
    return grpo_arguments(request, hardware, Path("folder"))


def test_the_weight_vector_is_trls_reward_weights() -> None:
    assert arguments()["reward_weights"] == [0.25, 0.75]


def test_the_coefficient_of_the_divergence_is_trls_beta() -> None:
    assert arguments(kl_coefficient=0.02)["beta"] == 0.02


def test_the_sampled_policy_is_the_policy_itself() -> None:
    chosen = arguments()
    assert (chosen["temperature"], chosen["top_p"], chosen["top_k"]) == (1.0, 1.0, 0)


def test_no_scaling_stands_between_the_loss_and_the_objective() -> None:
    chosen = arguments()
    assert (chosen["loss_type"], chosen["scale_rewards"]) == ("dr_grpo", "none")


@pytest.mark.parametrize("hardware", [CPU, GPU])
@pytest.mark.parametrize(("batch", "group"), [(8, 4), (64, 4), (12, 4), (6, 2), (10, 5), (7, 7)])
def test_one_optimiser_step_sees_one_batch(hardware: Hardware, batch: int, group: int) -> None:
    chosen = arguments(hardware, batch_size=batch, completions_per_prompt=group, episodes=1_000)
    per_step = chosen["per_device_train_batch_size"] * chosen["gradient_accumulation_steps"]
    assert per_step == batch
    assert chosen["max_steps"] == 1_000 // batch


def test_a_gpu_bounds_the_responses_per_pass() -> None:
    assert arguments(GPU, batch_size=64, episodes=64)["per_device_train_batch_size"] == 8


def test_nothing_is_half_precision_on_a_cpu() -> None:
    chosen = arguments(CPU)
    assert not chosen["bf16"]
    assert not chosen["gradient_checkpointing"]
    assert chosen["use_cpu"]


@pytest.mark.parametrize(
    ("adapter", "hardware", "expected"),
    [
        ("Full", CPU, "float32"),
        ("LoRA", CPU, "float32"),
        ("Full", GPU, "float32"),
        ("LoRA", GPU, "bfloat16"),
    ],
)
def test_trained_parameters_are_float32(adapter: Any, hardware: Hardware, expected: str) -> None:
    chosen = arguments(hardware, adapter=AdapterSettings(type=adapter))
    assert chosen["model_init_kwargs"]["dtype"] == expected


def test_a_batch_that_splits_a_group_is_refused() -> None:
    with pytest.raises(
        ValueError, match="batchSize 10 must be a multiple of completionsPerPrompt 4"
    ):
        optimiser_steps(training_settings(batch_size=10))


def test_fewer_episodes_than_a_batch_are_refused() -> None:
    with pytest.raises(ValueError, match="episodes 7 must be at least batchSize 8"):
        optimiser_steps(training_settings(episodes=7))


def test_full_training_has_no_adapter() -> None:
    assert adapter_arguments(AdapterSettings(type="Full")) is None


def test_an_adapter_has_its_rank() -> None:
    chosen = adapter_arguments(AdapterSettings(type="LoRA", rank=4))
    assert chosen is not None
    assert (chosen["r"], chosen["target_modules"]) == (4, "all-linear")


@pytest.mark.model
def test_trl_accepts_the_arguments(tmp_path: Path) -> None:
    from trl import GRPOConfig

    request = training_request(settings=training_settings(batch_size=8))
    config = GRPOConfig(**grpo_arguments(request, CPU, tmp_path))
    assert config.generation_batch_size == 8
    assert config.use_bias_correction_kl  # else the penalty's gradient is of another divergence
