"""What is deployed of a Portfolio, with its manifest: as the cluster says, or its record in S3."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from palm.contract import StorageLocation
from palm.errors import InvalidResult
from palm_cli.audit_chain import chain, past
from palm_cli.cluster import Cluster
from palm_cli.failures import InvalidInput, NotGranted, warn
from palm_cli.inputs import shown_name
from palm_cli.record_store import RecordStore
from palm_operator.api.portfolio import Portfolio, parse_portfolio
from palm_operator.calls.evidence import first_problem
from palm_operator.calls.requests import storage_location
from palm_operator.deciding.manifest_file import pinned_manifest


@dataclass(frozen=True)
class Deployment:
    """A deployed portfolio, and the manifest that says what it is.

    ``store`` is where its policies and all that is known of them lie.
    """

    namespace: str
    name: str
    revision: str
    rewards: tuple[str, ...]
    manifest: bytes
    store: RecordStore


def readable(body: Mapping[str, Any]) -> Portfolio:
    """Return a Portfolio as the API server has it.

    Raises:
        InvalidInput: It is of a version that this program does not know.
    """
    try:
        return parse_portfolio(body)
    except ValidationError as error:
        raise InvalidInput(
            f"Portfolio {body['metadata']['namespace']}/{body['metadata']['name']} cannot be read "
            f"by this version of palm: {shown_name(first_problem(error))}"
        ) from None


def in_cluster(cluster: Cluster, name: str) -> Deployment:
    """Return what a Portfolio's status names as deployed.

    Raises:
        NotGranted: Nothing is, or its manifest is not what the status says.
        Unavailable: The API server or S3 does not answer, or refuses.
    """
    portfolio = readable(cluster.portfolio(name))
    metadata, shown = portfolio.metadata, portfolio.status.portfolio
    where = f"{metadata.namespace}/{metadata.name}"
    if shown is None:
        raise NotGranted(f"nothing of Portfolio {where} is deployed yet: see `palm status`")
    return _deployment(
        storage_location(portfolio.spec),
        metadata.namespace,
        metadata.name,
        revision=shown.revision,
        sha256=shown.manifest.sha256,
    )


def in_record(location: StorageLocation, namespace: str, name: str) -> Deployment:
    """Return what the record names as deployed; no cluster is asked.

    Raises:
        NotGranted: Nothing is, or its manifest is not what the record says.
        Unavailable: S3 does not answer, or refuses.
    """
    objects = RecordStore(location).record(namespace, name)
    where = f"{shown_name(namespace)}/{shown_name(name)}"
    record = chain(objects, namespace=namespace, name=name)
    if record.faults:
        warn(f"the record of {where} is not whole: {record.faults[0]}: see `palm audit`")
    deployed = past(record).deployed
    if deployed is None:
        raise NotGranted(f"the record below s3://{location.bucket} has no deployment of {where}")
    return _deployment(
        location, namespace, name, revision=deployed.revision, sha256=deployed.manifest.sha256
    )


def _deployment(
    location: StorageLocation, namespace: str, name: str, *, revision: str, sha256: str
) -> Deployment:
    store = RecordStore(location)
    content = store.manifest(namespace, name, sha256)
    said = f"manifest {sha256} of {namespace}/{name}"
    if content is None:
        raise NotGranted(f"{said} is not in s3://{location.bucket}: see `palm audit`")
    try:
        found = pinned_manifest(
            content, sha256=sha256, revision=revision, namespace=namespace, name=name
        )
    except InvalidResult as error:
        raise NotGranted(f"{said}: {shown_name(str(error))}: see `palm audit`") from None
    rewards = tuple(reward.name for reward in found.inputs.rewards)
    return Deployment(namespace, name, revision, rewards, content, store)
