"""JobSet as a component of the cluster: files, certificate, objects, process."""

import json
import shutil
from pathlib import Path

from palm_devcluster.controllers import applied, place_certificate, removed
from palm_devcluster.controlplane import Layout
from palm_devcluster.documents import read_documents, webhook_names
from palm_devcluster.jobset import manifests
from palm_devcluster.paths import ClusterPaths, write_private
from palm_devcluster.probes import http_probe
from palm_devcluster.processes import Daemon

NAME = "jobset"


def is_wanted(paths: ClusterPaths) -> bool:
    """Whether the last ``up`` was with JobSet."""
    return paths.jobset.is_dir()


def daemon(layout: Layout) -> Daemon:
    """Return the controller, which also answers its webhooks."""
    paths, pki = layout.paths, layout.pki
    kubeconfig, configuration = paths.kubeconfig_of(NAME), _configuration(paths)
    argv = (
        layout.program("jobset"),
        f"--kubeconfig={kubeconfig}",
        f"--config={configuration}",
        "--zap-log-level=2",
    )
    files = (kubeconfig, configuration, pki.certificate(NAME))
    probe = http_probe(layout.ports.jobset_health, "/readyz")
    return Daemon(NAME, argv, probe, files=files)


def prepare(layout: Layout, documents: Path) -> None:
    """Bring configuration, certificate and objects to where the controller looks for them."""
    paths, ports = layout.paths, layout.ports
    certificates = paths.jobset / "certificates"
    place_certificate(layout.pki, NAME, certificates)
    text = json.dumps(
        manifests.configuration(
            webhooks=ports.jobset_webhooks, health=ports.jobset_health, certificates=certificates
        ),
        indent=2,
    )
    write_private(_configuration(paths), text.encode())
    objects = manifests.control_objects(
        read_documents(documents),
        webhooks=f"https://127.0.0.1:{ports.jobset_webhooks}",
        ca=layout.pki.ca_bundle,
    )
    applied(layout, objects)


def remove(layout: Layout, documents: Path) -> None:
    """Take the webhooks away: without the controller they would refuse every JobSet."""
    if is_wanted(layout.paths):
        removed(layout, webhook_names(read_documents(documents), manifests.PREFIX))
        shutil.rmtree(layout.paths.jobset)


def _configuration(paths: ClusterPaths) -> Path:
    return paths.jobset / "configuration.json"
