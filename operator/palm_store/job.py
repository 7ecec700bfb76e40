"""What trainer and evaluator share as Jobs: the request, the exit code, the inputs, the quiet.

The exit codes are those of ``palm.exit_codes``.
"""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeVar

from pydantic import ValidationError

from palm.contract import (
    REQUEST_VARIABLE,
    Model,
    ModelReward,
    PromptSource,
    StorageLocation,
    digest_of,
)
from palm.errors import InvalidResult, PalmError, StoreUnavailable
from palm.exit_codes import ExitCode
from palm_store.fetch import fetch
from palm_store.prompts import FoundPrompts, check_answers, read_prompts

RequestType = TypeVar("RequestType", bound=Model)

_FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT})
# torch raises plain RuntimeErrors on a CPU; on a GPU, OutOfMemoryError says the first of these. The
# last is what torch.save says of a disk that is full.
_OUT_OF_MEMORY = ("out of memory", "not enough memory", "unexpected pos")
# safetensors' error is an Exception of its own.
_NO_SPACE = "no space left on device"


class InvalidRequest(PalmError):
    """The request, or something it names, cannot be used; trying again does not help."""


class InvalidData(PalmError):
    """Prompts, or what a policy or a reward makes of them, cannot be used; no second try helps."""


class Ended(PalmError):
    """Another process of this Job gave up and said with which exit code."""

    def __init__(self, code: ExitCode, message: str) -> None:
        self.code = code
        super().__init__(message)


class Interrupted(BaseException):
    """SIGTERM came: the Pod has to go. Not an ``Exception``, so that no library swallows it."""


def request_from_environment(kind: type[RequestType]) -> RequestType:
    """Return the request in ``PALM_REQUEST``.

    Raises:
        InvalidRequest: There is none, or it breaks the contract.
    """
    text = os.environ.get(REQUEST_VARIABLE)
    if text is None:
        raise InvalidRequest(f"the environment variable {REQUEST_VARIABLE} is not set")
    try:
        return kind.model_validate_json(text)
    except ValidationError as problem:
        raise InvalidRequest(f"{kind.__name__} is not valid: {_sentence(problem)}") from None


def _sentence(problem: ValidationError) -> str:
    errors = problem.errors(include_url=False, include_input=False)
    places = [
        f"{'.'.join(map(str, error['loc'])) or 'request'}: {error['msg']}" for error in errors
    ]
    return "; ".join(places[:5])


def exit_code(run: Callable[[], None]) -> int:
    """Run a Job's work and return its exit code, with a sentence on stderr where it failed.

    SIGTERM raises ``Interrupted`` in it: as a container's first process, Python would otherwise
    ignore the signal and be killed at the end of the grace period.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        run()
    except Interrupted as end:
        _say(str(end) or "interrupted by SIGTERM")
        return ExitCode.INTERRUPTED
    except Exception as error:
        # The border of the process: whatever it is, the Pod's log must say it.
        problem = _explained(error)
        code = code_of(problem)
        if code is ExitCode.FAILED and not isinstance(problem, InvalidResult):
            traceback.print_exc()
        _say(str(problem) or type(problem).__name__)
        return code
    return ExitCode.DONE


def _explained(problem: Exception) -> Exception:
    """Return an error in our words where its own advise what cannot be done."""
    if isinstance(problem, ValueError) and "trust_remote_code" in str(problem):
        return InvalidRequest(
            "the base model comes with Python code of its own, which is not run: name a model of a "
            "class that transformers has (trustRemoteCode is for reward models)"
        )
    return problem


def code_of(problem: BaseException) -> ExitCode:
    """Return the exit code that tells of an error."""
    if isinstance(problem, Ended):
        return problem.code
    if isinstance(problem, InvalidRequest):
        return ExitCode.INVALID_REQUEST
    if isinstance(problem, InvalidData):
        return ExitCode.INVALID_DATA
    if _lacks_resources(problem):
        return ExitCode.NO_RESOURCES
    if isinstance(problem, (StoreUnavailable, ConnectionError, TimeoutError)):
        return ExitCode.UNAVAILABLE
    return ExitCode.FAILED


def _lacks_resources(problem: BaseException) -> bool:
    if isinstance(problem, MemoryError):
        return True
    if isinstance(problem, OSError) and problem.errno in _FULL_DISK:
        return True
    text = str(problem).lower()
    if _NO_SPACE in text:
        return True
    return isinstance(problem, RuntimeError) and any(words in text for words in _OUT_OF_MEMORY)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: the second would cut the first
    raise Interrupted


def _say(sentence: str) -> None:
    print(f"error: {sentence}", file=sys.stderr, flush=True)


def quiet_libraries(uris: list[str]) -> None:
    """Set what the libraries read from the environment; call it before importing them.

    Args:
        uris: What the request names; without ``hf://`` among them nothing is asked of the network.
    """
    quiet = {
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "VLLM_NO_USAGE_STATS": "1",
        "PYTHONWARNINGS": "ignore",
        "OMP_NUM_THREADS": "1",  # more threads than free cores are many times slower
    }
    if not any(uri.startswith("hf://") for uri in uris):
        quiet |= {"HF_HUB_OFFLINE": "1"}
    for name, value in quiet.items():
        os.environ.setdefault(name, value)


def fetched_model(
    uri: str, folder: Path, storage: StorageLocation, *, with_code: bool = False
) -> Path:
    """Download a model, saying so.

    Args:
        uri: Where it is.
        folder: Where to put its files.
        storage: Whose endpoint and region to use.
        with_code: With Python code that comes with it.

    Raises:
        InvalidRequest: There is no such model, or the URI cannot be understood.
    """
    print(f"downloading {uri}", flush=True)
    try:
        return fetch(uri, folder, storage, with_code=with_code)
    except (ValueError, InvalidResult) as problem:
        raise InvalidRequest(str(problem)) from None


def fetched_prompts(
    source: PromptSource, storage: StorageLocation, *, answers_for: Sequence[str] = ()
) -> FoundPrompts:
    """Download and check the prompts.

    Args:
        source: Where they are.
        storage: Whose endpoint and region to use.
        answers_for: Names of the rewards that compare with a reference answer.

    Raises:
        InvalidData: There are none, or they cannot be used.
    """
    try:
        found = read_prompts(source, storage)
        check_answers(found.prompts, answers_for)
        return found
    except (ValueError, InvalidResult) as problem:
        raise InvalidData(f"{source.uri}: {problem}") from None


def reward_model_folders(folder: Path, storage: StorageLocation) -> Callable[[ModelReward], Path]:
    """Return a function that downloads a reward model below a folder, once per URI."""

    def fetched(reward: ModelReward) -> Path:
        target = folder / digest_of(reward.uri)
        if target.is_dir():
            return target
        return fetched_model(reward.uri, target, storage, with_code=reward.trust_remote_code)

    return fetched
