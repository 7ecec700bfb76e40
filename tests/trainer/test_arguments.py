from pathlib import Path
from typing import Any

import pytest

from jobs import training_request, training_settings
from palm.contract import AdapterSettings
from palm_trainer.arguments import (
    Hardware,
    adapter_arguments,
    optimiser_steps,
    prompts_needed,
    trainer_arguments,
)

CPU = Hardware(cuda=False)
GPU = Hardware(cuda=True, largest_batch=8)


def arguments(hardware: Hardware = CPU, **settings: Any) -> dict[str, Any]:
    request = training_request(settings=training_settings(**settings))
    return trainer_arguments(request, hardware, Path("folder"))


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


def test_rloo_divides_by_nothing_either() -> None:
    assert arguments(algorithm="RLOO")["normalize_advantages"] is False
    assert "loss_type" not in arguments(algorithm="RLOO")


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [("SumThenNormalize", "sum_then_normalize"), ("NormalizeThenSum", "normalize_then_sum")],
)
def test_the_aggregation_is_trls(aggregation: str, expected: str) -> None:
    assert arguments(aggregation=aggregation)["multi_objective_aggregation"] == expected


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"algorithm": "RLOO", "aggregation": "NormalizeThenSum"}, "needs algorithm GRPO"),
        ({"algorithm": "RLOO", "advantage_scale": "Group"}, "needs algorithm GRPO"),
    ],
)
def test_what_an_algorithm_cannot_do_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        arguments(**changes)


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_share_a_batch(processes: int) -> None:
    hardware = Hardware(cuda=True, largest_batch=8, processes=processes)
    chosen = arguments(hardware, batch_size=64, episodes=64)
    per_step = chosen["per_device_train_batch_size"] * chosen["gradient_accumulation_steps"]
    assert per_step * processes == 64


def test_a_batch_that_processes_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match="batchSize 8 must be a multiple of the 3 training"):
        arguments(Hardware(cuda=True, processes=3))


def test_vllm_samples_beside_the_training_or_on_its_own_gpus() -> None:
    colocated = arguments(Hardware(cuda=True, rollouts="vLLMColocate"))
    assert (colocated["use_vllm"], colocated["vllm_mode"]) == (True, "colocate")
    served = arguments(Hardware(cuda=True, rollouts="vLLMServer"))
    assert (served["vllm_mode"], served["vllm_server_base_url"]) == (
        "server",
        "http://127.0.0.1:8000",
    )
    assert arguments(GPU)["use_vllm"] is False


def test_vllm_keeps_room_for_the_longest_sequence_that_there_is_not_for_the_models() -> None:
    request = training_request(settings=training_settings())
    hardware = Hardware(cuda=True, rollouts="vLLMColocate")
    chosen = trainer_arguments(request, hardware, Path("folder"), longest=700)
    assert chosen["vllm_max_model_length"] == 700


def test_prompts_are_counted_with_their_repetitions() -> None:
    settings = training_settings(episodes=24, batch_size=8, completions_per_prompt=4)
    assert prompts_needed(settings) == 6


@pytest.mark.model
@pytest.mark.parametrize("algorithm", ["GRPO", "RLOO"])
@pytest.mark.parametrize("rollouts", ["Transformers", "vLLMColocate", "vLLMServer"])
def test_trl_accepts_the_arguments(tmp_path: Path, algorithm: str, rollouts: Any) -> None:
    from trl import GRPOConfig, RLOOConfig

    request = training_request(settings=training_settings(batch_size=8, algorithm=algorithm))
    kind = {"GRPO": GRPOConfig, "RLOO": RLOOConfig}[algorithm]
    config = kind(**trainer_arguments(request, Hardware(cuda=False, rollouts=rollouts), tmp_path))
    assert config.generation_batch_size == 8
    if algorithm == "GRPO":
        assert config.use_bias_correction_kl  # else the penalty's gradient is another divergence's
