"""``python -m palm_rewards.entrypoint_worker FUNCTION VERSION FD``: a user's reward, served.

Reads one batch of responses per line of its input and writes one line of rewards each to a file
descriptor. What the function prints goes to the log.
"""

import importlib
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import IO, Any

from palm_rewards.entrypoint import VERSION_ATTRIBUTE
from palm_rewards.responses import Responses


def main() -> int:
    """Serve until the input ends; return the exit code."""
    name, version, descriptor = sys.argv[1:]
    os.dup2(2, 1)
    with os.fdopen(int(descriptor), "w", encoding="utf-8") as answers:
        function = _function(name)
        problem = function if isinstance(function, str) else _problem(function, name, version)
        _say(answers, {"problem": problem} if problem else {"ready": True})
        if problem or isinstance(function, str):
            return 1
        for line in sys.stdin:
            _say(answers, _answer(name, function, json.loads(line)))
    return 0


def _function(name: str) -> Callable[[Responses], Sequence[float]] | str:
    """Return the function, or what is wrong with it."""
    module, _, attribute = name.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), attribute)
    except Exception as problem:  # whatever the user's module raises
        traceback.print_exc()
        return f"{name} cannot be imported: {type(problem).__name__}: {problem}"
    return found if callable(found) else f"{name} is no function"


def _problem(function: Any, name: str, version: str) -> str:
    said = getattr(function, VERSION_ATTRIBUTE, None)
    if said is None:
        return f"{name} is not marked as a reward with @palm_rewards.reward(version=…)"
    if said != version:
        return f"{name} in this image is of version {said!r}; version {version!r} is wanted"
    required = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if len(required) != 1 or required[0].kind is inspect.Parameter.KEYWORD_ONLY:
        return f"{name} must take one argument, the Responses; it takes {len(required)}"
    return ""


def _answer(
    name: str, function: Callable[[Responses], Sequence[float]], batch: dict[str, Any]
) -> dict[str, Any]:
    responses = Responses(
        prompts=batch["prompts"],
        texts=batch["texts"],
        token_counts=batch["tokenCounts"],
        answers=batch["answers"],
    )
    try:
        return {"rewards": [float(value) for value in function(responses)]}
    except Exception as problem:  # whatever the user's function raises
        traceback.print_exc()
        return {"problem": f"{name} raised {type(problem).__name__}: {str(problem)[:500]}"}


def _say(answers: IO[str], answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    sys.exit(main())
