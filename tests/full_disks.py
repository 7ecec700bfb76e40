"""A disk that is full: a Job's command with a small file system for its temporary files."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from palm.contract import Model

_MOUNT = 'mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && exec "$@"'


@cache
def can_be_had() -> bool:
    """Say whether this machine lets us have file systems of our own."""
    try:
        return subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0
    except OSError:
        return False


def run_on(
    size: str, folder: Path, module: str, request: Model, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a Job's command whose temporary files have so much room (``512k``) and no more."""
    command = [sys.executable, "-m", module]
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", _MOUNT, "sh", size, str(folder), *command],
        env=os.environ
        | environment
        | {"TMPDIR": str(folder), "PALM_REQUEST": request.model_dump_json(by_alias=True)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
