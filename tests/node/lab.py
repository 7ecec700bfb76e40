"""Pods on the embedded cluster: make them, watch them, read what they said."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

Json = dict[str, Any]


class Pods:
    """Pods of one namespace, by way of kubectl as a user would."""

    def __init__(self, kubectl: Callable[..., str], namespace: str) -> None:
        self.kubectl = kubectl
        self.namespace = namespace

    def __call__(self, *arguments: str, **options: Any) -> str:
        return self.kubectl("--namespace", self.namespace, *arguments, **options)

    def create(self, name: str, *containers: Json, kind: str = "Pod", **spec: Any) -> None:
        body = {"containers": list(containers), "terminationGracePeriodSeconds": 2, **spec}
        self.apply({"kind": kind, "metadata": {"name": name}, "spec": body})

    def apply(self, manifest: Json) -> None:
        manifest = {"apiVersion": "v1", **manifest}
        self("create", "-f", "-", stdin=json.dumps(manifest))

    def get(self, name: str, kind: str = "pod") -> Json:
        return json.loads(self("get", kind, name, "-o", "json"))

    def list(self, kind: str, selector: str) -> list[Json]:
        return json.loads(self("get", kind, "-l", selector, "-o", "json"))["items"]

    def until(self, name: str, condition: Callable[[Json], Any], kind: str = "pod") -> Json:
        """The object once the condition holds; fails with the last status after 30 s."""
        return eventually(lambda: self.get(name, kind), condition)

    def ended(self, name: str) -> Json:
        """The state of the first container of a Pod that has ended."""
        pod = self.until(name, lambda pod: pod["status"].get("phase") in ("Succeeded", "Failed"))
        return pod["status"]["containerStatuses"][0]["state"]["terminated"]

    def running(self, name: str) -> Json:
        return self.until(name, lambda pod: pod["status"].get("phase") == "Running")

    def logs(self, name: str, *options: str) -> str:
        return self("logs", name, *options)


def eventually(
    look: Callable[[], Any], condition: Callable[[Any], Any], seconds: float = 30
) -> Any:
    deadline = time.monotonic() + seconds
    while not condition(found := look()):
        if time.monotonic() > deadline:
            shown = found.get("status", found) if isinstance(found, dict) else found
            pytest.fail(f"not within {seconds:g} s: {json.dumps(shown, indent=1, default=str)}")
        time.sleep(0.1)
    return found


def shell(script: str, **more: Any) -> Json:
    """A container that runs a shell script."""
    return {"name": "main", "image": "shell", "command": ["sh", "-c", script], **more}
