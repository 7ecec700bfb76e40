"""Which weights a training request may have: training units have the simplex of the grid."""

import json
import random

import numpy as np
import pytest
from pydantic import ValidationError

from jobs import training_request
from palm.contract import TrainingRequest
from palm.objective import training_weights
from palm_store.job import InvalidRequest, request_from_environment


def request_with(weights: list[float]) -> str:
    text = json.loads(training_request().model_dump_json(by_alias=True))
    return json.dumps({**text, "weights": weights})


@pytest.mark.parametrize(
    "weights",
    [[-1.0, 2.0], [0.5, 0.4], [0.6, 0.6], [0.0, 0.0], [-0.001, 1.001], [1.0, 1e-5], [1e308, 1e308]],
)
def test_weights_off_the_simplex_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValidationError, match="weights must be at least 0 and sum to 1"):
        TrainingRequest.model_validate_json(request_with(weights))


def test_a_job_says_what_is_wrong_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALM_REQUEST", request_with([-1.0, 2.0]))
    with pytest.raises(InvalidRequest, match=r"TrainingRequest is not valid: .*\[-1\.0, 2\.0\]"):
        request_from_environment(TrainingRequest)


def test_whatever_the_operator_asks_for_is_taken() -> None:
    """Rounded thirds, and what the map into training units makes of a grid, for wild scales."""
    generator = random.Random(7)
    for _ in range(300):
        scale = np.array([10.0 ** generator.uniform(-9, 9) for _ in range(2)])
        share = generator.choice([0.0, 1.0, 1 / 3, generator.random()])
        (row,) = training_weights(weights=np.array([[share, 1 - share]]), scale=scale).tolist()
        assert TrainingRequest.model_validate_json(request_with(row)).weights == tuple(row)
    assert training_request(weights=(0.333333, 0.666667)).weights == (0.333333, 0.666667)
