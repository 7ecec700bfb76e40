"""``python -m palm_evaluator``: estimate one policy's rewards and divergence, as a Job.

Reads an ``EvaluationRequest`` from ``PALM_REQUEST``, samples, scores, and writes one result file
to S3. Finds a valid result: says so and ends. Credentials come from boto3's chain.

Exit codes: 0 done or found done; 42 the request or what it names is not valid, trying again does
not help; 1 anything else.
"""

import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from palm.artifacts import evaluation_result, model_folder, uri
from palm.contract import EvaluationRequest, PolicyResult
from palm_evaluator.estimates import policy_result
from palm_evaluator.generation import Generator, Sampled, Sampling
from palm_rewards import Responses, RewardScorer, reward_functions
from palm_store import ResultStore, S3Store
from palm_store.job import (
    InvalidRequest,
    exit_code,
    fetched_model,
    fetched_prompts,
    quiet_libraries,
    request_from_environment,
    reward_model_folders,
)
from palm_store.prompts import Prompt

_MAX_RESULT_BYTES = 64 * 1024 * 1024


def main() -> int:
    """Evaluate the policy of the request in the environment; return the exit code."""
    return exit_code(_run)


def _run() -> None:
    request = request_from_environment(EvaluationRequest)
    store = S3Store(request.storage)
    key = evaluation_result(request.policy_digest, request.evaluation_digest)
    where = uri(request.storage, key)
    if _is_evaluated(store, key, request):
        print(f"policy {request.policy} is evaluated already: {where}", flush=True)
        return
    with tempfile.TemporaryDirectory(prefix="palm-evaluator-") as folder:
        result = _evaluated(request, store, Path(folder))
    _commit(store, key, result, request)
    print(_summary(result), flush=True)
    print(f"policy {request.policy} is evaluated: {where}", flush=True)


def _is_evaluated(store: ResultStore, key: str, request: EvaluationRequest) -> bool:
    """Say whether there is a result that answers this request."""
    content = store.read(key, max_bytes=_MAX_RESULT_BYTES)
    if content is None:
        return False
    try:
        result = PolicyResult.model_validate_json(content)
    except ValidationError:
        print(f"the result at {key} cannot be read and will be replaced", flush=True)
        return False
    return (result.policy_digest, result.evaluation_digest) == (
        request.policy_digest,
        request.evaluation_digest,
    )


def _evaluated(request: EvaluationRequest, store: ResultStore, folder: Path) -> PolicyResult:
    started = time.monotonic()
    models = [item.model.uri for item in request.rewards if item.model is not None]
    quiet_libraries([request.base_model, *models])
    prompts = fetched_prompts(request.prompts, request.storage)
    base = fetched_model(request.base_model, folder / "base", request.storage)
    policy = None
    if request.policy_digest is not None:
        policy = folder / "policy"
        store.download_folder(model_folder(request.policy_digest), policy)
    scorers = _scorers(request, folder)
    print("loading libraries and models", flush=True)
    generator = loaded_generator(
        request, engine=chosen_engine(request.settings.engine), base=base, policy=policy
    )
    sampling = Sampling(
        samples_per_prompt=request.settings.samples_per_prompt,
        max_completion_tokens=request.settings.max_completion_tokens,
        seed=request.settings.seed,
    )
    sampled = generator.sampled([item.prompt for item in prompts], sampling)
    rewards = scored(scorers, prompts=prompts, sampled=sampled)
    return policy_result(
        request,
        generator,
        sampled=sampled,
        rewards=rewards,
        seconds=time.monotonic() - started,
    )


def chosen_engine(wanted: Literal["Auto", "vLLM", "Transformers"]) -> str:
    """Return the engine to use: what is wanted, or vLLM where it is installed.

    Raises:
        InvalidRequest: vLLM is wanted and not installed.
    """
    installed = find_spec("vllm") is not None
    if wanted == "vLLM" and not installed:
        raise InvalidRequest("engine vLLM is wanted, but this image has no vLLM")
    if wanted == "Auto":
        return "vLLM" if installed else "Transformers"
    return wanted


def loaded_generator(
    request: EvaluationRequest, *, engine: str, base: Path, policy: Path | None
) -> Generator:
    """Return the generator of the request's policy."""
    # Only the engine that is used: each takes seconds to import.
    if engine == "vLLM":
        from palm_evaluator.with_vllm import VllmGenerator

        return VllmGenerator.load(base, policy, request.adapter)
    from palm_evaluator.with_transformers import TransformersGenerator

    return TransformersGenerator.load(base, policy, request.adapter)


def scored(
    scorers: list[RewardScorer], *, prompts: list[Prompt], sampled: list[list[Sampled]]
) -> NDArray[np.float64]:
    """Return the raw rewards, shape (d, prompts, samples)."""
    flat = [(prompt, item) for prompt, row in zip(prompts, sampled, strict=True) for item in row]
    responses = Responses(
        prompts=[prompt.prompt for prompt, _ in flat],
        texts=[item.text for _, item in flat],
        token_counts=[item.tokens for _, item in flat],
        answers=[prompt.answer for prompt, _ in flat],
    )
    values = np.array([scorer(responses) for scorer in scorers], dtype=np.float64)
    return values.reshape(len(scorers), len(prompts), -1)


def _scorers(request: EvaluationRequest, folder: Path) -> list[RewardScorer]:
    try:
        return reward_functions(
            request.rewards,
            model_folder=reward_model_folders(folder / "reward-models", request.storage),
        )
    except ValueError as problem:
        raise InvalidRequest(str(problem)) from None


def _commit(store: ResultStore, key: str, result: PolicyResult, request: EvaluationRequest) -> None:
    content = result.model_dump_json(by_alias=True).encode()
    # Written last, in one PUT: its existence means "evaluated".
    if not store.write_if_absent(key, content) and not _is_evaluated(store, key, request):
        store.write(key, content)


def _summary(result: PolicyResult) -> str:
    rewards = ", ".join(
        f"{item.name} {item.mean:.3f} ± {item.standard_error:.3f}" for item in result.rewards
    )
    divergence = result.divergence
    return (
        f"{result.samples} responses of {result.mean_response_tokens:.1f} tokens: {rewards}, "
        f"KL {divergence.mean:.2f} ± {divergence.standard_error:.2f} ({divergence.estimator})"
    )


if __name__ == "__main__":
    sys.exit(main())
