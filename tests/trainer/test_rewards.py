import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from palm.contract import AffineMap
from palm.training_progress import TrainingProgress
from palm_rewards import RewardScorer
from palm_trainer.progress import log_line
from palm_trainer.rewards import training_rewards

SCORERS = [
    RewardScorer("brevity", lambda r: [float(count) for count in r.token_counts]),
    RewardScorer("length", lambda r: [float(len(text)) for text in r.texts]),
]
MAPS = [AffineMap(offset=1.0, scale=2.0), AffineMap(offset=0.0, scale=1.0)]


def batch(logged: dict[str, float] | None = None) -> dict[str, Any]:
    return {
        "prompts": ["p", "q"],
        "completions": ["one", [{"role": "assistant", "content": "three"}]],
        "completion_ids": [[1, 2, 3], [1]],
        "answer": ["7", None],
        "trainer_state": None,
        "log_metric": ({} if logged is None else logged).__setitem__,
    }


def test_each_objective_is_one_callable_of_its_name_in_training_units() -> None:
    brevity, length = training_rewards(SCORERS, MAPS)
    assert (brevity.__name__, length.__name__) == ("brevity", "length")
    assert brevity(**batch()) == [1.0, 0.0]
    assert length(**batch()) == [3.0, 5.0]


def test_what_is_logged_is_raw() -> None:
    logged: dict[str, float] = {}
    for normalization in ("Fixed", "BatchMinMax"):
        for reward in training_rewards(SCORERS, MAPS, normalization):  # type: ignore[arg-type]
            reward(**batch(logged))
        assert logged == {"raw/brevity": 2.0, "raw/length": 4.0}


def test_a_batch_from_its_smallest_to_its_largest_is_zero_to_one() -> None:
    brevity, length = training_rewards(SCORERS, MAPS, "BatchMinMax")
    assert brevity(**batch()) == [1.0, 0.0]
    assert length(**batch()) == [0.0, 1.0]


def test_a_batch_without_any_spread_is_zero() -> None:
    constant = RewardScorer("constant", lambda r: [3.0 for _ in r.texts])
    (reward,) = training_rewards([constant], MAPS[:1], "BatchMinMax")
    assert reward(**batch()) == [0.0, 0.0]


RANK = """
import json, sys
import torch.distributed as dist
from palm.contract import AffineMap
from palm_rewards import RewardScorer
from palm_trainer.rewards import training_rewards

rank, where = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{where}", rank=rank, world_size=2)
scorer = RewardScorer("r", lambda r: [10.0 * rank, 10.0 * rank + 10])
(reward,) = training_rewards([scorer], [AffineMap(offset=0, scale=1)], "BatchMinMax")
print(json.dumps(reward(prompts=["p", "q"], completions=["a", "b"], completion_ids=[[1], [1]],
                        answer=[None, None], log_metric=lambda name, value: None)))
dist.destroy_process_group()
"""


@pytest.mark.model
def test_the_smallest_and_largest_are_those_of_all_processes(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", RANK]
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "meeting")], stdout=subprocess.PIPE, text=True
        )
        for rank in (0, 1)
    ]
    said = [rank.communicate(timeout=200)[0] for rank in ranks]
    assert [json.loads(text) for text in said] == [[0.0, 0.5], [0.5, 1.0]]


def test_a_line_of_progress_is_json_with_a_message_for_people() -> None:
    progress = TrainingProgress(
        policy="w1",
        policy_digest="a" * 32,
        step=3,
        steps=60,
        rewards={"brevity": 0.5},
        kl_per_token=0.01,
        tokens_per_second=1234.5,
        seconds_left=76.0,
        checkpoint_step=2,
        updated="2026-01-02T03:04:05Z",
    )
    line = json.loads(log_line(progress, length=20.04))
    assert line.pop("message") == (
        "step 3/60  brevity 0.500  length 20.0  kl/token 0.0100  1234 tokens/s  76 s left"
    )
    assert line == {
        "time": "2026-01-02T03:04:05Z",
        "policy": "w1",
        "step": 3,
        "steps": 60,
        "rewards": {"brevity": 0.5},
        "klPerToken": 0.01,
        "tokensPerSecond": 1234.5,
        "secondsLeft": 76.0,
        "checkpointStep": 2,
        "meanResponseTokens": 20.0,
    }
