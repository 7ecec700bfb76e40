"""How far evaluated rewards may be from the truth, and which guarantees that leaves provable.

All policies are evaluated on the same prompts. Errors that they share (hard prompts) shift all
objectives alike: no difference between policies, hence no δ, sees them, and an ε sees an ε-th of
them. So two errors are bounded, together and for all policies and weight vectors at once:

* ``absolute``: ``|û_i - u_i|`` of every policy and objective;
* ``paired``: half of ``|(û - û')_i - (u - u')_i|`` of every two policies.

Let c be the vector midway between the errors' extremes in each coordinate; no policy's error is
further than ``paired`` from c, and c is no longer than ``absolute``. Put into
``LB ≥ (1-ε)·UB - δ``, whose both sides shift by w·c, a certificate made with
``η = paired + ε/(2-ε)·absolute`` is true.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from palm.errors import BelowNoise, InvalidResult

Method = Literal["Normal", "Hoeffding"]


@dataclass(frozen=True)
class SamplingError:
    """Bounds of the errors of evaluated utilities that hold together.

    Attributes:
        absolute: Of any utility; at least 0.
        paired: Half of that of the difference of two policies; at most ``absolute``.
        confidence: With which all of them hold.
    """

    absolute: float
    paired: float
    confidence: float

    def eta(self, epsilon: float) -> float:
        """Return the η with which certificates of up to this ε are true; 0 for δ alone.

        Args:
            epsilon: Largest ε (or μ') that will be claimed, in [0, 1].
        """
        if not 0 <= epsilon <= 1:
            raise ValueError(f"epsilon is {epsilon}; it must be in [0, 1]")
        return min(self.absolute, self.paired + epsilon / (2.0 - epsilon) * self.absolute)


def sampling_error(
    prompt_utilities: NDArray[np.float64],
    *,
    confidence: float,
    method: Method = "Normal",
    ranges: NDArray[np.float64] | None = None,
    regularizer_error: NDArray[np.float64] | None = None,
) -> SamplingError:
    """Return how far mean utilities over prompts may be from their expectation over all prompts.

    ``Normal`` takes Student's t quantile times the standard error, right for means of many prompts;
    ``Hoeffding`` holds for any number of them but needs the rewards' ranges and is several times
    wider. Both share the failure probability out among all policies and objectives (Bonferroni),
    so they hold for every weight vector: ``w·û`` errs no more than its worst coordinate.

    Args:
        prompt_utilities: Mean utility per prompt, in the units of the certificate, shape
            ``(policies, prompts, d)``; row p of every policy is the same prompt. At least 2
            prompts, drawn independently.
        confidence: Between 0 and 1, for example 0.95.
        method: Which inequality.
        ranges: For ``Hoeffding``: largest minus smallest possible value of each objective,
            shape ``(d,)``.
        regularizer_error: Error bounds of what is not in the rows, such as the regularizer, in
            the units of the certificate, shape ``(policies,)``; added as they are.

    Raises:
        InvalidResult: A utility is NaN or infinite.
    """
    if prompt_utilities.ndim != 3 or not prompt_utilities.size or prompt_utilities.shape[1] < 2:
        raise ValueError(
            "prompt_utilities must have shape (policies, prompts, d) with at least 2 prompts, not "
            f"{prompt_utilities.shape}"
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must be between 0 and 1")
    for policy, prompt, i in np.argwhere(~np.isfinite(prompt_utilities)):
        raise InvalidResult(
            f"utility {i} of policy {policy} at prompt {prompt} is "
            f"{prompt_utilities[policy, prompt, i]}; results must be finite"
        )
    if method == "Hoeffding":
        absolute = _hoeffding(prompt_utilities, confidence, ranges)
        paired = absolute  # a difference has twice the range: half of its bound is no smaller
    else:
        absolute, paired = _student(prompt_utilities, confidence)
    added = _largest_regularizer_error(prompt_utilities, regularizer_error)
    return SamplingError(
        absolute=absolute + added, paired=min(absolute, paired) + added, confidence=confidence
    )


def noise_floor(*, eta: float, tau: float) -> float:
    """Return the least ``μ'·opt_w + α'`` that can be certified: 2·(2η + τ).

    Even where a policy was trained, its value is known to 2η + τ only, so a search for less never
    stops. Twice that leaves as much for the policies that are not trained.
    """
    for name, value in (("eta", eta), ("tau", tau)):
        if not (value >= 0 and math.isfinite(value)):
            raise ValueError(f"{name} is {value}; it must be finite and at least 0")
    return 2.0 * (2.0 * eta + tau)


def check_noise_floor(
    *, mu: float, alpha: float, smallest_optimum: float, eta: float, tau: float
) -> None:
    """Raise unless the tolerances are above the noise at the weight vector with the least optimum.

    Args:
        mu: Multiplicative tolerance μ', in [0, 1].
        alpha: Additive tolerance α', at least 0.
        smallest_optimum: Least opt_w over the weight vectors that are to be covered.
        eta: η, largest error of an evaluated objective.
        tau: τ, largest suboptimality of training.

    Raises:
        BelowNoise: They are not; the message has the numbers.
    """
    floor = noise_floor(eta=eta, tau=tau)
    allowed = mu * max(smallest_optimum, 0.0) + alpha
    if allowed < floor:
        raise BelowNoise(
            f"mu={mu:.4g} and alpha={alpha:.4g} allow a shortfall of {allowed:.4g} where the "
            f"optimum is {smallest_optimum:.4g}; with eta={eta:.4g} and tau={tau:.4g} nothing "
            f"below 2(2 eta + tau) = {floor:.4g} can be certified: raise the tolerances, or "
            "evaluate on more prompts"
        )


def _hoeffding(
    rows: NDArray[np.float64], confidence: float, ranges: NDArray[np.float64] | None
) -> float:
    policies, prompts, dimension = rows.shape
    if ranges is None or ranges.shape != (dimension,) or not (ranges >= 0).all():
        raise ValueError(
            f"ranges is {ranges}; Hoeffding needs one range of at least 0 for each of "
            f"{dimension} objectives"
        )
    spread = rows.max(axis=(0, 1)) - rows.min(axis=(0, 1))
    for i in np.flatnonzero(spread > ranges):
        raise ValueError(f"objective {i} spreads over {spread[i]}; its range is said {ranges[i]}")
    failure = (1.0 - confidence) / (policies * dimension)
    return float(ranges.max()) * math.sqrt(math.log(2.0 / failure) / (2.0 * prompts))


def _student(rows: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    policies, prompts, dimension = rows.shape
    pairs = policies * (policies - 1) // 2
    # Half of the failure probability for each of the two families.
    failure = (1.0 - confidence) / 2.0
    errors = rows.std(axis=1, ddof=1) / math.sqrt(prompts)
    absolute = _quantile(failure / (policies * dimension), prompts) * float(errors.max())
    if not pairs:
        return absolute, 0.0
    largest = max(
        float((rows[i] - rows[i + 1 :]).std(axis=1, ddof=1).max()) for i in range(policies - 1)
    )
    difference = _quantile(failure / (pairs * dimension), prompts) * largest / math.sqrt(prompts)
    return absolute, difference / 2.0


def _quantile(failure: float, prompts: int) -> float:
    return float(stdtrit(prompts - 1, 1.0 - failure / 2.0))


def _largest_regularizer_error(
    rows: NDArray[np.float64], errors: NDArray[np.float64] | None
) -> float:
    if errors is None:
        return 0.0
    if errors.shape != rows.shape[:1] or not ((errors >= 0) & np.isfinite(errors)).all():
        raise ValueError(
            f"regularizer_error must be finite, at least 0 and of shape ({rows.shape[0]},), not "
            f"{errors.tolist()}"
        )
    return float(errors.max())
