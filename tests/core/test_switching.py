"""How little a preference has to change until another policy is the better one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.routing import ranking
from palm.switching import nearest_switch


def objectives(weights, utilities):
    return (np.asarray(utilities) @ np.asarray(weights)).tolist()


def best(weights, utilities):
    return ranking(objectives(weights, utilities))[0]


def switch_of(weights, utilities):
    return nearest_switch(weights, utilities, best(weights, utilities), range(len(utilities)))


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_nothing_nearer_switches_and_just_beyond_it_does(seed, rewards):
    random = np.random.default_rng(seed)
    utilities = random.uniform(-1, 1, size=(6, rewards)).tolist()
    weights = random.dirichlet(np.ones(rewards)).tolist()
    chosen, switch = best(weights, utilities), switch_of(weights, utilities)
    for _ in range(30):
        other = random.dirichlet(np.ones(rewards))
        distance = float(np.abs(other - weights).sum()) / 2
        if switch is None or distance < switch.moved * (1 - 1e-9):
            assert best(other.tolist(), utilities) == chosen
        else:
            room = switch.moved * (1 - 1e-6) / max(distance, 1e-12)
            nearer = np.asarray(weights) + (other - weights) * room
            assert best((nearer / nearer.sum()).tolist(), utilities) == chosen
    if switch is not None:
        assert sum(switch.weights) == pytest.approx(1)
        assert min(switch.weights) >= 0
        assert float(np.abs(np.subtract(switch.weights, weights)).sum()) / 2 == pytest.approx(
            switch.moved
        )
        at = objectives(switch.weights, utilities)
        assert at[switch.index] == pytest.approx(at[chosen])
        assert max(at) == pytest.approx(at[chosen])
        corner = np.eye(rewards)[switch.to]
        beyond = objectives(np.asarray(switch.weights) * 0.999 + 0.001 * corner, utilities)
        assert beyond[switch.index] > beyond[chosen]


def test_the_least_move_takes_from_where_it_matters_most():
    utilities = [[1.0, 1.0, 0.0], [0.0, 0.5, 1.0]]
    switch = nearest_switch((0.5, 0.3, 0.2), utilities, 0, (0, 1))
    assert switch.to == 2
    # A unit from the first reward is worth 2, from the second 1.5; 0.45 are to be made up.
    assert switch.moved == pytest.approx(0.225)
    assert switch.weights == pytest.approx((0.275, 0.3, 0.425))


def test_a_policy_that_is_better_everywhere_is_never_left():
    assert switch_of((0.5, 0.5), [[1.0, 1.0], [0.9, 0.2], [1.0, 1.0]]) is None


def test_a_tie_needs_no_move():
    switch = switch_of((0.5, 0.5), [[1.0, 0.0], [0.0, 1.0]])
    assert (switch.index, switch.moved) == (1, 0.0)


def test_who_cannot_answer_is_no_alternative():
    utilities = [[1.0, 0.0], [0.8, 0.5], [0.0, 1.0]]
    assert nearest_switch((1.0, 0.0), utilities, 0, (0, 1, 2)).index == 1
    assert nearest_switch((1.0, 0.0), utilities, 0, (0, 2)).index == 2
