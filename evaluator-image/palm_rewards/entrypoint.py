"""Rewards that a function of the user's own computes, in a process of its own.

The function runs in the image of trainer and evaluator, beside this package. In a process of its
own it can hang, crash or print without harm: whoever waits for it can end it.
"""

import atexit
import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from palm.contract import EntrypointReward
from palm.errors import InvalidResult
from palm_rewards.responses import Responses

Function = TypeVar("Function", bound=Callable[[Responses], Sequence[float]])

VERSION_ATTRIBUTE = "palm_reward_version"
_START_SECONDS = 600.0  # a function may load a model when it is imported
_MOST_BYTES = 64 * 1024 * 1024


def reward(*, version: str) -> Callable[[Function], Function]:
    """Mark a function as a reward, of a version that the Portfolio names.

    The function takes ``Responses`` and returns one finite number per response, higher is better.
    Equal responses to equal prompts have equal rewards: they are asked for once.

    Args:
        version: Changes whenever the rewards do; what was trained on another one is not reused.
    """

    def marked(function: Function) -> Function:
        setattr(function, VERSION_ATTRIBUTE, version)
        return function

    return marked


class EntrypointProcess:
    """The process that a reward's function runs in."""

    def __init__(self, name: str, entrypoint: EntrypointReward, *, seconds: float) -> None:
        """Start it.

        Raises:
            ValueError: There is no such function, or it is not marked with the wanted version.
        """
        self._name, self._function, self._seconds = name, entrypoint.function, seconds
        read, write = os.pipe()
        words = [sys.executable, "-m", "palm_rewards.entrypoint_worker"]
        words += [entrypoint.function, entrypoint.version, str(write)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, pass_fds=[write])
        os.close(write)
        os.set_blocking(read, False)
        self._answers, self._unread = read, b""
        atexit.register(self.close)
        started = self._answer(_START_SECONDS)
        if "problem" in started:
            self.close()
            raise ValueError(f"reward {name!r}: {started['problem']}")

    def scores(self, responses: Responses) -> list[float]:
        """Return one reward per response, in order.

        Raises:
            InvalidResult: The function failed, or took too long; its process is ended then.
        """
        batch = {
            "prompts": list(responses.prompts),
            "texts": list(responses.texts),
            "tokenCounts": list(responses.token_counts),
            "answers": list(responses.answers),
        }
        pipe = self._process.stdin
        try:
            if pipe is None:
                raise BrokenPipeError
            pipe.write(json.dumps(batch).encode() + b"\n")
            pipe.flush()
        except (BrokenPipeError, ValueError):
            raise self._ended() from None
        answer = self._answer(self._seconds)
        if "problem" in answer:
            raise InvalidResult(f"reward {self._name!r}: {answer['problem']}")
        return list(answer["rewards"])

    def close(self) -> None:
        """End the process, whatever it does."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):  # it had not read all
                self._process.stdin.close()
        if self._answers >= 0:
            os.close(self._answers)
            self._answers = -1
        atexit.unregister(self.close)

    def _answer(self, seconds: float) -> dict[str, Any]:
        """Return the next line of the process; ends the process where it takes too long."""
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(deadline - time.monotonic(), 0)):
                    self.close()
                    raise InvalidResult(
                        f"reward {self._name!r} took longer than {seconds:g} s: "
                        f"{self._function} was ended"
                    )
                part = os.read(self._answers, 1 << 16)
                if not part or len(self._unread) > _MOST_BYTES:
                    raise self._ended()
                self._unread += part
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ended(self) -> InvalidResult:
        self.close()
        return InvalidResult(
            f"reward {self._name!r}: the process of {self._function} ended with code "
            f"{self._process.returncode}; what it printed is in the log"
        )
