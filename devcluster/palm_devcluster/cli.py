"""``palm-devcluster``: a real Kubernetes control plane and S3 server, without containers."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from palm_devcluster.addons import AddonError
from palm_devcluster.build import ensure_binaries
from palm_devcluster.cluster import STOP_ORDER, EmbeddedCluster
from palm_devcluster.components import COMPONENTS, JOBSET, KUEUE
from palm_devcluster.golang import BuildError
from palm_devcluster.images import InvalidImageTable, load_images, table_path
from palm_devcluster.paths import HOME_ENV, default_root
from palm_devcluster.processes import ComponentError

_HELP = f"""{__doc__}

Examples:

```
palm-devcluster up                    # start it; the first time builds it
eval "$(palm-devcluster env)"         # kubectl, helm, S3 for this shell
kubectl get nodes                     # its one node runs Pods as processes
palm-devcluster logs kube-scheduler   # what a component says; -f follows
palm-devcluster down                  # stop all; up continues where it was
palm-devcluster down --purge          # and forget everything
```
"""

app = typer.Typer(
    help=_HELP,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Root = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the cluster; build/devcluster below the current folder by default.",
        envvar=HOME_ENV,
    ),
]
Images = Annotated[
    Path | None, typer.Option(help="Table of image names to use instead of the built-in one.")
]


@app.command()
def up(
    root: Root = None,
    images: Images = None,
    kserve: Annotated[
        bool, typer.Option(help="Run KServe's controller; without it, nothing serves a model.")
    ] = True,
    kueue: Annotated[
        bool, typer.Option(help="Run Kueue's controller, which queues Jobs; built when first used.")
    ] = False,
    jobset: Annotated[
        bool,
        typer.Option(help="Run JobSet's controller, for several nodes; built when first used."),
    ] = False,
) -> None:
    """Start the cluster, or repair it; a healthy one is left as it is.

    Programs come from $PALM_DEVCLUSTER_BIN or $KUBEBUILDER_ASSETS where these folders have them,
    otherwise from the cache, otherwise they are built with Go, which takes 10 to 30 minutes once.
    """
    with _failures():
        _cluster(root, images, kserve=kserve, kueue=kueue, jobset=jobset).up(progress=_say)


@app.command()
def down(
    root: Root = None,
    purge: Annotated[bool, typer.Option("--purge", help="Remove the cluster's data too.")] = False,
) -> None:
    """Stop every process of the cluster, those of Pods included."""
    with _failures():
        _cluster(root).down(purge=purge, progress=_say)


@app.command()
def status(
    root: Root = None,
    output: Annotated[
        Literal["table", "json"], typer.Option("--output", "-o", help="How to print it.")
    ] = "table",
) -> None:
    """Say which component runs where; exits 1 unless all are healthy."""
    with _failures():
        components = _cluster(root).status()
    if output == "json":
        print(json.dumps([asdict(component) for component in components], indent=2))
    else:
        table = Table("COMPONENT", "STATE", "PID", "PORTS ON 127.0.0.1", "DETAIL", box=None)
        for item in components:
            ports = ", ".join(map(str, item.ports))
            table.add_row(item.name, item.state, str(item.pid or ""), ports, item.detail)
        Console().print(table)
    if any(component.state != "running" for component in components):
        raise typer.Exit(1)


@app.command()
def kubeconfig(
    root: Root = None,
    raw: Annotated[bool, typer.Option("--raw", help="Print its content.")] = False,
) -> None:
    """Print the path of the administrator's kubeconfig."""
    file = _cluster(root).kubeconfig
    if not file.is_file():
        _fail(f"there is no {file}: the cluster has never been up")
    print(file.read_text(encoding="utf-8") if raw else file)


@app.command()
def logs(
    component: Annotated[str, typer.Argument(help=f"One of: {', '.join(sorted(STOP_ORDER))}.")],
    root: Root = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of the last lines.")] = 100,
) -> None:
    """Print what a component logs."""
    if component not in STOP_ORDER:
        _fail(f"no component is called {component!r}; there are {', '.join(sorted(STOP_ORDER))}")
    file = _cluster(root).log_of(component)
    if not file.is_file():
        _fail(f"{component} has never run: there is no {file}")
    command = ["tail", "-n", str(lines), *(["-F"] if follow else []), str(file)]
    try:
        raise typer.Exit(subprocess.run(command, check=False).returncode)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@app.command()
def images(
    table: Annotated[Path | None, typer.Option("--images", help="Another table.")] = None,
) -> None:
    """Print which local command stands for which image.

    Another table is taken from --images of `up` or from $PALM_DEVCLUSTER_IMAGES.
    """
    with _failures():
        rows = load_images(table).commands
    shown = Table("IMAGE", "COMMAND", box=None)
    for name, command in rows.items():
        shown.add_row(name, " ".join(command) or "(the container must give its command)")
    Console().print(shown)
    Console().print(f"from {table_path(table)}", style="dim", soft_wrap=True)


@app.command()
def build(
    kueue: Annotated[bool, typer.Option("--kueue", help="Kueue's controller too.")] = False,
    jobset: Annotated[bool, typer.Option("--jobset", help="JobSet's controller too.")] = False,
) -> None:
    """Only have the programs: find or build them, and print where they are."""
    wanted = (*COMPONENTS, *([KUEUE] if kueue else []), *([JOBSET] if jobset else []))
    with _failures():
        for name, path in sorted(ensure_binaries(_say, wanted).items()):
            print(f"{name:24} {path}")


@app.command()
def env(root: Root = None) -> None:
    """Print settings for a shell, credentials included: eval "$(palm-devcluster env)"."""
    with _failures():
        cluster = _cluster(root)
        access = cluster.s3
        folders = dict.fromkeys(str(path.parent) for path in (cluster.kubectl, cluster.helm))
    print(f"export KUBECONFIG='{cluster.kubeconfig}'")
    print(f"export PATH='{os.pathsep.join(folders)}'\"{os.pathsep}$PATH\"")
    print(f"export PALM_SERVICES_URL='{cluster.services_url}'  # /NAMESPACE/SERVICE/…")
    print(f"export AWS_ENDPOINT_URL_S3='{access.endpoint}'")
    print(f"export AWS_REGION='{access.region}'")
    print(f"export AWS_ACCESS_KEY_ID='{access.access_key}'")
    print(f"export AWS_SECRET_ACCESS_KEY='{access.secret_key}'")


def main() -> None:
    """Entry point of ``palm-devcluster``."""
    app()


def _cluster(
    root: Path | None,
    images: Path | None = None,
    *,
    kserve: bool = True,
    kueue: bool = False,
    jobset: bool = False,
) -> EmbeddedCluster:
    folder = root.resolve() if root else default_root()
    return EmbeddedCluster(folder, images, kserve=kserve, kueue=kueue, jobset=jobset)


def _say(sentence: str) -> None:
    print(sentence, flush=True)


def _fail(sentence: str) -> None:
    print(f"error: {sentence}", file=sys.stderr)
    raise typer.Exit(1)


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (AddonError, BuildError, ComponentError, InvalidImageTable, ValueError) as error:
        _fail(str(error))
