"""What a picture of a portfolio shows, without how it is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class View:
    """What a picture of a portfolio shows.

    Attributes:
        objectives: Names, length d.
        names: Of the policies, length n.
        weights: Weight vector of each policy, shape ``(n, d)``.
        utilities: Of each policy, shape ``(n, d)``; they decide who is served by whom.
        kept: Positions of the portfolio's policies.
        failed: Weight vectors without a policy, shape ``(m, d)``.
        rewards: What the front shows, shape ``(n, d)``; the utilities unless stated.
        errors: Standard errors of ``rewards``, same shape, where there are any.
        base: Reward vector of the base policy, where there is one.
    """

    objectives: tuple[str, ...]
    names: tuple[str, ...]
    weights: Array
    utilities: Array
    kept: tuple[int, ...]
    failed: Array = field(default_factory=lambda: np.empty((0, 0)))
    rewards: Array | None = None
    errors: Array | None = None
    base: Sequence[float] | None = None

    @property
    def shown(self) -> Array:
        """What the front shows."""
        return self.utilities if self.rewards is None else self.rewards

    @property
    def others(self) -> list[int]:
        """Positions of the policies that were not kept."""
        return [index for index in range(len(self.names)) if index not in self.kept]
