"""The language of the toy task: prompts, and the responses the base policy learns to imitate."""

import random
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sample:
    """One worked sum: what is asked, what is answered."""

    prompt: str
    response: str


def question(a: int, b: int) -> str:
    """Return the prompt of a sum."""
    return f"What is {a} + {b}?"


def steps(a: int, b: int) -> tuple[str, str, str, str]:
    """Return the four worked steps of a sum, in order; ``ArithmeticSteps`` recognises them."""
    total = a + b
    return (
        f"Take {a}.",
        f"Add {b} more.",
        f"Count up to {total}.",
        f"Check: {total} - {b} = {a}.",
    )


def response(a: int, b: int, shown: tuple[bool, bool, bool, bool]) -> str:
    """Return the response that shows some of the steps and then the answer."""
    worked = [step for step, is_shown in zip(steps(a, b), shown, strict=True) if is_shown]
    return " ".join([*worked, f"Answer: {a + b}"])


def samples(count: int, seed: int) -> list[Sample]:
    """Return random sums with each step shown with probability one half."""
    source = random.Random(seed)
    drawn = []
    for _ in range(count):
        a, b = source.randrange(10), source.randrange(10)
        shown = (
            source.random() < 0.5,
            source.random() < 0.5,
            source.random() < 0.5,
            source.random() < 0.5,
        )
        drawn.append(Sample(question(a, b), response(a, b, shown)))
    return drawn


def prompt_lines() -> list[dict[str, Any]]:
    """Return the 100 prompts as the lines of a prompts file."""
    return [
        {"prompt": [{"role": "user", "content": question(a, b)}], "answer": str(a + b)}
        for a in range(10)
        for b in range(10)
    ]
