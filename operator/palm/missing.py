"""What is assumed of weight vectors whose policy is missing, because its training failed.

Such a weight vector is never dropped: others must cover it, up to an optimum that nobody has seen.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from palm.bounds import lower_bound, missing_extremes, upper_bound
from palm.errors import NoCertificate

Missing = Literal["BestKnown", "Certified"]


def assumed_optimum(
    *,
    weights: NDArray[np.float64],
    utilities: NDArray[np.float64],
    trained_at: Sequence[int],
    missing: Missing,
) -> NDArray[np.float64]:
    """Return opt_w to cover at each weight vector, also where the policy is missing.

    Args:
        weights: Weight vectors on the simplex, shape ``(weights, d)``.
        utilities: u(π) of the policies there are, shape ``(policies, d)``, at least one.
        trained_at: Index of the weight vector that each policy was trained for.
        missing: ``BestKnown``: the best of the other policies, which may hide a gap.
            ``Certified``: the upper bound from the weight vectors that have a policy, above which
            no optimum can be; whoever covers that covers w for certain.

    Returns:
        Shape ``(weights,)``; where there is a policy, the best observed value in both cases.

    Raises:
        NoCertificate: ``Certified``, and a missing extreme policy leaves the optimum unbounded.
        InvalidResult: A utility is NaN or infinite.
    """
    rows = np.asarray(trained_at, dtype=np.intp)
    if rows.shape != (len(utilities),) or (rows < 0).any() or (rows >= len(weights)).any():
        raise ValueError(
            f"trained_at is {list(trained_at)}; it must name one of {len(weights)} weight vectors "
            f"for each of {len(utilities)} policies"
        )
    observed = lower_bound(weights, utilities)
    if missing == "BestKnown":
        return observed
    bound = upper_bound(weights=weights[rows], values=observed[rows])
    lost = np.setdiff1d(np.arange(len(weights)), rows)
    optimum = observed.copy()
    optimum[lost] = np.maximum(bound(weights[lost]), observed[lost])
    if np.isinf(optimum).any():
        raise NoCertificate(missing_extremes(weights[rows]))
    return optimum
