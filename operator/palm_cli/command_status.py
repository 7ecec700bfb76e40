"""``palm status``: the one screen about a Portfolio, once or for as long as somebody looks."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console, RenderableType
from rich.live import Live

from palm_cli.access import Where
from palm_cli.cluster import Change, Cluster, Forbidden, NotAnswering, connected
from palm_cli.cluster_options import Context, Kubeconfig, Namespace, PortfolioName
from palm_cli.failures import failures
from palm_cli.options import Output
from palm_cli.output import print_json
from palm_cli.status_report import Report, checked, document, report
from palm_cli.status_screen import screen, spaced

NAME = "status"
HELP = """Show how a Portfolio stands: what is wrong, progress, what is deployed, what changed.

One screen: phase and conditions in words, oracle calls and what runs now, the policies with their
weights, rewards, share of preferences, address and readiness, the guarantee, the gateway, the last
deployments; and what is wrong with what to do about it. `--watch` shows it anew whenever the
Portfolio changes, until Ctrl-C or until it is deleted; with `-o json` one document a line.

```
palm status assistant
palm status assistant -n ml --watch
palm status assistant -o json
```
"""

Watch = Annotated[bool, typer.Option("--watch", "-w", help="Follow it, by a watch.")]


def run(
    name: PortfolioName,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    watch: Watch = False,
    output: Output = "table",
) -> None:
    """Run the command."""
    with failures(), connected(Where(namespace, context, kubeconfig)) as cluster:
        if watch:
            _follow(cluster, name, output)
            return
        made = _report(cluster, Change(cluster.portfolio(name)))
        if output == "json":
            print_json(document(made))
        else:
            Console().print(screen(made, now=_now()))


@dataclass
class _Screen:
    """What is on the terminal now; ages go on while nothing changes."""

    report: Report
    trouble: str = ""

    def __rich__(self) -> RenderableType:
        return screen(self.report, now=_now(), trouble=self.trouble)


def _follow(cluster: Cluster, name: str, output: str) -> None:
    changes = _reports(cluster, name)
    try:
        if output == "json":
            for made, _ in changes:
                print(json.dumps(document(made), ensure_ascii=False), flush=True)
        elif sys.stdout.isatty():
            _live(changes)
        else:
            for made, trouble in changes:
                Console().print(spaced(screen(made, now=_now(), trouble=trouble)))
    except KeyboardInterrupt:
        return  # that is how a person ends it
    print(f"Portfolio {cluster.namespace}/{name} is deleted", file=sys.stderr)


def _live(changes: Iterator[tuple[Report, str]]) -> None:
    made, trouble = next(changes)
    shown = _Screen(made, trouble)
    # Once a second for the ages: nothing is asked for it.
    with Live(shown, console=Console(), refresh_per_second=1, vertical_overflow="visible") as live:
        for made, trouble in changes:
            shown.report, shown.trouble = made, trouble
            live.refresh()


def _reports(cluster: Cluster, name: str) -> Iterator[tuple[Report, str]]:
    """Yield what is to be shown, and why it may be out of date, until it is deleted."""
    made: Report | None = None
    for change in cluster.follow(name):
        if change.body is None and not change.trouble:
            return
        if change.body is not None:
            made = _report(cluster, change)
        if made is not None:
            yield made, change.trouble


def _report(cluster: Cluster, change: Change) -> Report:
    body = checked(change.body)
    try:
        jobs = cluster.jobs(str(body["metadata"]["uid"]))
    except (Forbidden, NotAnswering):
        jobs = None  # the conditions say in words what runs
    return report(body, jobs, now=_now())


def _now() -> datetime:
    return datetime.now(UTC)
