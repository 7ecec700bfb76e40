"""Operators as processes with the chart's rights, for tests that start, watch and kill them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import yaml

from palm_devcluster.addons import run_kubectl, wait_established
from palm_devcluster.cluster import EmbeddedCluster

ROOT = Path(__file__).parents[1]


def install_crd(cluster: EmbeddedCluster) -> None:
    """Apply the CRD and wait until it is served."""
    crd = str(ROOT / "crds" / "portfolios.palm-operator.dev.yaml")
    run_kubectl(cluster.kubectl, cluster.kubeconfig, "apply", "--server-side", "-f", crd)
    wait_established(cluster.kubectl, cluster.kubeconfig, "-f", crd)


def operator_environment(
    cluster: EmbeddedCluster,
    folder: Path,
    *,
    namespace: str,
    protect: bool = False,
    values: tuple[str, ...] = (),
    **settings: str,
) -> dict[str, str]:
    """The environment of an operator that has the chart's rights and no others.

    Args:
        cluster: Where it works.
        folder: For its credentials.
        namespace: Of its ServiceAccount; made here.
        protect: Whether nobody else may write its route tables.
        values: Of the chart.
        settings: Its PALM_ variables.
    """

    def kubectl(*arguments: str, stdin: str | None = None) -> str:
        return run_kubectl(cluster.kubectl, cluster.kubeconfig, *arguments, stdin=stdin)

    kubectl("create", "namespace", namespace)
    rights = subprocess.run(
        [
            str(cluster.helm),
            "template",
            namespace,
            str(ROOT / "charts" / "palm-operator"),
            f"--namespace={namespace}",
            *[part for value in values for part in ("--set", value)],
            "--show-only=templates/rbac.yaml",
            "--show-only=templates/serviceaccount.yaml",
            "--show-only=templates/writes.yaml",
            *(["--show-only=templates/routetables.yaml"] if protect else []),
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    kubectl("apply", "-f", "-", stdin=rights)
    account = next(d for d in yaml.safe_load_all(rights) if d and d["kind"] == "ServiceAccount")
    name = account["metadata"]["name"]
    token = kubectl("create", "token", name, "-n", namespace, "--duration=2h")
    (folder / "token").write_text(token)
    kubeconfig = json.loads(cluster.kubeconfig.read_text())
    kubeconfig["users"] = [{"name": "operator", "user": {"tokenFile": "token"}}]
    for context in kubeconfig["contexts"]:
        context["context"]["user"] = "operator"
    (folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    return {
        **os.environ,
        "KUBECONFIG": str(folder / "kubeconfig"),
        "PALM_STORAGE_ENDPOINTS": json.dumps([cluster.s3.endpoint]),
        "PALM_HTTP_PORT": "0",
        "AWS_ACCESS_KEY_ID": cluster.s3.access_key,
        "AWS_SECRET_ACCESS_KEY": cluster.s3.secret_key,
        **settings,
    }


class Operator:
    """An operator process that tests start and kill."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.environment, self.log = environment, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "palm_operator"],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        """End it as a lost node would."""
        self.end(signal.SIGKILL)

    def pause(self) -> None:
        """Stop it where it is, as a frozen machine would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=30)
            self._process = None
