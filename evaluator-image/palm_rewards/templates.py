"""From prompt and response to the text that a reward model reads. Pure."""

from typing import Any

from palm.contract import ModelReward
from palm.objectives import PLACEHOLDERS
from palm_rewards.responses import prompt_text


def cut(text: str, stop_strings: tuple[str, ...]) -> str:
    """Return a response up to the first of the stop strings."""
    ends = [place for stop in stop_strings if (place := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text


def filled(template: str, *, prompt: str, response: str = "") -> str:
    """Return a template with its placeholders replaced, once: what they bring is left alone."""
    values = {"prompt": prompt, "response": response}
    return PLACEHOLDERS.sub(lambda match: values[match[1]], template)


def formatted(reward: ModelReward, prompt: Any, text: str) -> str:
    """Return the input of a reward model of template Format."""
    return filled(reward.format or "", prompt=prompt_text(prompt), response=text)


def first_of_pair(reward: ModelReward, prompt: Any) -> str:
    """Return the first part of the input of a reward model of template Pair."""
    return filled(reward.format or "{prompt}", prompt=prompt_text(prompt))


def messages(prompt: Any, text: str) -> list[dict[str, str]]:
    """Return prompt and response as a chat."""
    asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    return [*asked, {"role": "assistant", "content": text}]


def batches(lengths: list[int], *, budget: int) -> list[list[int]]:
    """Return positions in batches of like lengths, each of at most ``budget`` padded tokens.

    An input that is longer than the budget is a batch of its own.
    """
    found: list[list[int]] = []
    for position in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if found and (len(found[-1]) + 1) * lengths[position] <= budget:
            found[-1].append(position)
        else:
            found.append([position])
    return found
