from collections import Counter

import pytest

from palm_trainer.schedule import prompt_order


@pytest.mark.parametrize(("prompts", "needed"), [(10, 4), (10, 10), (10, 37), (1, 5), (3, 0)])
def test_no_prompt_comes_again_before_all_came(prompts: int, needed: int) -> None:
    order = prompt_order(prompts, needed=needed, seed=0)
    assert len(order) == needed
    counts = Counter(order)
    assert not counts or max(counts.values()) - min(counts.get(i, 0) for i in range(prompts)) <= 1


def test_the_order_is_its_seeds() -> None:
    assert prompt_order(50, needed=200, seed=1) == prompt_order(50, needed=200, seed=1)
    assert prompt_order(50, needed=200, seed=1) != prompt_order(50, needed=200, seed=2)


def test_each_pass_has_an_order_of_its_own() -> None:
    order = prompt_order(50, needed=100, seed=0)
    assert order[:50] != order[50:]
