"""What trainer and evaluator share as Jobs: the request, the exit code, the inputs, the quiet.

Exit codes are a contract with the operator's pod failure policy:

- 0: done, or found done;
- 42: the request or what it names is not valid, and trying again does not help;
- 1: anything else; trying again may help.
"""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from palm.contract import (
    INVALID_REQUEST_EXIT_CODE,
    REQUEST_VARIABLE,
    Model,
    ModelReward,
    PromptSource,
    StorageLocation,
    digest_of,
)
from palm.errors import InvalidResult, PalmError, StoreUnavailable
from palm_store.fetch import fetch, fetch_file
from palm_store.prompts import MAX_PROMPTS_BYTES, Prompt, parsed_prompts

RequestType = TypeVar("RequestType", bound=Model)


class InvalidRequest(PalmError):
    """The request, or something it names, cannot be used; trying again does not help."""


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
    """Run a Job's work and return its exit code, with a sentence on stderr where it failed."""
    try:
        run()
    except InvalidRequest as problem:
        print(f"error: {problem}", file=sys.stderr, flush=True)
        return INVALID_REQUEST_EXIT_CODE
    except (StoreUnavailable, InvalidResult) as problem:
        print(f"error: {problem}", file=sys.stderr, flush=True)
        return 1
    except Exception:
        # The border of the process: whatever it is, the Pod's log must say it.
        traceback.print_exc()
        return 1
    return 0


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


def fetched_model(uri: str, folder: Path, storage: StorageLocation) -> Path:
    """Download a model, saying so.

    Raises:
        InvalidRequest: There is no such model, or the URI cannot be understood.
    """
    print(f"downloading {uri}", flush=True)
    try:
        return fetch(uri, folder, storage)
    except (ValueError, InvalidResult) as problem:
        raise InvalidRequest(str(problem)) from None


def fetched_prompts(source: PromptSource, storage: StorageLocation) -> list[Prompt]:
    """Download and parse the prompts.

    Raises:
        InvalidRequest: There are none, or they cannot be understood.
    """
    try:
        content = fetch_file(source.uri, storage, max_bytes=MAX_PROMPTS_BYTES)
        return parsed_prompts(content, source.limit)
    except (ValueError, InvalidResult) as problem:
        raise InvalidRequest(f"{source.uri}: {problem}") from None


def reward_model_folders(folder: Path, storage: StorageLocation) -> Callable[[ModelReward], Path]:
    """Return a function that downloads a reward model below a folder, once per URI."""

    def fetched(reward: ModelReward) -> Path:
        target = folder / digest_of(reward.uri)
        return target if target.is_dir() else fetched_model(reward.uri, target, storage)

    return fetched
