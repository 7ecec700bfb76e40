"""Where operators are tormented: an embedded cluster of quick fakes, and many namespaces in it."""

import base64
import json
import os
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import yaml

from builders import portfolio_body
from faults.api import PORTFOLIOS, Api, Object
from faults.image import ImageServer
from faults.operator_process import WatchedOperator, forking
from faults.standin import KServeStandIn
from operators import install_crd, operator_environment
from palm.contract import StorageLocation
from palm_devcluster.cluster import EmbeddedCluster
from palm_store import S3Store

BUCKET = "faults"
SYSTEM = "palm-system"
NAME = "assistant"
ACCOUNT = f"{SYSTEM}-palm-operator"
USER = f"system:serviceaccount:{SYSTEM}:{ACCOUNT}"
WEIGHTS = [["1", "0"], ["0.5", "0.5"], ["0", "1"]]
_RANGE = {"min": "0", "max": "9"}
REWARDS = [
    {"name": "steps", "verifiable": {"type": "ArithmeticSteps"}, "range": _RANGE},
    {"name": "brevity", "verifiable": {"type": "BrevityIfCorrect"}, "range": _RANGE},
]
STOPPING = threading.Event()
"""Set where the program is to end: whatever waits gives up."""
_POD = {"requests": {"cpu": "10m", "memory": "16Mi"}}


@dataclass
class Lab:
    """A cluster without KServe, its stand-in, and operators with the chart's rights."""

    cluster: EmbeddedCluster
    api: Api
    image: ImageServer
    environment: dict[str, str]
    folder: Path
    context: ForkServerContext = field(default_factory=forking)

    def operator(
        self, namespace: str, *, recorded: bool = False, **settings: str
    ) -> WatchedOperator:
        """Return an operator of one namespace, not started yet."""
        record = self.folder / f"{namespace}.calls" if recorded else None
        return WatchedOperator(
            self.context,
            {**self.environment, "PALM_WATCH_NAMESPACES": namespace, **settings},
            self.folder / f"{namespace}.log",
            record=record,
            namespace=namespace,
        )

    def record_of(self, namespace: str) -> Path:
        return self.folder / f"{namespace}.calls"

    def log_of(self, namespace: str) -> Path:
        return self.folder / f"{namespace}.log"

    def tenant(self, namespace: str) -> "Tenant":
        """Make a namespace, able to run Jobs."""
        self.api.create(
            "/api/v1/namespaces",
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        )
        keys = {
            "AWS_ACCESS_KEY_ID": self.cluster.s3.access_key,
            "AWS_SECRET_ACCESS_KEY": self.cluster.s3.secret_key,
        }
        data = {k: base64.b64encode(v.encode()).decode() for k, v in keys.items()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "palm-s3"}}
        self.api.create(f"/api/v1/namespaces/{namespace}/secrets", {**secret, "data": data})
        return Tenant(self, namespace)

    def changes(self, namespace: str | None = None) -> Iterator[Object]:
        """Yield what operators changed, as the API server wrote it down."""
        wanted = f'"namespace":"{namespace}"' if namespace else USER
        with self.cluster.changes.open() as lines:
            for line in lines:
                if wanted in line and USER in line and line.endswith("\n"):
                    change: Object = json.loads(line)
                    if change["user"]["username"] == USER:
                        yield change


@dataclass(frozen=True)
class Tenant:
    """A namespace with one Portfolio in it."""

    lab: Lab
    namespace: str
    name: str = NAME

    @property
    def location(self) -> StorageLocation:
        endpoint = self.lab.cluster.s3.endpoint
        return StorageLocation(bucket=BUCKET, prefix=self.namespace, endpoint=endpoint)

    @property
    def path(self) -> str:
        return f"{PORTFOLIOS.format(self.namespace)}/{self.name}"

    @property
    def portfolio(self) -> Object:
        """The Portfolio; empty once it is gone."""
        return self.lab.api.get(self.path)

    def objects(self, kind: str) -> list[Object]:
        """Return the namespace's jobs, inferenceservices, configmaps or pods."""
        groups = {"jobs": "apis/batch/v1", "inferenceservices": "apis/serving.kserve.io/v1beta1"}
        group = groups.get(kind, "api/v1")
        return self.lab.api.items(f"/{group}/namespaces/{self.namespace}/{kind}")

    def apply(self, *, training_seconds: float = 0, **spec: Any) -> None:
        """Apply a Portfolio of three weight vectors, whose Jobs take no time but what is said."""
        body = portfolio_body(
            **{"rewards": REWARDS, "grid": {}, "serving": {"retireAfter": "1s"}, **spec}
        )
        body["metadata"] = {"name": self.name}
        if not (spec.get("grid") or {}):
            body["spec"]["grid"] = {"strategy": "Explicit", "weights": WEIGHTS}
        env = [{"name": "FAKE_SECONDS", "value": str(training_seconds)}]
        body["spec"]["training"].setdefault("template", {"resources": _POD, "env": env})
        body["spec"].setdefault("evaluation", {}).setdefault("template", {"resources": _POD})
        body["spec"]["storage"]["s3"] |= {
            "bucket": BUCKET,
            "prefix": self.namespace,
            "endpoint": self.lab.cluster.s3.endpoint,
            "credentialsSecret": {"name": "palm-s3"},
        }
        self.lab.api.patch(self.path, body, how="apply")

    def delete(self) -> None:
        self.lab.api.delete(self.path)

    def condition(self, kind: str) -> Object:
        conditions = self.portfolio.get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == kind), {})

    def jobs_created(self) -> Counter[str]:
        """Return how often the operator created each Job, as the API server wrote it down."""
        return Counter(
            change["objectRef"].get("name", "")
            for change in self.lab.changes(self.namespace)
            if change["verb"] == "create"
            and change["objectRef"]["resource"] == "jobs"
            and change["responseStatus"]["code"] == 201
        )

    def stored(self) -> dict[str, bytes]:
        """Return every object of S3 below the Portfolio's prefix."""
        store = S3Store(self.location)
        return {key: store.read(key, max_bytes=10**8) or b"" for key in store.list("")}

    def is_settled(self) -> bool:
        """Say whether what the spec asks for is served, and nothing else is any more."""
        body = self.portfolio
        status = body.get("status") or {}
        said = {c["type"]: c["status"] for c in status.get("conditions") or []}
        policies = (status.get("portfolio") or {}).get("policies") or []
        return bool(
            policies
            and status.get("observedGeneration") == body["metadata"]["generation"]
            and said.get("Ready") == "True"
            and said.get("Progressing") == "False"
            and "pending" not in status
            and len(self.objects("inferenceservices")) == len(policies)
            and all(r.get("retired") for r in (status.get("revisions") or [])[:-1])
        )


def end_tidily() -> None:
    """Let SIGTERM end the program as Ctrl-C does: its cluster goes with it, threads first."""

    def end(number: int, frame: Any) -> None:
        STOPPING.set()
        signal.default_int_handler(number, frame)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


@contextmanager
def lab(folder: Path | None = None) -> Iterator[Lab]:
    """A lab with everything in it, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="palm-faults-") as made:
        where = folder or Path(made)
        image = ImageServer()
        table = where / "images.yaml"
        table.write_text(yaml.safe_dump({"images": {"fake-image": image.command}}))
        cluster = EmbeddedCluster(where / "cluster", images=table, kserve=False, audited=True)
        try:
            cluster.up()
            cluster.create_bucket(BUCKET)
            install_crd(cluster)
            os.environ["AWS_ACCESS_KEY_ID"] = cluster.s3.access_key
            os.environ["AWS_SECRET_ACCESS_KEY"] = cluster.s3.secret_key
            environment = operator_environment(
                cluster,
                where,
                namespace=SYSTEM,
                PALM_TRAINER_IMAGE="fake-image",
                PALM_EVALUATOR_IMAGE="fake-image",
                PALM_SERVING_URL=image.serving_url,
            )
            api = Api(cluster.kubeconfig)
            _allow_leases(api)
            standin = KServeStandIn(api)
            try:
                yield Lab(cluster, api, image, environment, where)
            finally:
                standin.close()
        finally:
            cluster.down(purge=True)
            image.close()


def _allow_leases(api: Api) -> None:
    """Let operators lead in namespaces of the tests; the chart allows one Lease, in its own."""
    rights = "/apis/rbac.authorization.k8s.io/v1"
    name = {"metadata": {"name": "tests-leases"}}
    leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    rule = {**leases, "verbs": ["get", "create", "update"]}
    api.create(f"{rights}/clusterroles", {**name, "rules": [rule]})
    group = "rbac.authorization.k8s.io"
    role = {"apiGroup": group, "kind": "ClusterRole", "name": "tests-leases"}
    account = {"kind": "ServiceAccount", "namespace": SYSTEM, "name": ACCOUNT}
    api.create(f"{rights}/clusterrolebindings", {**name, "roleRef": role, "subjects": [account]})
