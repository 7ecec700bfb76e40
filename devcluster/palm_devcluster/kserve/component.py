"""KServe as a component of the cluster: files, certificate, objects, process."""

import base64
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from palm_devcluster.addons import run_kubectl
from palm_devcluster.controlplane import Layout
from palm_devcluster.kserve import manifests
from palm_devcluster.paths import ClusterPaths, write_private
from palm_devcluster.pki import Pki
from palm_devcluster.probes import http_probe
from palm_devcluster.processes import Daemon

NAME = "kserve"
_FIELD_MANAGER = "palm-devcluster"


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
    pki = layout.pki
    _place_certificate(layout.paths, pki)
    objects = manifests.control_objects(
        manifests.read_documents(documents),
        webhooks=f"https://127.0.0.1:{layout.ports.kserve_webhooks}",
        ca=base64.b64encode(pki.ca.read_bytes()).decode(),
    )
    _apply(layout, objects)


def finish(layout: Layout) -> None:
    """Apply what the running controller's webhooks check."""
    _apply(layout, manifests.serving_runtimes())


def remove(layout: Layout, documents: Path) -> None:
    """Take the webhooks away: without the controller they would refuse every InferenceService."""
    if is_wanted(layout.paths):
        names = manifests.webhook_names(manifests.read_documents(documents))
        _kubectl(layout, "delete", "--ignore-not-found", *names)
        shutil.rmtree(layout.paths.kserve)


def _place_certificate(paths: ClusterPaths, pki: Pki) -> None:
    # Where controller-runtime looks for it, below the temporary folder.
    folder = paths.kserve / "k8s-webhook-server" / "serving-certs"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(folder / "tls.crt", pki.certificate(NAME).read_bytes())
    write_private(folder / "tls.key", pki.key(NAME).read_bytes())


def _apply(layout: Layout, objects: Sequence[manifests.Json]) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    owner = (f"--field-manager={_FIELD_MANAGER}", "--force-conflicts")
    _kubectl(layout, "apply", "--server-side", *owner, "-f", "-", stdin=json.dumps(listed))


def _kubectl(layout: Layout, *arguments: str, stdin: str | None = None) -> str:
    kubectl = Path(layout.program("kubectl"))
    return run_kubectl(kubectl, layout.paths.kubeconfig, *arguments, stdin=stdin)
