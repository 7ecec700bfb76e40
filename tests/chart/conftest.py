import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHART = Path(__file__).resolve().parents[2] / "charts" / "palm-operator"
Helm = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def helm(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm with the cluster's kubeconfig and a home of its own."""
    home = str(tmp_path_factory.mktemp("helm"))
    environment = {
        **os.environ,
        "KUBECONFIG": str(cluster.kubeconfig),
        "HELM_CACHE_HOME": home,
        "HELM_CONFIG_HOME": home,
        "HELM_DATA_HOME": home,
    }

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(cluster.helm), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )

    return run
