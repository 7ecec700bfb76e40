"""kubectl and helm as the user would type them, against the embedded cluster."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palm_devcluster.demo.stages import DemoError


@dataclass(frozen=True)
class Tools:
    """The two command-line tools with one kubeconfig."""

    kubectl_binary: Path
    helm_binary: Path
    kubeconfig: Path

    def kubectl(self, *arguments: str, manifest: Any = None) -> str:
        """Run kubectl; ``manifest`` goes to standard input as JSON, or as it is when text."""
        text = manifest if manifest is None or isinstance(manifest, str) else json.dumps(manifest)
        return self._run([str(self.kubectl_binary), *arguments], text)

    def read(self, *arguments: str) -> Any:
        """Run ``kubectl get … -o json``; None when nothing is found."""
        text = self.kubectl("get", *arguments, "--ignore-not-found", "-o", "json")
        return json.loads(text) if text.strip() else None

    def items(self, *arguments: str) -> list[Any]:
        """Run ``kubectl get …`` of many objects; empty when there are none."""
        found = self.read(*arguments)
        return list(found["items"]) if found else []

    def helm(self, *arguments: str) -> str:
        """Run helm."""
        return self._run([str(self.helm_binary), *arguments], None)

    def _run(self, command: Sequence[str], text: str | None) -> str:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
        )
        if done.returncode != 0:
            shown = " ".join([Path(command[0]).name, *command[1:]])
            raise DemoError(f"`{shown}` failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout
