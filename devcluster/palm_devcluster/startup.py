"""Starting a cluster's components in order: what is healthy stays, the rest is started anew."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from palm_devcluster import addons, controlplane, processes
from palm_devcluster.controlplane import Layout
from palm_devcluster.golang import Progress
from palm_devcluster.jobset.component import CONTROLLER as JOBSET
from palm_devcluster.kserve import component as kserve
from palm_devcluster.kueue.component import CONTROLLER as KUEUE
from palm_devcluster.processes import Daemon

_REPAIR_GRACE_S = 5.0

Optional = Literal["kueue", "jobset"]


@dataclass
class Startup:
    """One ``up``: what it starts, and what it says."""

    layout: Layout
    progress: Progress
    started: list[str] = field(default_factory=list)

    def control_plane(self, crds: tuple[Path, ...]) -> None:
        """Start storage, API server, controllers and the node, and install the CRDs.

        Raises:
            ComponentError: A component did not become healthy.
            AddonError: The CRDs could not be installed.
        """
        layout = self.layout
        etcd, s3 = controlplane.etcd(layout), controlplane.s3(layout)
        api = controlplane.apiserver(layout)
        callers = [controlplane.controller_manager(layout), controlplane.scheduler(layout)]
        callers += [controlplane.node(layout), controlplane.service_proxy(layout)]
        self._start(etcd)
        self._start(s3)
        self._wait(etcd)
        self._run(api)
        for daemon in callers:
            self._start(daemon)
        self._install_crds(crds)
        for daemon in (s3, *callers):
            self._wait(daemon)
        self._wait_for_node()

    def kserve(self, manifests: Path) -> None:
        """Start KServe's controller, its objects before and after it.

        Raises:
            ComponentError: It did not become healthy.
            AddonError: Its objects could not be installed.
        """
        kserve.prepare(self.layout, manifests)
        self._run(kserve.daemon(self.layout))
        kserve.finish(self.layout)

    def no_kserve(self, manifests: Path) -> None:
        """Stop KServe's controller where it runs, and take its webhooks away."""
        self._stop(kserve.NAME)
        kserve.remove(self.layout, manifests)

    def optional(self, controller: Optional, manifests: Path, *, wanted: bool) -> None:
        """Start a controller, its objects before it; or stop it and take its webhooks away.

        Raises:
            ComponentError: It did not become healthy.
            AddonError: Its objects could not be installed.
        """
        part = {"kueue": KUEUE, "jobset": JOBSET}[controller]
        if not wanted:
            self._stop(part.NAME)
            part.remove(self.layout, manifests)
            return
        part.prepare(self.layout, manifests)
        self._run(part.daemon(self.layout))

    def _stop(self, name: str) -> None:
        if processes.stop(self.layout.paths, name, 10.0):
            self.progress(f"stopped {name}")

    def _run(self, daemon: Daemon) -> None:
        self._start(daemon)
        self._wait(daemon)

    def _start(self, daemon: Daemon) -> None:
        paths = self.layout.paths
        record = processes.read_record(paths, daemon.name)
        if processes.is_alive(record):
            same = record is not None and record.fingerprint == daemon.fingerprint
            if same and _becomes_healthy(daemon, _REPAIR_GRACE_S):
                return
            why = "is not healthy" if same else "has new settings"
            self.progress(f"{daemon.name} {why}: restarting it")
            processes.stop(paths, daemon.name, daemon.stop_s)
        processes.start(paths, daemon)
        self.started.append(daemon.name)

    def _wait(self, daemon: Daemon) -> None:
        began = time.monotonic()
        processes.wait_healthy(self.layout.paths, daemon)
        if daemon.name in self.started:
            self.progress(f"{daemon.name} is healthy ({time.monotonic() - began:.1f} s)")

    def _install_crds(self, crds: tuple[Path, ...]) -> None:
        kubectl, kubeconfig = Path(self.layout.program("kubectl")), self.layout.paths.kubeconfig
        if addons.missing_crds(kubectl, kubeconfig, crds):
            addons.install_crds(kubectl, kubeconfig, crds)
            self.progress("the CRDs of KServe, Kueue and JobSet are served")

    def _wait_for_node(self) -> None:
        kubectl, kubeconfig = Path(self.layout.program("kubectl")), self.layout.paths.kubeconfig
        daemon = controlplane.node(self.layout)
        ready = Daemon(daemon.name, daemon.argv, lambda: addons.node_trouble(kubectl, kubeconfig))
        processes.wait_healthy(self.layout.paths, ready)


def _becomes_healthy(daemon: Daemon, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while daemon.probe() is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
