"""Bring a fresh cluster to the point where a user would type ``kubectl apply``."""

import hashlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palm.contract import StorageLocation
from palm_devcluster.cluster import EmbeddedCluster
from palm_devcluster.demo.stages import DemoError, Stages
from palm_devcluster.demo.tools import Tools
from palm_store import S3Store

BUCKET = "palm"
SECRET = "palm-s3"
SYSTEM_NAMESPACE = "palm-system"
DEMO_NAMESPACE = "palm-demo"
RELEASE = "palm-operator"
GATEWAY = f"{RELEASE}-gateway"
_EXAMPLE_ENDPOINT = "http://127.0.0.1:9000"  # the placeholder in examples/arithmetic.yaml


@dataclass(frozen=True)
class Sources:
    """The checkout the demo runs from."""

    root: Path

    @property
    def chart(self) -> Path:
        """The Helm chart."""
        return self.root / "charts" / "palm-operator"

    @property
    def crds(self) -> Path:
        """The generated CRDs."""
        return self.root / "crds"

    @property
    def example(self) -> Path:
        """The Portfolio the demo applies."""
        return self.root / "examples" / "arithmetic.yaml"

    def operator_digest(self) -> str:
        """Return a digest of the operator's code; a new one makes the Deployment roll."""
        files = sorted((self.root / "operator").rglob("*.py"))
        total = hashlib.sha256()
        for file in files:
            total.update(file.read_bytes())
        return total.hexdigest()[:16]


def checkout() -> Sources:
    """Return the checkout this package is installed from.

    Raises:
        DemoError: The package is installed from a wheel, without chart and examples.
    """
    root = Path(__file__).resolve().parents[3]
    if not (root / "charts" / "palm-operator" / "Chart.yaml").is_file():
        raise DemoError(f"the demo runs from a checkout of the repository; {root} has no chart")
    return Sources(root)


def storage(cluster: EmbeddedCluster) -> StorageLocation:
    """Return the bucket of the demo; credentials go into this process's environment."""
    os.environ["AWS_ACCESS_KEY_ID"] = cluster.s3.access_key
    os.environ["AWS_SECRET_ACCESS_KEY"] = cluster.s3.secret_key
    return StorageLocation(bucket=BUCKET, endpoint=cluster.s3.endpoint, region="us-east-1")


def upload_toy(store: S3Store, toy: Path, stages: Stages) -> None:
    """Put the toy's base model and prompts into S3, once."""
    if store.exists("toy/prompts.jsonl"):
        stages.say(f"s3://{BUCKET}/toy is there already")
        return
    store.upload_folder(toy / "model", "toy/model")
    # Written last: it says that the model is whole.
    store.write("toy/prompts.jsonl", (toy / "prompts.jsonl").read_bytes())
    stages.say(f"base model and prompts uploaded to s3://{BUCKET}/toy")


def prepare_namespaces(tools: Tools, cluster: EmbeddedCluster) -> None:
    """Create the two namespaces, with Pod Security "restricted", and the S3 Secret in each."""
    for manifest in _namespaces_and_secrets(cluster):
        tools.kubectl("apply", "--server-side", "-f", "-", manifest=manifest)


def _namespaces_and_secrets(cluster: EmbeddedCluster) -> Iterator[dict[str, Any]]:
    for namespace in (SYSTEM_NAMESPACE, DEMO_NAMESPACE):
        yield {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": namespace,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
        }
        yield {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": SECRET,
                "namespace": namespace,
                # As KServe asks for: where its storage initializer finds the models.
                "annotations": {
                    "serving.kserve.io/s3-endpoint": cluster.s3.endpoint,
                    "serving.kserve.io/s3-region": cluster.s3.region,
                },
            },
            "stringData": {
                "AWS_ACCESS_KEY_ID": cluster.s3.access_key,
                "AWS_SECRET_ACCESS_KEY": cluster.s3.secret_key,
            },
        }


def install_operator(tools: Tools, cluster: EmbeddedCluster, sources: Sources) -> None:
    """Install CRD, operator and gateway the way a user does: the CRD, then the chart."""
    # Helm installs the files of crds/ once and never upgrades them.
    tools.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(sources.crds))
    values = {
        "storage.credentialsSecret": SECRET,
        "storage.region": "us-east-1",
        "storage.endpoints[0]": cluster.s3.endpoint,
        "serving.url": f"{cluster.services_url}/{{namespace}}/{{name}}-predictor",
        # The Pods of the process node share the machine's ports.
        "httpPort": str(_operator_port(tools)),
        r"podAnnotations.palm-operator\.dev/source": sources.operator_digest(),
        "gateway.enabled": "true",
        "gateway.namespaces[0]": DEMO_NAMESPACE,
        # Policies answer behind the proxy of the cluster's Services.
        "gateway.upstreamHosts[0]": "127.0.0.1",
        "gateway.url": gateway_url(cluster),
        # Two Pods of one node listen on one port where each listens on its own address.
        "gateway.host": "$(POD_IP)",
        r"gateway.podAnnotations.palm-operator\.dev/source": sources.operator_digest(),
    }
    settings = [part for key, value in values.items() for part in _set(key, value)]
    tools.helm(
        "upgrade", "--install", RELEASE, str(sources.chart), "--namespace", SYSTEM_NAMESPACE,
        "--wait", "--timeout", "120s", *settings,
    )  # fmt: skip


def gateway_url(cluster: EmbeddedCluster) -> str:
    """Return where the gateway's Service is."""
    return f"{cluster.services_url}/{SYSTEM_NAMESPACE}/{GATEWAY}"


def _set(key: str, value: str) -> tuple[str, str]:
    typed = key in ("httpPort", "gateway.enabled")
    return ("--set" if typed else "--set-string", f"{key}={value}")


def _operator_port(tools: Tools) -> int:
    deployment = tools.read("deployment", RELEASE, "--namespace", SYSTEM_NAMESPACE)
    if deployment:
        for port in deployment["spec"]["template"]["spec"]["containers"][0].get("ports", []):
            return int(port["containerPort"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def apply_example(tools: Tools, cluster: EmbeddedCluster, sources: Sources) -> None:
    """``kubectl apply`` the example, with the embedded S3's address for the placeholder."""
    text = sources.example.read_text(encoding="utf-8")
    if _EXAMPLE_ENDPOINT not in text:
        raise DemoError(f"{sources.example} does not hold the endpoint {_EXAMPLE_ENDPOINT}")
    text = text.replace(_EXAMPLE_ENDPOINT, cluster.s3.endpoint)
    tools.kubectl("apply", "--namespace", DEMO_NAMESPACE, "-f", "-", manifest=text)
