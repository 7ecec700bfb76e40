"""Two replicas of the installed operator on a real cluster: both ready, one leads."""

import json
from typing import Any

import pytest

from chart.test_install import CHART, eventually

pytestmark = pytest.mark.cluster


def test_both_replicas_are_ready_one_leads_and_an_upgrade_hands_over(
    helm: Any, kubectl: Any, namespace: str
) -> None:
    def holder() -> str:
        leases = json.loads(kubectl("get", "leases", "-n", namespace, "-o", "json"))["items"]
        return str(leases[0]["spec"].get("holderIdentity", "")) if leases else ""

    settings = ("--set", "replicas=2", "--set", "resources.requests.cpu=10m")
    installed = helm("install", "palm-operator", str(CHART), "-n", namespace, *settings)
    assert installed.returncode == 0, installed.stderr
    try:
        rollout = ("rollout", "status", "deployment/palm-operator", "-n", namespace)
        kubectl(*rollout, "--timeout=180s")
        first = eventually(holder)
        upgraded = helm("upgrade", "palm-operator", str(CHART), "-n", namespace, *settings,
                        "--set", "logFormat=json")  # fmt: skip
        assert upgraded.returncode == 0, upgraded.stderr
        kubectl(*rollout, "--timeout=180s")
        eventually(lambda: holder() not in ("", first))
    finally:
        removed = helm("uninstall", "palm-operator", "-n", namespace)
    assert removed.returncode == 0, removed.stderr
