"""What the controllers of other projects have in common: they are webhooks, objects, a process."""

import json
from collections.abc import Sequence
from pathlib import Path

from palm_devcluster.addons import run_kubectl
from palm_devcluster.controlplane import Layout
from palm_devcluster.documents import Json
from palm_devcluster.paths import write_private
from palm_devcluster.pki import Pki

_FIELD_MANAGER = "palm-devcluster"


def place_certificate(pki: Pki, name: str, folder: Path) -> None:
    """Put a controller's certificate and key where it looks for them."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(folder / "tls.crt", pki.certificate(name).read_bytes())
    write_private(folder / "tls.key", pki.key(name).read_bytes())


def applied(layout: Layout, objects: Sequence[Json]) -> None:
    """Apply objects.

    Raises:
        AddonError: kubectl failed.
    """
    listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    owner = (f"--field-manager={_FIELD_MANAGER}", "--force-conflicts")
    _kubectl(layout, "apply", "--server-side", *owner, "-f", "-", stdin=json.dumps(listed))


def removed(layout: Layout, names: Sequence[str]) -> None:
    """Delete objects, ``kind/name`` each.

    Raises:
        AddonError: kubectl failed.
    """
    _kubectl(layout, "delete", "--ignore-not-found", *names)


def _kubectl(layout: Layout, *arguments: str, stdin: str | None = None) -> str:
    kubectl = Path(layout.program("kubectl"))
    return run_kubectl(kubectl, layout.paths.kubeconfig, *arguments, stdin=stdin)
