"""What tests of serving ask, of policies and of the cluster."""

import json
import urllib.error
import urllib.request
from typing import Any

from palm_devcluster.cluster import EmbeddedCluster


def ask(policy: dict[str, Any]) -> int:
    """One completion of a policy of a Portfolio's status; the HTTP status of the answer."""
    request = urllib.request.Request(
        f"{policy['url']}/v1/completions",
        data=json.dumps({"model": policy["name"], "prompt": "1", "max_tokens": 1}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def pid_of(cluster: EmbeddedCluster, name: str) -> int:
    """The process of a component."""
    (found,) = [part.pid for part in cluster.status() if part.name == name]
    assert found is not None
    return found
