"""In which order prompts are trained on: fixed before the first step, so that it can be resumed.

TRL's own sampler draws a new order in every pass over the prompts from a generator whose state no
checkpoint has: a training that goes on in a later pass would see the first pass's order again.
"""

import random


def prompt_order(prompts: int, *, needed: int, seed: int) -> list[int]:
    """Return which prompts to train on, one after the other.

    Every prompt comes once before any comes again, each pass in an order of its own.

    Args:
        prompts: How many prompts there are, at least 1.
        needed: How many are trained on: steps times prompts per step.
        seed: Of the order.
    """
    source = random.Random(seed)
    order: list[int] = []
    while len(order) < needed:
        order += source.sample(range(prompts), prompts)
    return order[:needed]
