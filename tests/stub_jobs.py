"""An image's own command whose model is a stand-in, a real S3, and a proxy that fails as told."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from flaky_s3 import Fate, FlakyS3
from palm.contract import EvaluationRequest, StorageLocation, TrainingRequest
from palm_store import S3Store
from stores import s3_environment

Request = TypeVar("Request", TrainingRequest, EvaluationRequest)

_PROMPTS = b"\n".join(b'{"prompt": "What is 3 + 4?", "answer": "7"}' for _ in range(8))


@pytest.fixture
def store(storage: StorageLocation) -> S3Store:
    """What the stand-ins need, at the module's own ``storage``."""
    made = S3Store(storage)
    made.write("toy/prompts.jsonl", _PROMPTS)
    made.write("toy/model/config.json", b"{}")
    return made


@pytest.fixture
def proxy(storage: StorageLocation) -> Iterator[FlakyS3]:
    with FlakyS3(storage.endpoint) as made:
        yield made


@dataclass(frozen=True)
class Command:
    """The command of an image with a stand-in: a module of the folder of a test."""

    module: str
    folder: Path

    def start(
        self, cluster: Any, request: TrainingRequest | EvaluationRequest
    ) -> subprocess.Popen[str]:
        environment = s3_environment(cluster) | {"PYTHONPATH": str(self.folder)}
        text = request.model_dump_json(by_alias=True)
        return subprocess.Popen(
            [sys.executable, "-m", self.module],
            env=os.environ | environment | {"PALM_REQUEST": text},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ended(
        self, cluster: Any, request: TrainingRequest | EvaluationRequest
    ) -> tuple[int, str, str]:
        """Return exit code, output and errors."""
        process = self.start(cluster, request)
        output, errors = process.communicate(timeout=300)
        return process.returncode, output, errors


def behind(proxy: FlakyS3, request: Request) -> Request:
    """Return the same request for a Job that reaches S3 through the proxy."""
    through = request.storage.model_copy(update={"endpoint": proxy.endpoint})
    return request.model_copy(update={"storage": through})


class OnceEach:
    """A rule of the proxy by which everything but a question fails the first time."""

    def __init__(self, fate: Fate) -> None:
        self._fate = fate
        self.failed: set[tuple[str, str]] = set()

    def __call__(self, method: str, path: str) -> Fate:
        if method == "HEAD" or (method, path) in self.failed:
            return "pass"
        self.failed.add((method, path))
        return self._fate
