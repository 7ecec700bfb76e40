"""Users, Jobs, other people and faults in any order: the laws hold after every step."""

import os
import sys

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from faults.walks import STEPS, walked

WALKS = int(os.environ.get("PALM_WALKS", "0"))
"""``make random-walks`` takes many, other ones each time, and shortens one that fails."""
_FEW = 15
_MOST_STEPS = 50
_taken = 0


@settings(
    max_examples=WALKS or _FEW,
    deadline=None,
    derandomize=not WALKS,
    phases=[Phase.generate, *([Phase.shrink] if WALKS else [])],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(steps=st.lists(STEPS, min_size=10, max_size=_MOST_STEPS))
def test_every_law_holds_after_every_step_of_any_walk(steps):
    global _taken
    walked(steps)
    _taken += len(steps)


def test_the_walks_were_long_enough():
    """Thousands of steps, not a handful: a change of the strategy must not make them idle."""
    print(f"random walks: {_taken} steps", file=sys.stderr)
    assert _taken == 0 or _taken >= 10 * (WALKS or _FEW)
