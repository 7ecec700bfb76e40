"""What is installed into every cluster, nothing of it ours: CRDs of KServe, Kueue and JobSet."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from palm_devcluster.components import ModuleFiles
from palm_devcluster.golang import Go, Progress, find_go
from palm_devcluster.paths import cache_folder
from palm_devcluster.pki import NODE_NAME

_FIELD_MANAGER = "palm-devcluster"
_ESTABLISHED_S = 180.0
_BUSY = ("(Timeout)", "(TooManyRequests)", "(InternalError)", "initializing")


class AddonError(Exception):
    """kubectl refused what every cluster should have."""


def ensure_files(modules: Sequence[ModuleFiles], progress: Progress) -> tuple[Path, ...]:
    """Return one folder of files per module, downloaded once."""
    folders = {module: cache_folder() / "files" / module.cache_key for module in modules}
    missing = [module for module, folder in folders.items() if not folder.is_dir()]
    if missing:
        go = find_go(progress)
        for module in missing:
            progress(f"fetching files of {module.module} {module.version}")
            _fetch(go, module, folders[module])
    return tuple(folders.values())


def install_crds(kubectl: Path, kubeconfig: Path, folders: Sequence[Path]) -> None:
    """Apply the CRDs and wait until the API server serves them.

    Raises:
        AddonError: kubectl failed.
    """
    files = [word for folder in folders for word in ("-f", str(folder))]
    owner = (f"--field-manager={_FIELD_MANAGER}", "--force-conflicts")
    deadline = time.monotonic() + _ESTABLISHED_S
    while True:
        try:
            run_kubectl(kubectl, kubeconfig, "apply", "--server-side", *owner, *files)
            break
        except AddonError as error:
            # A server that has just started on a busy machine.
            if not any(word in str(error) for word in _BUSY) or time.monotonic() > deadline:
                raise
            time.sleep(1)
    wait_established(kubectl, kubeconfig, *files)


def wait_established(kubectl: Path, kubeconfig: Path, *files: str) -> None:
    """Wait until the API server serves the CRDs of some files.

    Args:
        kubectl: The program.
        kubeconfig: Whom to ask.
        files: ``-f FILE …``.

    Raises:
        AddonError: It does not.
    """
    deadline = time.monotonic() + _ESTABLISHED_S
    wait = ("wait", "--for=condition=Established", f"--timeout={_ESTABLISHED_S:g}s", *files)
    while True:
        try:
            run_kubectl(kubectl, kubeconfig, *wait)
            return
        except AddonError as error:
            # kubectl does not wait for a CRD that has no conditions at all yet.
            if "accessor error" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def missing_crds(kubectl: Path, kubeconfig: Path, folders: Sequence[Path]) -> frozenset[str]:
    """Return the names of CRDs that the cluster does not serve."""
    # A file is called <group>_<plural>.yaml, its CRD <plural>.<group>.
    stems = [file.stem for folder in folders for file in folder.glob("*.yaml")]
    wanted = {".".join(reversed(stem.split("_", 1))) for stem in stems}
    listed = run_kubectl(kubectl, kubeconfig, "get", "crd", "-o", "name")
    return frozenset(wanted - {line.rpartition("/")[2] for line in listed.split()})


def node_trouble(kubectl: Path, kubeconfig: Path) -> str | None:
    """Say why the process node is not Ready; None when it is."""
    try:
        text = run_kubectl(
            kubectl, kubeconfig, "get", "node", NODE_NAME, "--ignore-not-found", "-o", "json"
        )
    except AddonError as error:
        return str(error)
    if not text.strip():
        return f"node {NODE_NAME} is not registered"
    for condition in json.loads(text).get("status", {}).get("conditions", ()):
        if condition["type"] == "Ready":
            ready = condition["status"] == "True"
            return None if ready else f"node {NODE_NAME}: {condition.get('message', 'not Ready')}"
    return f"node {NODE_NAME} has no condition Ready"


def run_kubectl(kubectl: Path, kubeconfig: Path, *arguments: str, stdin: str | None = None) -> str:
    """Run kubectl and return what it printed.

    Raises:
        AddonError: It failed; the message holds what it said.
    """
    done = subprocess.run(
        [str(kubectl), "--kubeconfig", str(kubeconfig), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        # kubectl's discovery cache would otherwise be written to the user's home.
        env={**os.environ, "KUBECACHEDIR": str(kubeconfig.parent / "kubectl-cache")},
    )
    if done.returncode != 0:
        raise AddonError(f"`kubectl {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return done.stdout


def _fetch(go: Go, module: ModuleFiles, target: Path) -> None:
    source = go.module_folder(module.module, module.version, expected_sum=module.sum)
    files = [file for pattern in module.files for file in sorted(source.glob(pattern))]
    if not files:
        raise AddonError(f"{module.module} {module.version} has no {', '.join(module.files)}")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".files-", dir=target.parent))
    for file in files:
        shutil.copyfile(file, draft / file.name)
    draft.chmod(0o755)
    try:
        draft.rename(target)
    except OSError:  # another process was faster
        shutil.rmtree(draft)
