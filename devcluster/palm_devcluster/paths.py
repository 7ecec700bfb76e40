"""Where an embedded cluster and the cache of its binaries keep their files."""

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

HOME_ENV = "PALM_DEVCLUSTER_HOME"
CACHE_ENV = "PALM_CACHE"


@dataclass(frozen=True)
class ClusterPaths:
    """The folders and files of one cluster, all below ``root``."""

    root: Path

    @property
    def state(self) -> Path:
        """Ports, as chosen at the first ``up``."""
        return self.root / "state.json"

    @property
    def lock(self) -> Path:
        """Held by whoever changes the cluster."""
        return self.root / "lock"

    @property
    def pki(self) -> Path:
        """Certificates, keys and kubeconfigs."""
        return self.root / "pki"

    @property
    def logs(self) -> Path:
        """One log file per component."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """One record per process that was started."""
        return self.root / "run"

    @property
    def etcd(self) -> Path:
        """What etcd keeps."""
        return self.root / "etcd"

    @property
    def s3(self) -> Path:
        """What the S3 server keeps."""
        return self.root / "s3"

    @property
    def node(self) -> Path:
        """What the process node keeps: Pods, volumes, container logs."""
        return self.root / "node"

    @property
    def kserve(self) -> Path:
        """KServe's temporary folder; there while the cluster has KServe."""
        return self.root / "kserve"

    @property
    def kueue(self) -> Path:
        """Kueue's configuration and certificate; there while the cluster has Kueue."""
        return self.root / "kueue"

    @property
    def jobset(self) -> Path:
        """JobSet's configuration and certificate; there while the cluster has its controller."""
        return self.root / "jobset"

    @property
    def audit(self) -> Path:
        """What an audited cluster writes down: changes of the API server, requests to S3."""
        return self.root / "audit"

    @property
    def changes(self) -> Path:
        """Every request that changes something: a JSON line each (audit.k8s.io/v1 Event)."""
        return self.audit / "changes.jsonl"

    @property
    def s3_requests(self) -> Path:
        """Every request to the S3 server: a line each, in the format of S3's access logs."""
        return self.audit / "s3.log"

    @property
    def s3_credentials(self) -> Path:
        """The S3 server's generated root credentials."""
        return self.root / "s3-credentials.json"

    @property
    def kubectl_cache(self) -> Path:
        """Where kubectl remembers what the API server serves."""
        return self.root / "kubectl-cache"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.root / "kubeconfig"

    def kubeconfig_of(self, component: str) -> Path:
        """Return the kubeconfig of one component."""
        return self.pki / f"{component}.kubeconfig"

    def log_of(self, component: str) -> Path:
        """Return the log file of one component."""
        return self.logs / f"{component}.log"

    def make_folders(self) -> None:
        """Create the folders, readable by their owner only."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.lock.touch(mode=0o600)  # first: it tells the cluster's own folder from any other
        for folder in self._folders:
            folder.mkdir(mode=0o700, exist_ok=True)

    def remove(self) -> None:
        """Remove the cluster's own files, and ``root`` where nothing else lies in it."""
        for folder in (*self._folders, self.kserve, self.kueue, self.jobset, self.kubectl_cache):
            if folder.is_dir():
                _remove_tree(folder)
        for file in (self.state, self.s3_credentials, self.kubeconfig, self.lock):
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.root.rmdir()

    @property
    def _folders(self) -> tuple[Path, ...]:
        return (self.pki, self.logs, self.run, self.etcd, self.s3, self.node, self.audit)


def default_root() -> Path:
    """Return ``$PALM_DEVCLUSTER_HOME``, or ``build/devcluster`` below the current folder."""
    return Path(os.environ.get(HOME_ENV) or "build/devcluster").resolve()


def cache_folder() -> Path:
    """Return the cache outside the tree: ``$PALM_CACHE`` or the user's cache folder."""
    named = os.environ.get(CACHE_ENV)
    if named:
        return Path(named).resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palm-operator"


def _remove_tree(folder: Path) -> None:
    # Pods may leave folders that not even their owner may write to.
    for path, _, _ in os.walk(folder):
        if not os.access(path, os.W_OK | os.X_OK):
            Path(path).chmod(0o700)
    shutil.rmtree(folder)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read, and that is either old or complete."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    os.replace(draft, path)
