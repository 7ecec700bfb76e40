"""Which change of a preference makes another policy the better one. Pure, like ``palm.routing``.

Moving weight from reward i to reward j changes the difference of two policies' objectives by
(a_j - a_i) per unit, a being the difference of their utilities. So the least weight that has to be
moved until the other one is as good goes to the reward where a is largest, from those where it is
smallest first: a fractional knapsack, exact for any number of rewards.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Switch:
    """The nearest preference at which another policy is as good as the chosen one.

    Attributes:
        index: The other policy.
        moved: Share of the weight that is another reward's then, in [0, 1]; 0: they tie now.
        weights: The weight vector there.
        to: The reward that has more of it.
    """

    index: int
    moved: float
    weights: tuple[float, ...]
    to: int


def nearest_switch(
    weights: Sequence[float],
    utilities: Sequence[Sequence[float]],
    chosen: int,
    among: Sequence[int],
) -> Switch | None:
    """Return the nearest switch; None where the chosen policy is best for every preference.

    Args:
        weights: On the simplex, shape ``(rewards,)``.
        utilities: Shape ``(policies, rewards)``.
        chosen: The policy that is best at these weights among those below.
        among: The policies that may be chosen; ties go to the first of them.
    """
    found = (_switch(weights, utilities, chosen, other) for other in among if other != chosen)
    return min((s for s in found if s is not None), key=lambda s: s.moved, default=None)


def _switch(
    weights: Sequence[float], utilities: Sequence[Sequence[float]], chosen: int, other: int
) -> Switch | None:
    pairs = zip(utilities[other], utilities[chosen], strict=True)
    gains = [theirs - ours for theirs, ours in pairs]
    to = max(range(len(gains)), key=lambda index: gains[index])
    if gains[to] <= 0:
        return None
    behind = -sum(weight * gain for weight, gain in zip(weights, gains, strict=True))
    there, moved = list(weights), 0.0
    for source in sorted(range(len(gains)), key=lambda index: gains[index]):
        rate = gains[to] - gains[source]
        if behind <= 0 or rate <= 0:
            break
        amount = min(there[source], behind / rate)
        there[source] -= amount
        there[to] += amount
        moved += amount
        behind -= amount * rate
    return Switch(other, moved, tuple(there), to)
