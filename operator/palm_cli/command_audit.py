"""``palm audit``: what is deployed, since when, from what, and does the record agree."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import typer
from pydantic import ValidationError

from palm.contract import StorageLocation
from palm_cli.access import Where
from palm_cli.audit_chain import Chain, Past, chain, past
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
from palm_cli.cluster import Cluster, NotAnswering, connected
from palm_cli.cluster_options import Context, Kubeconfig, Namespace
from palm_cli.deployments import readable
from palm_cli.failures import NOT_GRANTED, UNAVAILABLE, InvalidInput, Unavailable, failures
from palm_cli.inputs import shown
from palm_cli.output import print_facts, print_json, print_table
from palm_cli.record_store import RecordStore
from palm_cli.storage_options import Endpoint, Region, Storage, needed_namespace, storage_option
from palm_operator.api.portfolio import Portfolio, parse_portfolio
from palm_operator.calls.requests import storage_location
from palm_operator.times import parsed as parsed_time

NAME = "audit"
HELP = """Say which policies are deployed, since when, from which inputs, how far from optimal.

The answer is the operator's record in S3, held against the cluster: exit code 3 where they
disagree (something is served that is not recorded, or the other way round; an InferenceService is
of another revision; a digest differs) or where the record's chain is broken. `--at` answers for a
time in the past, from the record alone, also of Portfolios that are gone where others still store;
with `--storage` no cluster is asked at all. S3 is read with your own credentials (`AWS_*`); what
cannot be read is said, and then the exit code is 4.

```
palm audit -A
palm audit assistant -n ml -o json
palm audit assistant -n ml --at 2026-01-31T12:00:00Z
palm audit assistant -n ml --storage s3://palm/portfolios --endpoint https://s3.example.com
palm audit --storage s3://palm/portfolios --at 2026-01-31T12:00:00Z
palm audit -A -o csv > policies.csv
```
"""

OptionalName = Annotated[str, typer.Argument(metavar="[NAME]", help="Portfolio; else all.")]
Everywhere = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of the whole cluster.")]
At = Annotated[str, typer.Option(help="A time (RFC 3339; without a zone UTC), from the record.")]
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
        location = storage_option(storage, endpoint, region)
        if location is not None:
            if name:
                audited = [_from_record(location, needed_namespace(namespace), name, when)]
            else:
                audited = _recorded(location, "" if all_namespaces else namespace, when)
        elif name and all_namespaces:
            raise InvalidInput("-A is for all Portfolios; a NAME goes with --namespace")
        else:
            with connected(Where(namespace, context, kubeconfig)) as cluster:
                audited = _from_cluster(cluster, name, all_namespaces, when)
        _print(audited, output, single=bool(name), when=when)
    if any(one.is_unread for one in audited):
        raise typer.Exit(UNAVAILABLE)
    if not all(one.agrees for one in audited):
        raise typer.Exit(NOT_GRANTED)


def _from_cluster(
    cluster: Cluster, name: str, everywhere: bool, when: datetime | None
) -> list[Audited]:
    if name:
        return [_audited(cluster, readable(cluster.portfolio(name)), when)]
    bodies = cluster.portfolios(everywhere=everywhere)
    audited = [_tried(cluster, body, when) for body in bodies]
    return [*audited, *_gone(bodies, "" if everywhere else cluster.namespace, when)]


def _tried(cluster: Cluster, body: Mapping[str, Any], when: datetime | None) -> Audited:
    """Return one of many: what cannot be read of it is no reason to say nothing of the others."""
    try:
        return _audited(cluster, readable(body), when)
    except NotAnswering:
        raise
    except (Unavailable, InvalidInput) as error:
        metadata = body["metadata"]
        return _unread(metadata["namespace"], metadata["name"], error)


def _unread(namespace: str, name: str, error: Exception) -> Audited:
    found = [Finding("Unreadable", str(error))]
    return Audited(namespace, name, Past(), Chain(), found=found)


def _gone(
    bodies: Sequence[Mapping[str, Any]], namespace: str, when: datetime | None
) -> Iterator[Audited]:
    """Yield what was there at a time and is no more, from where others keep their records."""
    there = {(b["metadata"]["namespace"], b["metadata"]["name"]) for b in bodies}
    locations = {at for at in map(_location_of, bodies) if at is not None} if when else set()
    for location in sorted(locations, key=str):
        try:
            found = _recorded(location, namespace, when, but=frozenset(there))
        except Unavailable:
            continue  # said of the Portfolio that is stored there
        there |= {(one.namespace, one.name) for one in found}
        yield from (one for one in found if one.said.uid and not one.said.deleted)


def _location_of(body: Mapping[str, Any]) -> StorageLocation | None:
    try:
        return storage_location(parse_portfolio(body).spec)
    except ValidationError:
        return None


def _recorded(
    location: StorageLocation,
    namespace: str,
    when: datetime | None,
    *,
    but: frozenset[tuple[str, str]] = frozenset(),
) -> list[Audited]:
    """Return every Portfolio of which there is a record, of one namespace or (empty) of all."""
    found = [
        (where, name)
        for where, name in RecordStore(location).portfolios()
        if namespace in ("", where) and (where, name) not in but
    ]
    return [_from_record(location, where, name, when) for where, name in found]


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
                "unread": sum(one.is_unread for one in audited),
                "agrees": all(one.agrees for one in audited),
                "portfolios": [document(one) for one in audited],
            }
        )
        return
    print_table(list(ROWS), rows(audited), total=len(audited))
    if single:
        print_table(list(POLICY_ROWS), policy_rows(audited[0]), total=0)
        print_facts(facts(audited[0]))
    unread = sum(one.is_unread for one in audited)
    missing = f", without {unread} that could not be read" if unread else ""
    counts = [("deployed policies", f"{total}{missing}"), ("portfolios", str(len(audited)))]
    print_facts(counts)
    for one in audited:
        for finding in one.found:
            print(f"{one.namespace}/{one.name}: {finding.kind}: {finding.message}")
