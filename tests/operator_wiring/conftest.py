"""A cluster whose trainer and evaluator are quick fakes, and operators with the chart's rights."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders import World, portfolio_body
from clusters import kubectl_of
from operators import Operator, install_crd, operator_environment
from palm.contract import StorageLocation
from palm_devcluster.addons import run_kubectl
from palm_devcluster.cluster import EmbeddedCluster
from palm_store import S3Store

ROOT = Path(__file__).parents[2]
FAKE_IMAGE = Path(__file__).with_name("fake_image.py")
BUCKET = "wiring"
_ENDS = ("Complete", "Failed")


@contextmanager
def quick_cluster(
    folder: Path,
    *,
    kueue: bool = False,
    jobset: bool = False,
    images: dict[str, list[str]] | None = None,
) -> Iterator[EmbeddedCluster]:
    """A cluster whose image table has an image that trains nothing."""
    # The image table is no search path, and PYTHONPATH does not reach Pods.
    start = f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); import runpy; " + (
        f"runpy.run_path({str(FAKE_IMAGE)!r}, run_name='__main__')"
    )
    table = folder / "images.yaml"
    commands = {"fake-image": ["{bin}/python", "-c", start], **(images or {})}
    table.write_text(yaml.safe_dump({"images": commands}))
    made = EmbeddedCluster(
        folder / "cluster", images=table, kserve=False, kueue=kueue, jobset=jobset
    )
    try:
        made.up()
        made.create_bucket(BUCKET)
        install_crd(made)
        yield made
    finally:
        made.down(purge=True)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCluster]:
    """A cluster of its own for all of this folder."""
    with quick_cluster(tmp_path_factory.mktemp("wiring")) as made:
        yield made


@pytest.fixture(scope="session")
def kubectl(cluster: EmbeddedCluster) -> Callable[..., str]:
    """As in the other tests, but against this folder's cluster."""
    return kubectl_of(cluster)


@pytest.fixture(scope="session")
def environment(
    cluster: EmbeddedCluster, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The environment of an operator that has the chart's rights and no others."""
    return operator_environment(
        cluster,
        tmp_path_factory.mktemp("operator"),
        namespace="palm-system",
        protect=True,
        PALM_TRAINER_IMAGE="fake-image",
        PALM_EVALUATOR_IMAGE="fake-image",
        PALM_RESYNC_SECONDS="2",
    )


@pytest.fixture
def operator(environment: dict[str, str], tmp_path: Path) -> Iterator[Operator]:
    made = Operator(environment, tmp_path / "operator.log")
    made.start()
    yield made
    made.end()
    print(made.log.read_text())


class Tenant:
    """A namespace with one Portfolio in it, and what a person can see there."""

    def __init__(self, cluster: EmbeddedCluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace
        self.location = StorageLocation(
            bucket=BUCKET, prefix=namespace, endpoint=cluster.s3.endpoint
        )

    @property
    def store(self) -> S3Store:
        return S3Store(self.location)

    def seed(self, **spec: Any) -> None:
        """Put into S3 what the Jobs of a Portfolio would: it needs none then."""
        world = World(body=portfolio_body(**spec))
        world.run()
        for key, content in world.store.objects.items():
            if not key.startswith("portfolios/"):
                self.store.write(key, content)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return run_kubectl(
            self.cluster.kubectl,
            self.cluster.kubeconfig,
            "-n",
            self.namespace,
            *arguments,
            stdin=stdin,
        )

    def objects(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "-o", "json"))["items"]
        return found

    @property
    def portfolio(self) -> dict[str, Any]:
        """The Portfolio; empty once it is gone."""
        text = self.kubectl("get", "pfo", "assistant", "--ignore-not-found", "-o", "json")
        found: dict[str, Any] = json.loads(text or "{}")
        return found

    def condition(self, kind: str) -> dict[str, Any]:
        conditions = self.portfolio.get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == kind), {})

    def body(
        self, *, seconds: float = 0, failures: str = "", code: int = 42, **spec: Any
    ) -> dict[str, Any]:
        """Return a Portfolio whose Jobs run on the process node."""
        body = portfolio_body(**spec)
        body["metadata"] = {"name": "assistant", "namespace": self.namespace}
        template = {
            "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
            "env": [
                {"name": "FAKE_SECONDS", "value": str(seconds)},
                {"name": "FAKE_FAILURES", "value": failures},
                {"name": "FAKE_CODE", "value": str(code)},
            ],
        }
        body["spec"]["training"].setdefault("template", template)
        body["spec"].setdefault("evaluation", {}).setdefault("template", template)
        body["spec"]["storage"]["s3"] |= {
            "bucket": BUCKET,
            "prefix": self.namespace,
            "endpoint": self.cluster.s3.endpoint,
            "credentialsSecret": {"name": "palm-s3"},
        }
        return body

    def apply(self, **given: Any) -> None:
        """Apply what ``body`` makes."""
        self.kubectl("apply", "-f", "-", stdin=json.dumps(self.body(**given)))

    def unfinished(self) -> dict[str, dict[str, Any]]:
        """Every Job that has not ended, by name."""
        return {
            job["metadata"]["name"]: job
            for job in self.objects("jobs")
            if not [c for c in job["status"].get("conditions", []) if c["type"] in _ENDS]
        }

    def running(self) -> list[dict[str, Any]]:
        """The Pods that run."""
        return [p for p in self.objects("pods") if p["status"].get("phase") == "Running"]

    def suspend(self, value: bool) -> None:
        patch = json.dumps({"spec": {"suspend": value}})
        self.kubectl("patch", "pfo", "assistant", "--type=merge", "-p", patch)

    def eventually(
        self, holds: Callable[[], Any], *, seconds: float = 300, through_stalls: bool = False
    ) -> Any:
        """Wait until something holds; what it was.

        Args:
            holds: Asked again and again.
            seconds: How long at most.
            through_stalls: Whether to wait on although a person would have to mend something.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            # Asked first: it may be what is waited for.
            stalled = not through_stalls and self.condition("Stalled")
            if found := holds():
                return found
            if stalled:
                break
            time.sleep(0.5)
        status = json.dumps(self.portfolio.get("status"), indent=1)
        logs = self.kubectl("logs", "-l", "app.kubernetes.io/managed-by=palm-operator")
        raise AssertionError(f"not within {seconds} s; the status is {status}\nlogs: {logs}")


def s3_keys(cluster: EmbeddedCluster) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": cluster.s3.access_key,
        "AWS_SECRET_ACCESS_KEY": cluster.s3.secret_key,
    }


@pytest.fixture
def tenant(cluster: EmbeddedCluster, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Tenant:
    for name, value in s3_keys(cluster).items():
        monkeypatch.setenv(name, value)
    return furnished(cluster, namespace)


def furnished(cluster: EmbeddedCluster, namespace: str) -> Tenant:
    """A namespace with the Secret that Jobs need."""
    made, keys = Tenant(cluster, namespace), s3_keys(cluster)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "palm-s3"},
        "data": {k: base64.b64encode(v.encode()).decode() for k, v in keys.items()},
    }
    made.kubectl("apply", "-f", "-", stdin=json.dumps(secret))
    return made
