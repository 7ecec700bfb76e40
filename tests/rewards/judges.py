"""Functions of a user's own image, good and bad, for the tests of entrypoint rewards."""

import os
import time
from collections.abc import Sequence

from palm_rewards import Responses, reward


@reward(version="3")
def words(responses: Responses) -> list[float]:
    print("counting", len(responses.texts))
    return [float(len(text.split())) for text in responses.texts]


@reward(version="3")
def reads_everything(responses: Responses) -> Sequence[float]:
    rows = zip(
        responses.prompts, responses.texts, responses.token_counts, responses.answers, strict=True
    )
    return [
        float(isinstance(prompt, str)) + len(text) + tokens + len(answer or "")
        for prompt, text, tokens, answer in rows
    ]


@reward(version="3")
def raises(responses: Responses) -> list[float]:
    raise KeyError("no such lexicon")


@reward(version="3")
def hangs(responses: Responses) -> list[float]:
    while True:
        time.sleep(1)


@reward(version="3")
def dies(responses: Responses) -> list[float]:
    os._exit(7)


@reward(version="3")
def forgets_one(responses: Responses) -> list[float]:
    return [0.0] * (len(responses.texts) - 1)


@reward(version="3")
def divides_by_zero(responses: Responses) -> list[float]:
    return [float("nan")] * len(responses.texts)


@reward(version="3")
def wants_two(responses: Responses, more: int) -> list[float]:
    return []


def unmarked(responses: Responses) -> list[float]:
    return []


number = 3
