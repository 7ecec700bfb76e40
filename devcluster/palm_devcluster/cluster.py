"""The embedded cluster: a real control plane and S3 server as processes of this user."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from palm_devcluster import addons, controlplane, processes
from palm_devcluster.build import Binaries, ensure_binaries, find_binaries, program
from palm_devcluster.controlplane import Layout
from palm_devcluster.golang import Progress
from palm_devcluster.images import load_images, table_path
from palm_devcluster.kubeconfigs import write_kubeconfigs
from palm_devcluster.node.stopping import stop_containers
from palm_devcluster.paths import ClusterPaths
from palm_devcluster.pki import Pki, ensure_pki
from palm_devcluster.processes import ComponentError, Daemon
from palm_devcluster.s3 import S3Access, ensure_access
from palm_devcluster.state import LISTENERS, Ports, choose_ports, load_ports, save_ports

# What calls others is stopped before what it calls; started in the opposite order.
STOP_ORDER = ("node", "kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd", "s3")
_REPAIR_GRACE_S = 5.0
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
    """

    root: Path
    images: Path | None = None

    def up(self, progress: Progress = print) -> None:
        """Start what does not run, repair what is not healthy, leave the rest as it is.

        Raises:
            BuildError: A program could not be built.
            ComponentError: A component did not become healthy.
            AddonError: The CRDs could not be installed.
        """
        binaries = ensure_binaries(progress)
        crds = addons.ensure_crds(progress)
        self._refuse_foreign_folder()
        self._paths.make_folders()
        with self._locked():
            layout = self._layout(binaries)
            started = self._start_in_order(layout, crds, progress)
        what = f"started {', '.join(started)}" if started else "nothing to do"
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
        names = reversed(STOP_ORDER)
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
        ports = load_ports(self._paths.state)
        if ports is None:
            raise ComponentError(f"the cluster in {self.root} has never been up")
        return ensure_access(self._paths, ports.s3)

    def create_bucket(self, name: str) -> None:
        """Create a bucket; one that is there is left as it is."""
        self.s3.create_bucket(name)

    def log_of(self, component: str) -> Path:
        """Return the log file of one component."""
        return self._paths.log_of(component)

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
        return Layout(self._paths, ports, pki, binaries, images, access)

    def _start_in_order(
        self, layout: Layout, crds: tuple[Path, ...], progress: Progress
    ) -> list[str]:
        storage = [controlplane.etcd(layout), controlplane.s3(layout)]
        api = controlplane.apiserver(layout)
        callers = [controlplane.controller_manager(layout), controlplane.scheduler(layout)]
        callers.append(controlplane.node(layout))
        started = [daemon for daemon in storage if self._ensure_started(daemon, progress)]
        self._wait(storage[0], started, progress)
        started += [api] if self._ensure_started(api, progress) else []
        self._wait(api, started, progress)
        started += [daemon for daemon in callers if self._ensure_started(daemon, progress)]
        self._install_crds(layout, crds, progress)
        for daemon in (storage[1], *callers):
            self._wait(daemon, started, progress)
        self._wait_for_node(layout)
        return [daemon.name for daemon in started]

    def _ensure_started(self, daemon: Daemon, progress: Progress) -> bool:
        record = processes.read_record(self._paths, daemon.name)
        if processes.is_alive(record):
            same = record is not None and record.fingerprint == daemon.fingerprint
            if same and _becomes_healthy(daemon, _REPAIR_GRACE_S):
                return False
            why = "is not healthy" if same else "has new settings"
            progress(f"{daemon.name} {why}: restarting it")
            processes.stop(self._paths, daemon.name, daemon.stop_s)
        processes.start(self._paths, daemon)
        return True

    def _wait(self, daemon: Daemon, started: list[Daemon], progress: Progress) -> None:
        began = time.monotonic()
        processes.wait_healthy(self._paths, daemon)
        if daemon in started:
            progress(f"{daemon.name} is healthy ({time.monotonic() - began:.1f} s)")

    def _install_crds(self, layout: Layout, crds: tuple[Path, ...], progress: Progress) -> None:
        kubectl = Path(layout.program("kubectl"))
        if addons.missing_crds(kubectl, self.kubeconfig, crds):
            addons.install_crds(kubectl, self.kubeconfig, crds)
            progress("the CRDs of KServe and Kueue are served")

    def _wait_for_node(self, layout: Layout) -> None:
        kubectl = Path(layout.program("kubectl"))
        daemon = controlplane.node(layout)
        ready = Daemon(
            daemon.name, daemon.argv, lambda: addons.node_trouble(kubectl, self.kubeconfig)
        )
        processes.wait_healthy(self._paths, ready)

    def _component_status(self, layout: Layout, name: str) -> ComponentStatus:
        record = processes.read_record(self._paths, name)
        ports = tuple(int(getattr(layout.ports, port)) for port in LISTENERS[name])
        if record is None:
            return ComponentStatus(name, "stopped", None, ports)
        if not processes.is_alive(record):
            return ComponentStatus(name, "dead", None, ports, f"pid {record.pid} has ended")
        trouble = controlplane.BY_NAME[name](layout).probe()
        if trouble is None and name == "node":
            trouble = addons.node_trouble(Path(layout.program("kubectl")), self.kubeconfig)
        return ComponentStatus(
            name, "running" if trouble is None else "unhealthy", record.pid, ports, trouble or ""
        )


def _becomes_healthy(daemon: Daemon, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while daemon.probe() is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
