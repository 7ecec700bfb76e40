"""Trainer and evaluator in one, without a model: an exact oracle behind the real contract."""

import json
import os
import sys
import time

from builders import make_record, make_result
from palm import artifacts
from palm.contract import REQUEST_VARIABLE, EvaluationRequest, TrainingRequest
from palm_store import S3Store


def main() -> None:
    document = json.loads(os.environ[REQUEST_VARIABLE])
    time.sleep(float(os.environ.get("FAKE_SECONDS", "0")))
    if "weights" in document:
        train(TrainingRequest.model_validate(document))
    else:
        evaluate(EvaluationRequest.model_validate(document))


def train(request: TrainingRequest) -> None:
    failing = [name for name in os.environ.get("FAKE_FAILURES", "").split(",") if name]
    if request.policy.startswith(tuple(failing)):
        sys.exit(int(os.environ.get("FAKE_CODE", "42")))
    store = S3Store(request.storage)
    key = f"{artifacts.model_folder(request.policy_digest)}/weights.json"
    store.write(key, json.dumps(request.weights).encode())
    store.write_if_absent(artifacts.training_record(request.policy_digest), make_record(request))


def evaluate(request: EvaluationRequest) -> None:
    store = S3Store(request.storage)
    weights, loss = None, 0.0
    if request.mixture is not None:
        parts = [(part.weight, weights_of(store, part.policy_digest)) for part in request.mixture]
        rows = [[share * weight for weight in vector] for share, vector in parts]
        weights, loss = tuple(map(sum, zip(*rows, strict=True))), 0.02
    elif request.policy_digest is not None:
        weights = weights_of(store, request.policy_digest)
    result = make_result(request, weights, loss=loss)
    store.write_if_absent(
        artifacts.evaluation_result(request.policy_digest, request.evaluation_digest),
        result.model_dump_json(by_alias=True).encode(),
    )


def weights_of(store: S3Store, digest: str) -> tuple[float, ...]:
    """What a policy was trained for."""
    content = store.read(f"{artifacts.model_folder(digest)}/weights.json", max_bytes=10_000)
    return tuple(json.loads(content or b""))


if __name__ == "__main__":
    main()
