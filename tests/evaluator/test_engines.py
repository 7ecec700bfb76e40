import pytest

from palm.contract import AdapterSettings
from palm_evaluator.engines import Memory, engine_arguments

GIB = 1 << 30


def test_engines_take_what_reward_models_leave_of_a_gpu() -> None:
    memory = Memory(free=60 * GIB, total=80 * GIB)
    alone = engine_arguments(engines=1, longest=1000, memory=memory)
    pair = engine_arguments(engines=2, longest=1000, memory=memory)
    assert alone["gpu_memory_utilization"] == pytest.approx(0.9 * 60 / 80)
    assert pair["gpu_memory_utilization"] == pytest.approx(0.45 * 60 / 80, abs=1e-3)
    assert alone["dtype"] == "bfloat16"


@pytest.mark.parametrize(("rank", "allowed"), [(1, 8), (8, 8), (24, 32), (300, 320), (512, 512)])
def test_an_adapter_of_any_rank_fits_the_ranks_that_vllm_knows(rank: int, allowed: int) -> None:
    adapter = AdapterSettings(type="LoRA", rank=rank)
    arguments = engine_arguments(engines=1, longest=100, memory=None, adapter=adapter)
    assert arguments["enable_lora"]
    assert arguments["max_lora_rank"] == allowed


def test_a_long_sequence_still_fits_into_one_step() -> None:
    arguments = engine_arguments(engines=1, longest=5000, memory=None)
    assert arguments["max_num_batched_tokens"] >= arguments["max_model_len"] == 5000
    assert arguments["generation_config"] == "vllm"  # the model's own may cut the distribution
    assert arguments["trust_remote_code"] is False
    assert arguments["load_format"] == "safetensors"
