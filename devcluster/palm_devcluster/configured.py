"""Controllers that read a configuration file, as Kueue's and JobSet's: files, objects, process."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from palm_devcluster.controllers import applied, place_certificate, removed
from palm_devcluster.controlplane import Layout
from palm_devcluster.documents import Json, read_documents, webhook_names
from palm_devcluster.paths import ClusterPaths, write_private
from palm_devcluster.probes import http_probe
from palm_devcluster.processes import Daemon
from palm_devcluster.state import LISTENERS


class Manifests(Protocol):
    """What of a controller its own module knows."""

    PREFIX: str
    """Of the names of its objects, as in its own installation."""

    def control_objects(self, documents: Iterable[Json], *, webhooks: str, ca: str) -> list[Json]:
        """Return what must be there before it starts."""

    def configuration(self, *, webhooks: int, health: int, certificates: Path) -> Json:
        """Return its configuration file."""


@dataclass(frozen=True)
class ConfiguredController:
    """A controller of another project, which also answers its webhooks."""

    NAME: str
    """Of the component, the program and the folder; called as in the module of KServe's."""
    manifests: Manifests

    def is_wanted(self, paths: ClusterPaths) -> bool:
        """Whether the last ``up`` was with it."""
        return self._folder(paths).is_dir()

    def daemon(self, layout: Layout) -> Daemon:
        """Return its process."""
        paths = layout.paths
        kubeconfig, configuration = paths.kubeconfig_of(self.NAME), self._configuration(paths)
        argv = (
            layout.program(self.NAME),
            f"--kubeconfig={kubeconfig}",
            f"--config={configuration}",
            "--zap-log-level=2",
        )
        files = (kubeconfig, configuration, layout.pki.certificate(self.NAME))
        _, health = self._ports(layout)
        return Daemon(self.NAME, argv, http_probe(health, "/readyz"), files=files)

    def prepare(self, layout: Layout, documents: Path) -> None:
        """Bring configuration, certificate and objects to where it looks for them."""
        paths, (webhooks, health) = layout.paths, self._ports(layout)
        certificates = self._folder(paths) / "certificates"
        place_certificate(layout.pki, self.NAME, certificates)
        configuration = self.manifests.configuration(
            webhooks=webhooks, health=health, certificates=certificates
        )
        write_private(self._configuration(paths), json.dumps(configuration, indent=2).encode())
        objects = self.manifests.control_objects(
            read_documents(documents),
            webhooks=f"https://127.0.0.1:{webhooks}",
            ca=layout.pki.ca_bundle,
        )
        applied(layout, objects)

    def remove(self, layout: Layout, documents: Path) -> None:
        """Take its webhooks away: without it they would refuse every object that they check."""
        if self.is_wanted(layout.paths):
            removed(layout, webhook_names(read_documents(documents), self.manifests.PREFIX))
            shutil.rmtree(self._folder(layout.paths))

    def _ports(self, layout: Layout) -> tuple[int, int]:
        webhooks, health = (int(getattr(layout.ports, name)) for name in LISTENERS[self.NAME])
        return webhooks, health

    def _folder(self, paths: ClusterPaths) -> Path:
        return paths.root / self.NAME

    def _configuration(self, paths: ClusterPaths) -> Path:
        return self._folder(paths) / "configuration.json"
