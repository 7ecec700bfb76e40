"""``palm audit``: what is deployed, since when, from what, and does the record agree."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import typer

from palm.contract import StorageLocation
from palm_cli.access import Where
from palm_cli.audit_chain import chain, past
from palm_cli.audit_findings import Finding, findings
from palm_cli.audit_report import (
    POLICY_ROWS,
    ROWS,
    Audited,
    csv_text,
    document,
    facts,
    policy_rows,
    rows,
)
from palm_cli.cluster import Cluster, connected
from palm_cli.cluster_options import Context, Kubeconfig, Namespace
from palm_cli.failures import NOT_GRANTED, InvalidInput, failures
from palm_cli.inputs import shown
from palm_cli.output import print_facts, print_json, print_table
from palm_cli.record_store import RecordStore
from palm_operator.api.portfolio import Portfolio, parse_portfolio
from palm_operator.calls.requests import storage_location
from palm_operator.times import parsed as parsed_time

NAME = "audit"
HELP = """Say which policies are deployed, since when, from which inputs, how far from optimal.

The answer is the operator's record in S3, held against the cluster: exit code 3 where they
disagree (something is served that is not recorded, or the other way round; an InferenceService is
of another revision; a digest differs) or where the record's chain is broken. `--at` answers for a
time in the past, from the record alone; with `--storage` no cluster is asked at all, so that a
Portfolio that is gone can be looked up. S3 is read with your own credentials (`AWS_*`).

```
palm audit -A
palm audit assistant -n ml -o json
palm audit assistant -n ml --at 2026-01-31T12:00:00Z
palm audit assistant -n ml --storage s3://palm/portfolios --endpoint https://s3.example.com
palm audit -A -o csv > policies.csv
```
"""

OptionalName = Annotated[str, typer.Argument(metavar="[NAME]", help="Portfolio; else all.")]
Everywhere = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of the whole cluster.")]
At = Annotated[str, typer.Option(help="A time (RFC 3339; without a zone UTC), from the record.")]
Storage = Annotated[
    str, typer.Option(metavar="s3://BUCKET/PREFIX", help="Where the record is; asks no cluster.")
]
Endpoint = Annotated[str, typer.Option(help="Of that storage; empty: AWS.")]
Region = Annotated[str, typer.Option(help="Of that storage.")]
Output = Annotated[
    Literal["table", "json", "csv"], typer.Option("--output", "-o", help="How to print it.")
]


def run(
    name: OptionalName = "",
    all_namespaces: Everywhere = False,
    namespace: Namespace = "",
    at: At = "",
    storage: Storage = "",
    endpoint: Endpoint = "",
    region: Region = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    output: Output = "table",
) -> None:
    """Run the command."""
    with failures():
        when = _time(at)
        if storage:
            where = _needed(namespace, name)
            location = _location(storage, endpoint, region)
            audited = [_from_record(location, where, name, when)]
        elif endpoint or region:
            raise InvalidInput(
                "--endpoint and --region go with --storage; else a Portfolio says it"
            )
        elif name and all_namespaces:
            raise InvalidInput("-A is for all Portfolios; a NAME goes with --namespace")
        else:
            with connected(Where(namespace, context, kubeconfig)) as cluster:
                audited = _from_cluster(cluster, name, all_namespaces, when)
        _print(audited, output, single=bool(name), when=when)
    if not all(one.agrees for one in audited):
        raise typer.Exit(NOT_GRANTED)


def _from_cluster(
    cluster: Cluster, name: str, everywhere: bool, when: datetime | None
) -> list[Audited]:
    bodies = [cluster.portfolio(name)] if name else cluster.portfolios(everywhere=everywhere)
    return [_audited(cluster, parse_portfolio(body), when) for body in bodies]


def _audited(cluster: Cluster, portfolio: Portfolio, when: datetime | None) -> Audited:
    metadata, status = portfolio.metadata, portfolio.status
    location = storage_location(portfolio.spec)
    if when is not None:
        return _from_record(location, metadata.namespace, metadata.name, when, portfolio)
    store = RecordStore(location)
    # The cluster first: what it has may just have been recorded, not the other way round.
    servers = cluster.servers(metadata.namespace, metadata.uid)
    objects = store.record(metadata.namespace, metadata.name)
    record = chain(objects, namespace=metadata.namespace, name=metadata.name, said=_said(portfolio))
    said = past(record)
    manifest = None
    if status.portfolio is not None:
        sha256 = status.portfolio.manifest.sha256
        manifest = store.manifest(metadata.namespace, metadata.name, sha256)
    found = findings(portfolio, servers, record, said, manifest=manifest)
    return Audited(metadata.namespace, metadata.name, said, record, portfolio, found)


def _from_record(
    location: StorageLocation,
    namespace: str,
    name: str,
    when: datetime | None,
    portfolio: Portfolio | None = None,
) -> Audited:
    objects = RecordStore(location).record(namespace, name)
    ending = _said(portfolio) if portfolio else None
    record = chain(objects, namespace=namespace, name=name, said=ending)
    if not objects and portfolio is None:
        raise InvalidInput(f"there is no record of {namespace}/{name} below s3://{location.bucket}")
    broken = [Finding("ChainBroken", fault) for fault in record.faults]
    return Audited(namespace, name, past(record, at=when), record, found=broken)


def _said(portfolio: Portfolio) -> Any:
    """Return where the status says that the record ends, if that is the storage it has now."""
    from palm.artifacts import record_folder, uri

    said, metadata = portfolio.status.record, portfolio.metadata
    folder = record_folder(metadata.namespace, metadata.name)
    here = uri(storage_location(portfolio.spec), folder)
    return said if said is not None and said.uri == here else None


def _time(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return parsed_time(text)
    except ValueError:
        raise InvalidInput(
            f"--at is {shown(text)}; it must be a time such as 2026-01-31T12:00:00Z"
        ) from None


def _needed(namespace: str, name: str) -> str:
    if not (namespace and name):
        raise InvalidInput("--storage needs NAME and --namespace: no cluster is asked")
    return namespace


def _location(storage: str, endpoint: str, region: str) -> StorageLocation:
    bucket, _, prefix = storage.removeprefix("s3://").partition("/")
    if not storage.startswith("s3://") or not bucket:
        raise InvalidInput(f"--storage is {shown(storage)}; it must be s3://BUCKET/PREFIX")
    return StorageLocation(
        bucket=bucket, prefix=prefix.strip("/"), endpoint=endpoint, region=region
    )


def _print(audited: list[Audited], output: str, *, single: bool, when: datetime | None) -> None:
    if output == "csv":
        print(csv_text(audited), end="", flush=True)
        return
    total = sum(one.said.deployed.size for one in audited if one.said.deployed)
    if output == "json":
        print_json(
            {
                "at": (when or datetime.now(UTC)).isoformat(),
                "source": "record" if when or not any(a.portfolio for a in audited) else "both",
                "policies": total,
                "agrees": all(one.agrees for one in audited),
                "portfolios": [document(one) for one in audited],
            }
        )
        return
    print_table(list(ROWS), rows(audited), total=len(audited))
    if single:
        print_table(list(POLICY_ROWS), policy_rows(audited[0]), total=0)
        print_facts(facts(audited[0]))
    print_facts([("deployed policies", str(total)), ("portfolios", str(len(audited)))])
    for one in audited:
        for finding in one.found:
            print(f"{one.namespace}/{one.name}: {finding.kind}: {finding.message}")
