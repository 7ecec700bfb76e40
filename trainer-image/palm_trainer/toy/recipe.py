"""Constants of the toy base model. Measured: 500 steps at batch 32 reach only 81 % correct."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How the base policy is made; every field changes its weights."""

    seed: int = 0
    samples: int = 20_000
    vocabulary: int = 312
    hidden: int = 64
    layers: int = 2
    heads: int = 2
    intermediate: int = 256
    steps: int = 800
    batch: int = 64
    learning_rate: float = 3e-3
    longest: int = 96
    """Positions the model can see; prompt and response need about 65."""
    required_accuracy: float = 0.95
    """Share of sampled answers that must be right, or the model is refused."""
    checked_samples_per_prompt: int = 4


RECIPE = Recipe()
