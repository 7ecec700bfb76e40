"""``palm-demo``: kubectl apply of the example, from an empty machine to a published portfolio."""

import hashlib
import json
import shlex
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from palm_devcluster.cluster import EmbeddedCluster
from palm_devcluster.demo import gateway, install, report, samples
from palm_devcluster.demo.asking import chat, curl_command
from palm_devcluster.demo.picture import draw
from palm_devcluster.demo.stages import DemoError, Stages
from palm_devcluster.demo.tools import Tools
from palm_devcluster.demo.watch import follow
from palm_store import S3Store

_NAME = "arithmetic"
_MODEL = f"{install.DEMO_NAMESPACE}/{_NAME}"
_MANIFEST_BYTES = 8 << 20
_QUESTION = "What is 7 + 8?"

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Where results are written.")] = Path("build/demo"),
    root: Annotated[
        Path, typer.Option(help="Folder of the embedded cluster.", envvar="PALM_DEVCLUSTER_HOME")
    ] = Path("build/devcluster"),
    timeout: Annotated[
        float, typer.Option(help="Seconds the Portfolio may take.", min=1.0)
    ] = 1800.0,
) -> None:
    """Make a portfolio of tiny language models on an embedded cluster and show it.

    Starts the embedded cluster (built on the first run), installs the CRD and the operator's
    chart, applies [bold]examples/arithmetic.yaml[/] and follows it: real GRPO training Jobs, real
    evaluation, results in S3, pruning, InferenceServices that answer, and a gateway that asks the
    right one for each preference. A second run is quick: nothing that is done is done again.
    """
    console = Console()
    stages = Stages(console)
    try:
        _run(console, stages, output, EmbeddedCluster(root.resolve()), timeout)
    except DemoError as error:
        console.print(f"[bold red]The demo failed[/]: {error}", highlight=False)
        console.print(
            "Look around: .venv/bin/palm-devcluster status; .venv/bin/palm-devcluster logs --help"
        )
        raise typer.Exit(1) from error


def _run(
    console: Console, stages: Stages, output: Path, cluster: EmbeddedCluster, timeout: float
) -> None:
    sources = install.checkout()
    with stages.stage("cluster", "Starting the embedded cluster"):
        _start(cluster, stages)
    tools = Tools(cluster.kubectl, cluster.helm, cluster.kubeconfig)
    with stages.stage("toy", "Making the toy's base model"):
        toy = _toy()
        cluster.create_bucket(install.BUCKET)
        store = S3Store(install.storage(cluster))
        install.upload_toy(store, toy, stages)
    with stages.stage("operator", "Installing the CRD and the chart: operator and gateway"):
        install.prepare_namespaces(tools, cluster)
        install.install_operator(tools, cluster, sources)
    with stages.stage("portfolio", "kubectl apply -f examples/arithmetic.yaml"):
        install.apply_example(tools, cluster, sources)
        portfolio = follow(tools, install.DEMO_NAMESPACE, _NAME, stages, timeout)
    policies = portfolio["status"]["portfolio"]["policies"]
    preferences = gateway.extremes([reward["name"] for reward in portfolio["spec"]["rewards"]])
    with stages.stage("asking", "Asking each policy, and the gateway for two preferences"):
        answers = {p["name"]: chat(p["url"], p["name"], _QUESTION) for p in policies}
        url = install.gateway_url(cluster)
        routed = [gateway.ask(url, _MODEL, preference, _QUESTION) for preference in preferences]
    with stages.stage("report", "Writing the report"):
        manifest = _manifest(portfolio, store)
        picture = _write(output, portfolio, json.loads(manifest), stages)
        shown = samples.compared(portfolio, manifest, store)
        samples.write_markdown(output / "samples.md", shown)
    commands = _commands(cluster, policies[0], preferences[1])
    report.print_report(console, portfolio, picture, commands)
    samples.print_samples(console, shown, output / "samples.md")
    report.print_answers(console, _QUESTION, answers)
    report.print_routed(console, _QUESTION, routed)
    report.print_times(console, stages)


def _start(cluster: EmbeddedCluster, stages: Stages) -> None:
    try:
        cluster.up(progress=stages.say)
    except Exception as error:
        raise DemoError(str(error)) from error


def _toy() -> Path:
    from palm_trainer.toy import cached_toy_model  # torch takes seconds to import

    return cached_toy_model()


def _write(output: Path, portfolio: Any, manifest: Any, stages: Stages) -> Path:
    report.write_json(output / "portfolio.json", portfolio)
    report.write_json(output / "summary.json", report.summary(portfolio, stages))
    picture = output / "portfolio.png"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # matplotlib's notes on fonts are not the user's
        draw(manifest, picture)
    return picture


def _manifest(portfolio: Any, store: S3Store) -> bytes:
    reference = portfolio["status"]["portfolio"]["manifest"]
    key = reference["uri"].removeprefix(f"s3://{install.BUCKET}/")
    content = store.read(key, max_bytes=_MANIFEST_BYTES)
    if content is None or hashlib.sha256(content).hexdigest() != reference["sha256"]:
        raise DemoError(f"the manifest {reference['uri']} is not what the status refers to")
    return content


def _commands(
    cluster: EmbeddedCluster, policy: Mapping[str, Any], preference: gateway.Preference
) -> list[str]:
    shown = "kubectl" if shutil.which("kubectl") else str(cluster.kubectl)
    namespace = f"-n {install.DEMO_NAMESPACE}"
    return [
        f"export KUBECONFIG={cluster.kubeconfig}",
        f".venv/bin/palm status {_NAME} {namespace}",
        f".venv/bin/palm chat {_NAME} {namespace} --compare "
        f"-p {gateway.written(preference)} {shlex.quote(_QUESTION)}",
        f".venv/bin/palm samples {_NAME} {namespace} --all",
        f"{shown} {namespace} get pfo",
        f"{shown} {namespace} describe pfo {_NAME}",
        f"{shown} {namespace} get jobs,inferenceservices",
        f"{shown} {namespace} logs job/<name of a job>",
        curl_command(policy["url"], policy["name"], _QUESTION),
        gateway.curl_command(install.gateway_url(cluster), _MODEL, preference, _QUESTION),
        f"{shown} -n {install.SYSTEM_NAMESPACE} logs deployment/{install.RELEASE}",
        ".venv/bin/palm-devcluster status      # and down, when done",
    ]


def main() -> None:
    """Entry point of ``palm-demo``."""
    app()


if __name__ == "__main__":
    main()
