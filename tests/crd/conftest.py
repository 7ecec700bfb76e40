import copy
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from palm_operator.api.crd import custom_resource_definition

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def run(cluster: Any) -> Run:
    """kubectl with its exit code and what it complains about."""

    def kubectl(*arguments: str, manifest: Any = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(cluster.kubectl), *arguments],
            input=json.dumps(manifest) if manifest else None,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig)},
        )

    return kubectl


@pytest.fixture(scope="session")
def crd(run: Run) -> Run:
    """The CRD is installed and established; the value is kubectl."""
    definition = custom_resource_definition()
    applied = run("apply", "--server-side", "--force-conflicts", "-f", "-", manifest=definition)
    assert applied.returncode == 0, applied.stderr
    name = definition["metadata"]["name"]
    # `kubectl wait` fails on an object that has no conditions yet.
    waits = ("--for=jsonpath={.status.acceptedNames.kind}=Portfolio", "--for=condition=Established")
    for until in waits:
        waited = run("wait", until, f"crd/{name}", "--timeout=60s")
        assert waited.returncode == 0, waited.stderr
    return run


@pytest.fixture
def minimal() -> dict[str, Any]:
    """Only what has no default."""
    return {
        "apiVersion": "palm-operator.dev/v1alpha1",
        "kind": "Portfolio",
        "metadata": {"name": "minimal"},
        "spec": {
            "baseModel": {"uri": "s3://models/base"},
            "prompts": {
                "train": {"uri": "s3://data/train.jsonl"},
                "evaluation": {"uri": "s3://data/test.jsonl"},
            },
            "rewards": [
                {"name": "brevity", "verifiable": {"type": "BrevityIfCorrect"}},
                {"name": "helpfulness", "model": {"uri": "s3://models/reward"}},
            ],
            "grid": {"mu": "8/30", "alpha": "0.2"},
            "storage": {"s3": {"bucket": "palm"}},
        },
    }


@pytest.fixture
def valid() -> dict[str, Any]:
    """The demo's Portfolio, to be made wrong."""
    text = (ROOT / "examples" / "arithmetic.yaml").read_text(encoding="utf-8")
    return copy.deepcopy(yaml.safe_load(text))
