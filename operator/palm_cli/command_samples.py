"""``palm samples``: what the policies of a portfolio say to the same prompts, side by side."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Literal

import typer
from rich.console import Console

from palm_cli.access import Where
from palm_cli.cluster import connected
from palm_cli.cluster_options import Context, Kubeconfig, Namespace
from palm_cli.deployments import Deployment, in_cluster, in_record
from palm_cli.failures import NOT_GRANTED, UNAVAILABLE, InvalidInput, Unavailable, failures
from palm_cli.inputs import shown_name
from palm_cli.options import names
from palm_cli.output import print_json
from palm_cli.record_store import RecordStore
from palm_cli.samples import MAX_BYTES, Column, Compared, Sampled, asked, column
from palm_cli.samples_report import document, markdown, screen
from palm_cli.storage_options import Endpoint, Region, Storage, needed_namespace, storage_option

NAME = "samples"
HELP = """Show what the deployed policies say to the same prompts, side by side.

Every evaluation keeps the first response to each of the first eight prompts, sampled with the same
seeds for every policy. They are read from S3 with your own credentials (`AWS_*`), the base policy
first, then the policies that the portfolio's manifest names; `--all` has those that were evaluated
and did not survive too. `-o markdown` is the paper's Table 2, for a report or a pull request. Exit
code 3 where the samples of a policy are missing (the others are shown), 4 where S3 refuses them.

```
palm samples assistant
palm samples ml/assistant -o markdown
palm samples assistant -n ml --all -o json
palm samples assistant --policies base --longest 80
palm samples ml/assistant --storage s3://palm/runs --endpoint https://s3.example.com
```
"""

Name = Annotated[str, typer.Argument(metavar="[NAMESPACE/]NAME", help="The Portfolio.")]
Policies = Annotated[
    str, typer.Option(metavar="NAME,…", help="Only these, in this order; base is the base policy.")
]
Every = Annotated[bool, typer.Option("--all", help="All that were evaluated, not only survivors.")]
Longest = Annotated[
    int,
    typer.Option(
        min=1, max=8192, help="Characters shown of a prompt or response; json has all."
    ),
]  # fmt: skip
Output = Annotated[
    Literal["table", "json", "markdown"], typer.Option("--output", "-o", help="How to print it.")
]
_READS_AT_ONCE = 16


def run(
    name: Name,
    policies: Policies = "",
    every: Every = False,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    storage: Storage = "",
    endpoint: Endpoint = "",
    region: Region = "",
    longest: Longest = 600,
    output: Output = "table",
) -> None:
    """Run the command."""
    with failures():
        chosen = names(policies)
        if chosen and every:
            raise InvalidInput("--policies names some policies, --all means all: choose one")
        namespace, name = _names(name, namespace)
        location = storage_option(storage, endpoint, region)
        if location is not None:
            deployment = in_record(location, needed_namespace(namespace), name)
        else:
            with connected(Where(namespace, context, kubeconfig)) as cluster:
                deployment = in_cluster(cluster, name)
        compared = _compared(deployment, asked(deployment.manifest, names=chosen, every=every))
        _print(compared, output, longest)
    if any(one.is_unread for one in compared.columns):
        raise typer.Exit(UNAVAILABLE)
    if compared.missing:
        raise typer.Exit(NOT_GRANTED)


def _names(name: str, namespace: str) -> tuple[str, str]:
    """Return namespace (empty: the context's) and name."""
    before, slash, after = name.rpartition("/")
    if not after or (slash and not before) or "/" in before:
        raise InvalidInput(f"{shown_name(name)} must be NAME or NAMESPACE/NAME")
    if before and namespace not in ("", before):
        raise InvalidInput(
            f"{shown_name(name)} and --namespace {shown_name(namespace)} name two namespaces"
        )
    return before or namespace, after


def _compared(deployment: Deployment, policies: Sequence[Sampled]) -> Compared:
    with ThreadPoolExecutor(_READS_AT_ONCE) as threads:
        columns = tuple(threads.map(lambda one: _column(deployment.store, one), policies))
    return Compared(
        deployment.namespace, deployment.name, deployment.revision, deployment.rewards, columns
    )


def _column(store: RecordStore, policy: Sampled) -> Column:
    """Return what one said: what cannot be read of it hides no other."""
    try:
        content = store.content(policy.key, max_bytes=MAX_BYTES) if policy.key else None
    except Unavailable as error:
        return Column(policy, missing=str(error), is_unread=True)
    return column(policy, content)


def _print(compared: Compared, output: str, longest: int) -> None:
    if output == "json":
        print_json(document(compared))
    elif output == "markdown":
        print(markdown(compared, longest=longest), end="", flush=True)
    else:
        Console().print(screen(compared, longest=longest))
