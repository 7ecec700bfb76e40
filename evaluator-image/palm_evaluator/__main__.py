"""``python -m palm_evaluator``: estimate one policy's rewards and divergence, as a Job.

Reads an ``EvaluationRequest`` from ``PALM_REQUEST``, samples, scores, and writes to S3 every
response, a few of them for people, and last one result file. Finds a valid result: says so and
ends. Credentials come from boto3's chain.

Its exit codes are those of ``palm.exit_codes``.
"""

import hashlib
import sys
import tempfile
import time
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from palm.artifacts import evaluation_responses, evaluation_result, evaluation_samples, uri
from palm.contract import EvaluationRequest, PolicyResult
from palm.evaluations import MAX_RESULT_BYTES, Source
from palm_evaluator.estimates import policy_result
from palm_evaluator.evaluation import Evaluated, evaluated
from palm_evaluator.generation import Generator, generation_ids
from palm_evaluator.inputs import Inputs, fetched_inputs
from palm_evaluator.tables import responses_parquet, samples_json
from palm_store import ResultStore, S3Store
from palm_store.job import (
    InvalidRequest,
    exit_code,
    quiet_libraries,
    request_from_environment,
)
from palm_store.prompts import Prompt


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
        result = _evaluate(request, store, Path(folder))
    _commit(store, key, result, request)
    print(_summary(result), flush=True)
    print(f"policy {request.policy} is evaluated: {where}", flush=True)


def _is_evaluated(store: ResultStore, key: str, request: EvaluationRequest) -> bool:
    """Say whether there is a result that answers this request."""
    content = store.read(key, max_bytes=MAX_RESULT_BYTES)
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


def _evaluate(request: EvaluationRequest, store: ResultStore, folder: Path) -> PolicyResult:
    started = time.monotonic()
    models = [item.model.uri for item in request.rewards if item.model is not None]
    quiet_libraries([request.base_model, request.prompts.uri, *models])
    engine = chosen_engine(request.settings.engine, mixes=request.mixture is not None)
    inputs = fetched_inputs(request, store, folder)
    print("loading libraries and models", flush=True)
    generator = loaded_generator(request, inputs, engine=engine)
    found = evaluated(request, generator, inputs.scorers, inputs.prompts)
    responses = _store_responses(request, store, inputs, found)
    return policy_result(
        request,
        generator,
        found,
        seconds=time.monotonic() - started,
        provenance=inputs.provenance.model_copy(update={"responses": responses}),
    )


def chosen_engine(wanted: Literal["Auto", "vLLM", "Transformers"], *, mixes: bool = False) -> str:
    """Return the engine to use: what is wanted, or vLLM where it is installed.

    Args:
        wanted: What the request says.
        mixes: Whether the policy is mixed of others at decoding, which only transformers does.

    Raises:
        InvalidRequest: vLLM is wanted and not installed, or cannot do it.
    """
    if mixes:
        if wanted == "vLLM":
            raise InvalidRequest(
                "engine vLLM is wanted for a policy that is mixed of others at decoding; vLLM "
                "samples from one model: set evaluation.engine to Auto or Transformers"
            )
        return "Transformers"
    installed = find_spec("vllm") is not None
    if wanted == "vLLM" and not installed:
        raise InvalidRequest("engine vLLM is wanted, but this image has no vLLM")
    if wanted == "Auto":
        return "vLLM" if installed else "Transformers"
    return wanted


def loaded_generator(request: EvaluationRequest, inputs: Inputs, *, engine: str) -> Generator:
    """Return the generator of the request's policy."""
    # Only the engine that is used: each takes seconds to import.
    from palm_rewards.base_model import check_base_model

    check_base_model(request.base_model, inputs.base)
    longest = longest_sequence(request, inputs, spare=1 if engine == "vLLM" else 0)
    if engine == "vLLM":
        from palm_evaluator.with_vllm import VllmGenerator

        return VllmGenerator.load(inputs.base, inputs.policy, request.adapter, longest=longest)
    from palm_evaluator.with_transformers import TransformersGenerator

    if request.mixture is not None and request.adapter is not None:
        weights = [part.weight for part in request.mixture]
        return TransformersGenerator.load_mixture(
            inputs.base, inputs.mixture, weights, request.adapter
        )
    return TransformersGenerator.load(inputs.base, inputs.policy, request.adapter)


def longest_sequence(request: EvaluationRequest, inputs: Inputs, *, spare: int = 0) -> int:
    """Return the most tokens that a prompt and its response can have.

    Args:
        request: The evaluation.
        inputs: What it reads.
        spare: Positions of the model that the engine keeps for itself.

    Raises:
        InvalidRequest: The base model cannot take as many.
        InvalidData: A chat cannot be written by its chat template.
    """
    from transformers import AutoConfig, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(inputs.base, trust_remote_code=False)
    lengths = [_tokens(tokenizer, item) for item in inputs.prompts]
    longest = max(lengths) + request.settings.max_completion_tokens
    config: Any = AutoConfig.from_pretrained(inputs.base, trust_remote_code=False)
    limit = getattr(config, "max_position_embeddings", None)
    if limit is not None and longest + spare > limit:
        raise InvalidRequest(
            f"prompt {lengths.index(max(lengths)) + 1} has {max(lengths)} tokens; with "
            f"maxCompletionTokens {request.settings.max_completion_tokens} that is more than the "
            f"{limit - spare} that the base model can take"
        )
    return longest


def _tokens(tokenizer: Any, item: Prompt) -> int:
    from palm_rewards.base_model import refusal_named

    with nullcontext() if isinstance(item.prompt, str) else refusal_named(item):
        return len(generation_ids(tokenizer, item.prompt))


def _store_responses(
    request: EvaluationRequest, store: ResultStore, inputs: Inputs, found: Evaluated
) -> Source:
    """Write every response, and a few for people; return what the result refers to."""
    content = responses_parquet(request, found)
    sha256 = hashlib.sha256(content).hexdigest()
    key = evaluation_responses(request.policy_digest, request.evaluation_digest, sha256)
    store.write(key, content)
    store.write(
        evaluation_samples(request.policy_digest, request.evaluation_digest),
        samples_json(request, inputs.prompts, found),
    )
    return Source(uri=uri(request.storage, key), sha256=sha256)


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
    kl = f"KL {divergence.mean:.2f} ± {divergence.standard_error:.2f} ({divergence.estimator})"
    return (
        f"{result.samples} responses of {result.mean_response_tokens:.1f} tokens: {rewards}, "
        f"{'greedy, no KL' if divergence.estimator == 'none' else kl}"
    )


if __name__ == "__main__":
    sys.exit(main())
