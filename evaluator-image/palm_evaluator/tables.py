"""Every response as Parquet, for programs, and the first few as JSON, for people. Pure."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from palm.contract import EvaluationRequest
from palm.evaluations import SamplesFile, ShownResponse
from palm_evaluator.evaluation import Evaluated
from palm_evaluator.generation import response_seed
from palm_store.prompts import Prompt

SHOWN_PROMPTS = 8
_LONGEST_TEXT = 4096


def responses_parquet(request: EvaluationRequest, found: Evaluated) -> bytes:
    """Return a row per response: prompt, sample, seed, text, tokens, divergence, k3, rewards.

    Rows are in the order of prompts and samples, so that those of two policies can be put side by
    side; the reward of objective ``x`` is the column ``reward.x``.
    """
    rows = [
        (prompt, sample, item)
        for prompt, row in enumerate(found.sampled)
        for sample, item in enumerate(row)
    ]
    seed = request.settings.seed
    columns: dict[str, Any] = {
        "prompt": pa.array([prompt for prompt, _, _ in rows], pa.int32()),
        "sample": pa.array([sample for _, sample, _ in rows], pa.int32()),
        "seed": pa.array(
            [response_seed(seed, prompt=prompt, sample=sample) for prompt, sample, _ in rows],
            pa.int64(),
        ),
        "text": pa.array([_storable(item.text) for _, _, item in rows], pa.string()),
        "tokens": pa.array([item.tokens for _, _, item in rows], pa.int32()),
        "divergence": pa.array([item.divergence for _, _, item in rows], pa.float64()),
        "k3": pa.array([item.k3 for _, _, item in rows], pa.float64()),
    }
    for reward, values in zip(request.rewards, found.rewards, strict=True):
        columns[f"reward.{reward.name}"] = pa.array(values.reshape(-1), pa.float64())
    told = {
        "palm.schemaVersion": "1",
        "palm.policyDigest": request.policy_digest or "base",
        "palm.evaluationDigest": request.evaluation_digest,
    }
    target = BytesIO()
    pq.write_table(pa.table(columns).replace_schema_metadata(told), target, compression="zstd")
    return target.getvalue()


def samples_json(request: EvaluationRequest, prompts: Sequence[Prompt], found: Evaluated) -> bytes:
    """Return the first sample of each of the first few prompts, for people."""
    shown = [
        ShownResponse(
            prompt=_cut(_readable(prompt.prompt)),
            text=_cut(row[0].text),
            tokens=row[0].tokens,
            rewards=tuple(found.rewards[:, index, 0].tolist()),
        )
        for index, (prompt, row) in enumerate(
            list(zip(prompts, found.sampled, strict=True))[:SHOWN_PROMPTS]
        )
    ]
    file = SamplesFile(
        policy=request.policy,
        evaluation_digest=request.evaluation_digest,
        rewards=tuple(reward.name for reward in request.rewards),
        responses=tuple(shown),
    )
    return file.model_dump_json(by_alias=True, indent=1).encode()


def _readable(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{message['role']}: {message['content']}" for message in prompt)


def _cut(text: str) -> str:
    bare = _storable(text)
    return bare if len(bare) <= _LONGEST_TEXT else f"{bare[:_LONGEST_TEXT]} …"


def _storable(text: str) -> str:
    """Return a text without lone surrogates, which UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode()
