"""``palm rollback``: back to an earlier deployment, without training."""

from typing import Annotated

import typer

from palm_cli.access import Where
from palm_cli.cluster import connected
from palm_cli.cluster_options import Context, Kubeconfig, Namespace, PortfolioName
from palm_cli.failures import InvalidInput, failures, warn
from palm_cli.options import Output
from palm_cli.output import print_json
from palm_cli.rollback import Rollback, back_to, described, git_owner, undone
from palm_operator.api.portfolio import parse_portfolio

NAME = "rollback"
HELP = """Publish an earlier deployment of a Portfolio again, without training anything.

Sets `spec.serving.pin` to the revision and the manifest of one of the last deployments
(`status.revisions`), as you and with your rights: the operator itself never writes to a spec. What
the spec asks for otherwise is trained and decided as ever, and published once the pin is gone:
`--undo`. Where Git owns the Portfolio, commit the lines that `--dry-run` prints instead, or the
next synchronisation takes the pin away.

```
palm rollback assistant -n ml
palm rollback assistant -n ml --revision 7c1f09a2 --dry-run
palm rollback assistant -n ml --undo
```
"""

Revision = Annotated[
    str,
    typer.Option(help="Revision or number of a deployment; else the last before the present one."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing; print the YAML.")]
Undo = Annotated[bool, typer.Option("--undo", help="Remove the pin: follow the spec again.")]


def run(
    name: PortfolioName,
    namespace: Namespace = "",
    revision: Revision = "",
    dry_run: DryRun = False,
    undo: Undo = False,
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    output: Output = "table",
) -> None:
    """Run the command."""
    with failures(), connected(Where(namespace, context, kubeconfig)) as cluster:
        if undo and revision:
            raise InvalidInput("--undo goes back to no revision; leave --revision away")
        body = cluster.portfolio(name)
        portfolio = parse_portfolio(body)
        metadata, pin = portfolio.metadata, portfolio.spec.serving.pin
        way = undone(pin) if undo else back_to(portfolio.status, pin, revision)
        tool = git_owner(body["metadata"])
        applies = way.changes and not dry_run
        if applies:
            cluster.patch_portfolio(name, way.patch(metadata.resource_version))
        where = f"{metadata.namespace}/{metadata.name}"
        if output == "json":
            _print_json(where, way, tool, applied=applies)
        elif dry_run:
            _print_lines(where, way)
        else:
            _print(where, way)
        if tool and applies:
            warn(
                f"{tool} manages {where}: commit this to Git too, or the next synchronisation "
                f"takes it away (palm rollback {metadata.name} -n {metadata.namespace} --dry-run)"
            )


def _print_json(where: str, way: Rollback, tool: str | None, *, applied: bool) -> None:
    namespace, name = where.split("/")
    print_json(
        {
            "namespace": namespace,
            "name": name,
            "to": way.target and way.target.model_dump(mode="json", by_alias=True),
            "pin": way.after and way.after.model_dump(mode="json"),
            "before": way.before and way.before.model_dump(mode="json"),
            "changes": way.changes,
            "applied": applied,
            "gitops": tool,
        }
    )


def _print_lines(where: str, way: Rollback) -> None:
    if way.target is not None:
        print(f"# {where}: back to {described(way.target)}")
    print("\n".join(way.lines) if way.lines else f"# {where}: remove spec.serving.pin")


def _print(where: str, way: Rollback) -> None:
    if not way.changes:
        pinned = "has no pin" if way.after is None else "is pinned to just this already"
        print(f"{where} {pinned}; nothing is changed")
        return
    to = f"back to {described(way.target)}" if way.target else "the pin is removed"
    print(f"{where}: {to}")
    print("\n".join(way.difference))
    print(
        "changed. The operator publishes it without training; follow it with "
        f"`kubectl get portfolio {where.split('/')[1]} -n {where.split('/')[0]} --watch`. Where "
        "Git owns the Portfolio, commit the same lines."
    )
