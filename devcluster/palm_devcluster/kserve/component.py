"""KServe as a component of the cluster: files, certificate, objects, process."""

import shutil
from pathlib import Path

from palm_devcluster.controllers import applied, place_certificate, removed
from palm_devcluster.controlplane import Layout
from palm_devcluster.documents import read_documents, webhook_names
from palm_devcluster.kserve import manifests
from palm_devcluster.paths import ClusterPaths
from palm_devcluster.probes import http_probe
from palm_devcluster.processes import Daemon

NAME = "kserve"


def is_wanted(paths: ClusterPaths) -> bool:
    """Whether the last ``up`` was with KServe."""
    return paths.kserve.is_dir()


def daemon(layout: Layout) -> Daemon:
    """Return the controller, which also answers its webhooks."""
    paths, pki, ports = layout.paths, layout.pki, layout.ports
    kubeconfig = paths.kubeconfig_of(NAME)
    argv = (
        layout.program("kserve-manager"),
        f"--kubeconfig={kubeconfig}",
        f"--webhook-port={ports.kserve_webhooks}",
        f"--health-probe-addr=127.0.0.1:{ports.kserve_health}",
        "--metrics-addr=0",
    )
    environment = (("POD_NAMESPACE", manifests.NAMESPACE), ("TMPDIR", str(paths.kserve)))
    files = (kubeconfig, pki.certificate(NAME))
    probe = http_probe(ports.kserve_health, "/readyz")
    return Daemon(NAME, argv, probe, files=files, environment=environment)


def prepare(layout: Layout, documents: Path) -> None:
    """Bring certificate and objects to where the controller looks for them as it starts."""
    # Where controller-runtime looks for it, below the temporary folder.
    folder = layout.paths.kserve / "k8s-webhook-server" / "serving-certs"
    place_certificate(layout.pki, NAME, folder)
    objects = manifests.control_objects(
        read_documents(documents),
        webhooks=f"https://127.0.0.1:{layout.ports.kserve_webhooks}",
        ca=layout.pki.ca_bundle,
    )
    applied(layout, objects)


def finish(layout: Layout) -> None:
    """Apply what the running controller's webhooks check."""
    applied(layout, manifests.serving_runtimes())


def remove(layout: Layout, documents: Path) -> None:
    """Take the webhooks away: without the controller they would refuse every InferenceService."""
    if is_wanted(layout.paths):
        removed(layout, webhook_names(read_documents(documents)))
        shutil.rmtree(layout.paths.kserve)
