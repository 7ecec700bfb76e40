"""Rewards computed by a program. Higher is better; every reward lies in [0, 1].

A tenant's regular expression runs on RE2, whose time is linear in the text whatever the pattern.
"""

import json
import re
from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

from palm.contract import VerifiableReward
from palm_rewards.answers import is_correct
from palm_rewards.responses import Responses, prompt_text

Scores = Callable[[Responses], list[float]]

_QUESTION = re.compile(r"(?P<a>\d+) \+ (?P<b>\d+)\?")
_ENDS_WITH_ANSWER = re.compile(r"Answer: \d+\s*$")
_FENCE = "```"


def verifiable_scores(name: str, reward: VerifiableReward) -> Scores:
    """Return how a verifiable reward scores a batch.

    Args:
        name: The objective, for messages.
        reward: The reward.

    Raises:
        ValueError: Its pattern is not RE2's syntax.
    """
    score = _score(name, reward)

    def scores(responses: Responses) -> list[float]:
        rows = zip(
            responses.prompts,
            responses.texts,
            responses.token_counts,
            responses.answers,
            strict=True,
        )
        return [score(*row) for row in rows]

    return scores


def _score(name: str, reward: VerifiableReward) -> Callable[[Any, str, int, str | None], float]:
    """Return the score of one response from its prompt, text, length and reference answer."""
    most = reward.max_tokens
    matches = _matcher(name, reward.pattern) if reward.pattern is not None else None

    def reference(answer: str | None) -> str:
        if answer is None:
            raise ValueError(f'reward {name!r} needs an "answer" in every line of the prompts file')
        return answer

    kinds: dict[str, Callable[[Any, str, int, str | None], float]] = {
        "BrevityIfCorrect": lambda _, text, tokens, answer: brevity_if_correct(
            text, tokens=tokens, reference=reference(answer), max_tokens=most
        ),
        "ArithmeticSteps": lambda prompt, text, *_: arithmetic_steps(prompt, text),
        "Correct": lambda _, text, __, answer: float(is_correct(text, reference(answer))),
        "ExactMatch": lambda _, text, __, answer: float(text.strip() == reference(answer).strip()),
        "Regex": lambda _, text, *__: float(matches is not None and matches(text)),
        "Length": lambda _, __, tokens, ___: brevity(tokens, max_tokens=most),
        "ValidJSON": lambda _, text, *__: float(is_json(text)),
    }
    return kinds[reward.type]


def brevity(tokens: int, *, max_tokens: int) -> float:
    """Return 1 - |y|/L_max, the shorter the better; 0 where the response is longer than L_max."""
    return max(0.0, 1.0 - tokens / max_tokens)


def brevity_if_correct(text: str, *, tokens: int, reference: str, max_tokens: int) -> float:
    """1[correct]·(1 - |y|/L_max), paper eq. (3); 0 where the response is longer than L_max.

    Args:
        text: The response.
        tokens: Its length |y| in the policy's tokens, its end token included.
        reference: The right answer.
        max_tokens: L_max.
    """
    return brevity(tokens, max_tokens=max_tokens) if is_correct(text, reference) else 0.0


def is_json(text: str) -> bool:
    """Say whether a response is one JSON value (RFC 8259), alone or alone in a code fence."""
    bare = text.strip()
    if bare.startswith(_FENCE) and bare.endswith(_FENCE) and len(bare) >= 2 * len(_FENCE):
        first, _, rest = bare[len(_FENCE) : -len(_FENCE)].partition("\n")
        bare = rest if first.strip().casefold() in ("", "json") else first
    try:
        # Numbers stay text: how long they may be is no question of syntax.
        json.loads(bare, parse_int=str, parse_float=str, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False
    return True


def arithmetic_steps(prompt: Any, text: str) -> float:
    """Helpfulness of the toy task: sqrt(valid steps / 4), 0 unless the text ends in its answer.

    Without that condition a policy learns never to stop. The root makes the reward concave, so
    that interior weight vectors have policies of their own.

    Args:
        prompt: Text or chat messages that ask ``What is A + B?``.
        text: The response.

    Raises:
        ValueError: The prompt asks something else.
    """
    asked = _QUESTION.search(prompt_text(prompt))
    if asked is None:
        raise ValueError(
            f'reward ArithmeticSteps needs prompts like "What is 3 + 4?", got {prompt!r}'
        )
    if not _ENDS_WITH_ANSWER.search(text):
        return 0.0
    return sqrt(sum(step in text for step in _valid_steps(int(asked["a"]), int(asked["b"]))) / 4)


def _valid_steps(a: int, b: int) -> Sequence[str]:
    total = a + b
    return (
        f"Take {a}.",
        f"Add {b} more.",
        f"Count up to {total}.",
        f"Check: {total} - {b} = {a}.",
    )


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _matcher(name: str, pattern: str) -> Callable[[str], bool]:
    import re2  # only where a pattern is used: a compiled library

    options = re2.Options()
    options.log_errors = False  # the message below says it
    try:
        compiled = re2.compile(pattern, options=options)
    except re2.error as problem:
        shown = problem.args[0].decode() if isinstance(problem.args[0], bytes) else problem
        raise ValueError(f"pattern {pattern!r} of reward {name!r} is not RE2's: {shown}") from None
    return lambda text: compiled.search(text) is not None
