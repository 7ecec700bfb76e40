"""Sampling with random numbers of each response's own, so that policies can be compared in pairs.

A response depends on policy, prompt and seed alone, not on what else is in its batch; policies that
agree on the likely tokens, given the same seed, write the same ones.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import LogitsProcessor


def uniforms(seeds: Sequence[int], steps: int) -> NDArray[np.float64]:
    """Return numbers of [0, 1), shape (seeds, steps): row i is a function of ``seeds[i]`` alone."""
    rows = [np.random.Generator(np.random.Philox(key=seed)).random(steps) for seed in seeds]
    return np.array(rows)


class Finiteness(LogitsProcessor):
    """Notes which logits give a distribution; without a look at them, NaNs are sampled from."""

    def __init__(self) -> None:
        self._steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.Tensor:
        """Return the logits as they are."""
        # The largest is NaN where any is, and -inf where no token is possible.
        self._steps.append(torch.isfinite(scores.amax(dim=-1)))
        return scores

    def holds(self, counted: torch.Tensor) -> torch.Tensor:
        """Say of each response whether all of its tokens had a distribution, shape (batch,).

        Args:
            counted: Which tokens belong to a response, shape (batch, positions).
        """
        return (torch.stack(self._steps, dim=1) | ~counted).all(dim=1)


class InverseTransform(LogitsProcessor):
    """Leaves one token of each row: the one where its distribution function exceeds the row's draw.

    Greedy decoding then samples from exactly the distribution of the logits.
    """

    def __init__(self, draws: NDArray[np.float64], *, prompt_length: int) -> None:
        """Take the numbers to draw with.

        Args:
            draws: Shape (batch, steps).
            prompt_length: Positions of the padded prompts.
        """
        self._draws = torch.from_numpy(draws)
        self._start = prompt_length

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.Tensor:
        """Return logits with all but the drawn token of each row at -inf."""
        draw = self._draws[:, input_ids.shape[1] - self._start].to(scores.device)
        # float64: in float32 a vocabulary's sum is off by more than rare tokens' probabilities.
        cumulative = scores.double().softmax(dim=-1).cumsum(dim=-1)
        threshold = (draw * cumulative[:, -1]).unsqueeze(1)
        token = torch.searchsorted(cumulative, threshold, right=True)
        token = token.clamp(max=scores.shape[1] - 1)
        return torch.full_like(scores, -torch.inf).scatter(1, token, 0.0)
