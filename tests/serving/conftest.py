"""A Portfolio whose policies are trained already, served by KServe's own controller.

S3 is the record: with results and tiny models in it, an operator has nothing to train and goes on
to publish at once.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builders import World, portfolio_body
from jobs import random_adapter, random_model
from operators import Operator, install_crd, operator_environment
from palm import artifacts
from palm.contract import StorageLocation
from palm_devcluster.addons import run_kubectl
from palm_devcluster.cluster import EmbeddedCluster
from palm_operator.settings import Settings
from palm_operator.storage_rules import StorageRules
from palm_store import S3Store

BUCKET = "serving"
NAMESPACE = "serving"
NAME = "assistant"
SEEDS = (0, 7)  # one revision each
# Two of five policies survive it.
_PRUNING = {"mu": "0.3"}
_RESOURCES = {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}}


class Tenant:
    """The Portfolio, what surrounds it, and what a person can see of it."""

    def __init__(self, cluster: EmbeddedCluster, namespace: str = NAMESPACE) -> None:
        self.cluster, self.namespace = cluster, namespace
        self.location = StorageLocation(
            bucket=BUCKET, prefix="runs", endpoint=cluster.s3.endpoint, region="us-east-1"
        )
        self.store = S3Store(self.location)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        cluster = self.cluster
        return run_kubectl(
            cluster.kubectl, cluster.kubeconfig, "-n", self.namespace, *arguments, stdin=stdin
        )

    def objects(self, kind: str, *arguments: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(
            self.kubectl("get", kind, *arguments, "-o", "json")
        )["items"]
        return found

    def body(self, seed: int = SEEDS[0], **serving: Any) -> dict[str, Any]:
        """The Portfolio; each seed is a revision of it."""
        base = f"s3://{BUCKET}/toy/model"
        template = {"resources": _RESOURCES, **serving.pop("template", {})}
        body = portfolio_body(
            baseModel={"uri": base},
            pruning=_PRUNING,
            training={"seed": seed, "adapter": {"type": "LoRA", "rank": 8}},
            serving={"template": template, **serving},
            storage={
                "s3": {
                    "bucket": BUCKET,
                    "prefix": self.location.prefix,
                    "endpoint": self.location.endpoint,
                    "credentialsSecret": {"name": "palm-s3"},
                }
            },
        )
        body["metadata"] = {"name": NAME, "namespace": self.namespace}
        return body

    def apply(self, seed: int = SEEDS[0], **serving: Any) -> None:
        self.kubectl(
            "apply", "--server-side", "-f", "-", stdin=json.dumps(self.body(seed, **serving))
        )

    @property
    def portfolio(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", "pfo", NAME, "-o", "json"))
        return found

    @property
    def policies(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.portfolio["status"]["portfolio"]["policies"]
        return found

    def condition(self, kind: str) -> dict[str, Any]:
        body = self.portfolio
        conditions = body.get("status", {}).get("conditions", [])
        found = next((c for c in conditions if c["type"] == kind), {})
        current = found.get("observedGeneration") == body["metadata"]["generation"]
        return found if current else {}

    def says(self, kind: str, status: str, reason: str = "") -> Callable[[], bool]:
        """Whether a condition of the present generation has this status, and reason if given."""

        def holds() -> bool:
            found = self.condition(kind)
            return found.get("status") == status and reason in ("", found.get("reason"))

        return holds

    def eventually(self, holds: Callable[[], Any], *, seconds: float = 300) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := holds()):
            if time.monotonic() > deadline:
                seen = self.kubectl("get", "isvc,pods", "-o", "wide")
                status = json.dumps(self.portfolio.get("status"), indent=1)
                raise AssertionError(f"not within {seconds} s: {status}\n{seen}")
            time.sleep(0.3)
        return found

    def published(self) -> None:
        self.eventually(self.says("Published", "True"))

    def train(self, seed: int) -> list[str]:
        """Put into S3 what training and evaluating this revision would; the policies' digests."""
        world = World(
            body=portfolio_body(), settings=Settings(storage=StorageRules(endpoints=("*",)))
        )
        body = self.body(seed)
        world.body["spec"] = body["spec"]
        world.body["metadata"] |= {"name": NAME, "namespace": self.namespace}
        for _ in range(8):
            world.run()
        assert world.condition("Published")["status"] == "True"
        for key, content in world.store.objects.items():
            if not key.startswith("portfolios/"):
                self.store.write(key, content)
        digests = [policy.digest for policy in world.work.policies]
        for index, digest in enumerate(digests):
            self.store.upload_folder(random_adapter(index), artifacts.model_folder(digest))
        return digests


def prepared(cluster: EmbeddedCluster, namespace: str, seeds: tuple[int, ...] = SEEDS) -> Tenant:
    """A namespace with all that a Portfolio needs, its policies included.

    The S3 server's credentials are in this process's environment already.
    """
    cluster.create_bucket(BUCKET)
    install_crd(cluster)
    run_kubectl(cluster.kubectl, cluster.kubeconfig, "create", "namespace", namespace)
    made = Tenant(cluster, namespace)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "palm-s3",
            "annotations": {
                "serving.kserve.io/s3-endpoint": cluster.s3.endpoint,
                "serving.kserve.io/s3-region": "us-east-1",
            },
        },
        "stringData": {
            "AWS_ACCESS_KEY_ID": cluster.s3.access_key,
            "AWS_SECRET_ACCESS_KEY": cluster.s3.secret_key,
        },
    }
    made.kubectl("apply", "-f", "-", stdin=json.dumps(secret))
    everywhere = StorageLocation(bucket=BUCKET, endpoint=cluster.s3.endpoint)
    S3Store(everywhere).upload_folder(random_model() / "model", "toy/model")
    for seed in seeds:
        made.train(seed)
    return made


@pytest.fixture(scope="module")
def tenant(cluster: EmbeddedCluster, request: pytest.FixtureRequest) -> Iterator[Tenant]:
    """A namespace as a tenant would prepare it: a Secret that Jobs and KServe can use.

    A module that needs another than its neighbours says so as ``NAMESPACE``.
    """
    namespace = getattr(request.module, "NAMESPACE", NAMESPACE)
    keys = {
        "AWS_ACCESS_KEY_ID": cluster.s3.access_key,
        "AWS_SECRET_ACCESS_KEY": cluster.s3.secret_key,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in keys.items():
            patch.setenv(name, value)
        made = prepared(cluster, namespace)
        yield made
        made.kubectl("delete", "pfo", "--all", "--timeout=60s")


@pytest.fixture(scope="module")
def operator(
    cluster: EmbeddedCluster,
    tenant: Tenant,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Operator]:
    """An operator with the chart's rights; what it says is printed where a test fails.

    A module that wants other settings than its neighbours says so as ``OPERATOR_SETTINGS``.
    """
    folder: Path = tmp_path_factory.mktemp("operator")
    environment = operator_environment(
        cluster,
        folder,
        namespace=f"{tenant.namespace}-operator",
        PALM_SERVING_URL=f"{cluster.services_url}/{{namespace}}/{{name}}-predictor",
        **getattr(request.module, "OPERATOR_SETTINGS", {}),
    )
    made = Operator(environment, folder / "operator.log")
    made.start()
    yield made
    made.end()
    print(made.log.read_text())


@pytest.fixture(scope="module")
def served(tenant: Tenant, operator: Operator) -> Tenant:
    """The Portfolio's first revision, published."""
    assert os.environ["AWS_ACCESS_KEY_ID"]
    tenant.apply()
    tenant.published()
    return tenant
