import pytest

from palm.contract import AffineMap
from palm_rewards import RewardScorer
from palm_trainer.progress import line
from palm_trainer.rewards import raw, training_rewards


def test_each_objective_is_one_callable_of_its_name_in_training_units() -> None:
    scorers = [
        RewardScorer("brevity", lambda r: [float(count) for count in r.token_counts]),
        RewardScorer("length", lambda r: [float(len(text)) for text in r.texts]),
    ]
    maps = [AffineMap(offset=1.0, scale=2.0), AffineMap(offset=0.0, scale=1.0)]
    brevity, length = training_rewards(scorers, maps)
    batch = {
        "prompts": ["p", "q"],
        "completions": ["one", [{"role": "assistant", "content": "three"}]],
        "completion_ids": [[1, 2, 3], [1]],
        "answer": ["7", None],
        "trainer_state": None,
    }
    assert (brevity.__name__, length.__name__) == ("brevity", "length")
    assert brevity(**batch) == [1.0, 0.0]
    assert length(**batch) == [3.0, 5.0]


def test_the_raw_reward_is_the_maps_inverse() -> None:
    item = AffineMap(offset=-1.5, scale=0.25)
    assert raw((2.0 - item.offset) / item.scale, item) == pytest.approx(2.0)


def test_a_line_of_progress_says_step_rewards_length_divergence_and_time() -> None:
    text = line(step="3/60", rewards={"brevity": 0.5}, length=20.0, kl=0.01, elapsed=4.0, left=76.0)
    expected = "step 3/60  brevity 0.500  length 20.0  kl/token 0.0100  4 s elapsed  76 s left"
    assert text == expected
