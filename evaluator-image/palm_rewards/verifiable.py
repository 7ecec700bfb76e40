r"""Rewards computed by a program. Higher is better; every reward lies in [0, 1].

The answer of a response is what follows its last ``Answer:``, ``answer is``, ``\boxed{`` or
``####``.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from math import sqrt
from typing import Any

_NAMED = re.compile(r"\banswer\b\**\s*(?::|is\b:?)\**\s*(?P<answer>.+)", re.IGNORECASE)
_HASHES = re.compile(r"####\s*(?P<answer>.+)")
_BOXED = re.compile(r"\\boxed\s*\{")
_NUMBER = re.compile(r"(?P<number>[-+]?(?:\d+\.?\d*|\.\d+))(?:\s*(?:%|[^\W\d_]+))*")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_QUESTION = re.compile(r"(?P<a>\d+) \+ (?P<b>\d+)\?")
_ENDS_WITH_ANSWER = re.compile(r"Answer: \d+\s*$")


def prompt_text(prompt: Any) -> str:
    """Return a prompt as text: the last message's content where it is a list of chat messages."""
    return prompt if isinstance(prompt, str) else str(prompt[-1]["content"])


def extracted_answer(text: str) -> str | None:
    """Return the last answer that a response names, or None where it names none."""
    found: list[tuple[int, str]] = [
        (match.start(), match["answer"])
        for pattern in (_NAMED, _HASHES)
        for match in pattern.finditer(text)
    ]
    for match in _BOXED.finditer(text):
        content = _braced(text[match.end() :])
        if content is not None:
            found.append((match.start(), content))
    return max(found)[1] if found else None


def _braced(text: str) -> str | None:
    """Return the text up to the brace that closes an already open one; None if none does."""
    depth = 1
    for position, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return text[:position]
    return None


def normalised(answer: str) -> str:
    """Return an answer's canonical form: numbers by value, without unit or thousands separators."""
    bare = _THOUSANDS.sub("", answer.strip().strip("*$ ").rstrip(".!").strip("*$ "))
    if match := _NUMBER.fullmatch(bare):
        return format(Decimal(match["number"]).normalize() + 0, "f")
    return " ".join(bare.casefold().split())


def is_correct(text: str, reference: str) -> bool:
    """Say whether the response's last answer equals the reference after normalisation."""
    answer = extracted_answer(text)
    return answer is not None and normalised(answer) == normalised(reference)


def brevity_if_correct(text: str, *, tokens: int, reference: str, max_tokens: int) -> float:
    """1[correct]·(1 - |y|/L_max), paper eq. (3); 0 where the response is longer than L_max.

    Args:
        text: The response.
        tokens: Its length |y| in the policy's tokens, its end token included.
        reference: The right answer.
        max_tokens: L_max.
    """
    return max(0.0, 1.0 - tokens / max_tokens) if is_correct(text, reference) else 0.0


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
