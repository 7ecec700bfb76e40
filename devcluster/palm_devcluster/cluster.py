"""The embedded cluster: a real control plane and S3 server as processes of this user."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from palm_devcluster import addons, controlplane, processes
from palm_devcluster.build import Binaries, ensure_binaries, find_binaries, program
from palm_devcluster.components import (
    COMPONENTS,
    CRD_MODULES,
    JOBSET,
    JOBSET_MANIFESTS,
    KSERVE,
    KSERVE_MANIFESTS,
    KUEUE,
    KUEUE_MANIFESTS,
)
from palm_devcluster.controlplane import Layout
from palm_devcluster.golang import Progress
from palm_devcluster.images import load_images, table_path
from palm_devcluster.jobset.component import CONTROLLER as JOBSET_CONTROLLER
from palm_devcluster.kserve import component as kserve_component
from palm_devcluster.kubeconfigs import write_kubeconfigs
from palm_devcluster.kueue.component import CONTROLLER as KUEUE_CONTROLLER
from palm_devcluster.node.stopping import stop_containers
from palm_devcluster.paths import ClusterPaths
from palm_devcluster.pki import Pki, ensure_pki
from palm_devcluster.processes import ComponentError
from palm_devcluster.s3 import S3Access, ensure_access
from palm_devcluster.startup import Startup
from palm_devcluster.state import LISTENERS, Ports, choose_ports, load_ports, save_ports

# What calls others is stopped before what it calls; started in the opposite order.
STOP_ORDER = (
    kserve_component.NAME,
    KUEUE_CONTROLLER.NAME,
    JOBSET_CONTROLLER.NAME,
    "service-proxy",
    "node",
    "kube-scheduler",
    "kube-controller-manager",
    "kube-apiserver",
    "etcd",
    "s3",
)
_CONTROLLERS = {part.NAME: part for part in (kserve_component, KUEUE_CONTROLLER, JOBSET_CONTROLLER)}
_CONTAINER_GRACE_S = 10.0


@dataclass(frozen=True)
class ComponentStatus:
    """One component as it is now."""

    name: str
    state: str  # running | unhealthy | stopped | dead
    pid: int | None
    ports: tuple[int, ...]
    detail: str = ""


@dataclass(frozen=True)
class EmbeddedCluster:
    """A cluster in a folder; nothing of it lies elsewhere, except the cache of its programs.

    Attributes:
        root: The folder.
        images: Another table of image names; None takes the environment's or the built-in one.
        kserve: Whether ``up`` starts KServe's controller, or stops it where it runs.
        kueue: The same of Kueue's; it is built only then.
        jobset: The same of JobSet's.
        audited: Whether every change of an object and every S3 request is written down.
    """

    root: Path
    images: Path | None = None
    kserve: bool = True
    audited: bool = False
    kueue: bool = False
    jobset: bool = False

    def up(self, progress: Progress = print) -> None:
        """Start what does not run, repair what is not healthy, leave the rest as it is.

        Raises:
            BuildError: A program could not be built.
            ComponentError: A component did not become healthy.
            AddonError: The CRDs, or a controller's objects, could not be installed.
        """
        self._refuse_foreign_folder()
        wanted = [part for part in COMPONENTS if self.kserve or part is not KSERVE]
        wanted += [KUEUE] if self.kueue else []
        wanted += [JOBSET] if self.jobset else []
        binaries = ensure_binaries(progress, wanted)
        crds = addons.ensure_files(CRD_MODULES, progress)
        files = [KSERVE_MANIFESTS, KUEUE_MANIFESTS, JOBSET_MANIFESTS]
        kserve, kueue, jobset = addons.ensure_files(files, progress)
        self._paths.make_folders()
        with self._locked():
            startup = Startup(self._layout(binaries), progress)
            startup.control_plane(crds)
            if self.kserve:
                startup.kserve(kserve)
            else:
                startup.no_kserve(kserve)
            startup.optional("kueue", kueue, wanted=self.kueue)
            startup.optional("jobset", jobset, wanted=self.jobset)
        names = ", ".join(startup.started)
        what = f"started {names}" if names else "nothing to do"
        progress(f"the cluster is healthy ({what}); kubeconfig: {self.kubeconfig}")

    def down(self, purge: bool = False, progress: Progress = print) -> None:
        """Stop every process of the cluster, those of Pods included.

        Args:
            purge: Remove the folder too; otherwise ``up`` continues with the same data.
            progress: Is told what was stopped.
        """
        if not self._paths.lock.is_file():
            return
        with self._locked():
            for name in STOP_ORDER:
                if processes.stop(self._paths, name, 60.0 if name == "node" else 10.0):
                    progress(f"stopped {name}")
                if name == "node":
                    stop_containers(self._paths.node, _CONTAINER_GRACE_S)
            if purge:
                self._paths.remove()
                progress(f"removed the cluster's data in {self.root}")

    def status(self) -> tuple[ComponentStatus, ...]:
        """Say of every component whether it runs and is healthy."""
        ports, binaries = load_ports(self._paths.state), find_binaries()
        names = [name for name in reversed(STOP_ORDER) if self._has(name)]
        if ports is None or not self._paths.kubeconfig.is_file():
            return tuple(ComponentStatus(name, "stopped", None, ()) for name in names)
        layout = self._layout_of(ports, Pki(self._paths.pki), binaries)
        return tuple(self._component_status(layout, name) for name in names)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self._paths.kubeconfig

    @property
    def kubectl(self) -> Path:
        """The kubectl of the cluster's version."""
        return program(find_binaries(), "kubectl")

    @property
    def helm(self) -> Path:
        """Helm."""
        return program(find_binaries(), "helm")

    @property
    def s3(self) -> S3Access:
        """Where the S3 server is and its credentials.

        Raises:
            ComponentError: The cluster has never been up.
        """
        return ensure_access(self._paths, self._ports.s3)

    @property
    def services_url(self) -> str:
        """Where the cluster's Services are: below it, ``/NAMESPACE/SERVICE/…``.

        Raises:
            ComponentError: The cluster has never been up.
        """
        return f"http://127.0.0.1:{self._ports.proxy}"

    def create_bucket(self, name: str) -> None:
        """Create a bucket; one that is there is left as it is."""
        self.s3.create_bucket(name)

    def log_of(self, component: str) -> Path:
        """Return the log file of one component."""
        return self._paths.log_of(component)

    @property
    def changes(self) -> Path:
        """The audited changes of objects: a JSON line each (audit.k8s.io/v1 Event)."""
        return self._paths.changes

    @property
    def s3_requests(self) -> Path:
        """The audited S3 requests: a line each."""
        return self._paths.s3_requests

    @property
    def _ports(self) -> Ports:
        ports = load_ports(self._paths.state)
        if ports is None:
            raise ComponentError(f"the cluster in {self.root} has never been up")
        return ports

    @property
    def _paths(self) -> ClusterPaths:
        return ClusterPaths(self.root)

    def _refuse_foreign_folder(self) -> None:
        if self.root.is_dir() and any(self.root.iterdir()) and not self._paths.lock.is_file():
            raise ComponentError(
                f"{self.root} holds other files; a cluster needs an empty folder, or its own"
            )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._paths.lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _layout(self, binaries: Binaries) -> Layout:
        paths = self._paths
        running = frozenset(
            name for name in LISTENERS if processes.is_alive(processes.read_record(paths, name))
        )
        pki, remembered = ensure_pki(paths.pki), load_ports(paths.state)
        ports = choose_ports(remembered, running)
        if ports != remembered:
            save_ports(paths.state, ports)
        layout = self._layout_of(ports, pki, binaries)
        load_images(layout.images)  # a table that cannot be read is named before anything starts
        write_kubeconfigs(paths, pki, layout.server)
        return layout

    def _layout_of(self, ports: Ports, pki: Pki, binaries: Binaries) -> Layout:
        access = ensure_access(self._paths, ports.s3)
        images = table_path(self.images).resolve()
        return Layout(self._paths, ports, pki, binaries, images, access, self.audited)

    def _has(self, name: str) -> bool:
        return name not in _CONTROLLERS or _CONTROLLERS[name].is_wanted(self._paths)

    def _component_status(self, layout: Layout, name: str) -> ComponentStatus:
        record = processes.read_record(self._paths, name)
        ports = tuple(int(getattr(layout.ports, port)) for port in LISTENERS[name])
        if record is None:
            return ComponentStatus(name, "stopped", None, ports)
        if not processes.is_alive(record):
            return ComponentStatus(name, "dead", None, ports, f"pid {record.pid} has ended")
        is_controller = name in _CONTROLLERS
        made = _CONTROLLERS[name].daemon if is_controller else controlplane.BY_NAME[name]
        trouble = made(layout).probe()
        if trouble is None and name == "node":
            trouble = addons.node_trouble(Path(layout.program("kubectl")), self.kubeconfig)
        return ComponentStatus(
            name, "running" if trouble is None else "unhealthy", record.pid, ports, trouble or ""
        )
