"""Have every program of the embedded cluster: given, cached, or built with Go."""

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from palm_devcluster.components import COMPONENTS, OPTIONAL, Component
from palm_devcluster.golang import BuildError, Go, Progress, find_go
from palm_devcluster.paths import cache_folder

# Folders with ready programs, in order of preference.
GIVEN_FOLDERS = ("PALM_DEVCLUSTER_BIN", "KUBEBUILDER_ASSETS")
_REPORT_EVERY_S = 10.0
_LAST_LINES = 20

Binaries = Mapping[str, Path]


def find_binaries() -> dict[str, Path]:
    """Return the programs that are there without building: given or cached."""
    found: dict[str, Path] = {}
    for component in (*COMPONENTS, *OPTIONAL):
        for name in component.binaries:
            for folder in (*_given_folders(), cached_folder(component)):
                if os.access(folder / name, os.X_OK):
                    found[name] = folder / name
                    break
    return found


def ensure_binaries(progress: Progress, components: Sequence[Component] = COMPONENTS) -> Binaries:
    """Return the path of every program there is, building what is missing of some components.

    Raises:
        BuildError: A program could not be built; the message ends with the build's last lines.
    """
    found = find_binaries()
    missing = [item for item in components if not set(item.binaries) <= found.keys()]
    if not missing:
        return found
    names = ", ".join(f"{item.name} {item.version}" for item in missing)
    progress(f"building {names} from source, once; kept in {cache_folder() / 'bin'}")
    go = find_go(progress)
    for component in missing:
        with _locked(cache_folder() / "build.lock", progress):
            if not cached_folder(component).is_dir():
                _build(component, go, progress)
    return find_binaries()


def program(binaries: Binaries, name: str) -> Path:
    """Return the path of one program.

    Raises:
        BuildError: It has not been built.
    """
    if name not in binaries:
        raise BuildError(f"{name} is not in {cache_folder() / 'bin'}: run `palm-devcluster build`")
    return binaries[name]


def cached_folder(component: Component) -> Path:
    """Return where a component's programs are cached."""
    return cache_folder() / "bin" / component.cache_key


def _given_folders() -> list[Path]:
    return [Path(os.environ[name]) for name in GIVEN_FOLDERS if os.environ.get(name)]


@contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another process is building: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class _Source:
    """What to hand to ``go``: flags, and the packages to build."""

    flags: tuple[str, ...]
    packages: tuple[str, ...]


def _source(component: Component, go: Go, folder: Path) -> _Source:
    """Return what is built; an edited copy is laid over the wrapper module from ``folder``.

    Files of the module cache cannot be overlaid: the copy becomes a package of the wrapper.
    """
    edit = component.edit
    if edit is None:
        return _Source((), component.packages)
    (package,) = component.packages
    where = go.output("list", "-f", "{{.Dir}}", package, folder=component.module).strip()
    text = (Path(where) / edit.file).read_text(encoding="utf-8")
    if text.count(edit.old) != 1:
        raise BuildError(f"{package}/{edit.file} must hold {edit.old!r} exactly once")
    edited, overlay = folder / edit.file, folder / "overlay.json"
    edited.write_text(text.replace(edit.old, edit.new), encoding="utf-8")
    replaced = {str(component.module / "edited" / edit.file): str(edited)}
    overlay.write_text(json.dumps({"Replace": replaced}), encoding="utf-8")
    return _Source(("-overlay", str(overlay)), ("./edited",))


def _build(component: Component, go: Go, progress: Progress) -> None:
    title = f"{component.name} {component.version}"
    target = cached_folder(component)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{component.name}-", dir=target.parent))
    try:
        programs, edited = draft / "programs", draft / "edited"
        programs.mkdir()
        edited.mkdir()
        began = time.monotonic()
        progress(f"{title}: fetching modules")
        source = _source(component, go, edited)
        listed = go.output(
            "list", *source.flags, "-deps", *source.packages, folder=component.module
        )
        total = len(listed.split())
        progress(f"{title}: compiling {total} packages; takes {component.expected_time}, only once")
        _compile(component, go, source, programs, total, progress)
        programs.rename(target)
        progress(f"{title}: built in {time.monotonic() - began:.0f} s")
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _compile(
    component: Component, go: Go, source: _Source, folder: Path, total: int, progress: Progress
) -> None:
    log = cache_folder() / "logs" / f"build-{component.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [str(go.command), "build", *source.flags, "-v", "-trimpath"]
    # One program is written under its own name, several into a folder.
    output = f"{folder}/" if len(source.packages) > 1 else str(folder / component.binaries[0])
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [*command, "-ldflags", component.ldflags, "-o", output, *source.packages],
            cwd=component.module,
            env=dict(go.environment),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            _watch(process, log, component, total, progress)
        finally:
            process.kill()
            process.wait()
    if process.returncode != 0:
        raise BuildError(
            f"building {component.name} {component.version} failed with code "
            f"{process.returncode}; last lines of {log}:\n{last_lines(log)}"
        )


def _watch(
    process: "subprocess.Popen[bytes]",
    log: Path,
    component: Component,
    total: int,
    progress: Progress,
) -> None:
    began = time.monotonic()
    while True:
        try:
            process.wait(_REPORT_EVERY_S)
            return
        except subprocess.TimeoutExpired:
            compiled = len(log.read_bytes().splitlines())
            elapsed = time.monotonic() - began
            progress(f"{component.name}: {compiled} of {total} packages, {elapsed:.0f} s so far")


def last_lines(log: Path, count: int = _LAST_LINES) -> str:
    """Return the end of a log file, indented."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        lines = ["(no log)"]
    return "\n".join(f"    {line}" for line in lines)
