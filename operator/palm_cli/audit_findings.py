"""Where a cluster and a record disagree about what is deployed. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from palm.artifacts import model_folder
from palm.schema import sha256_of
from palm_cli.audit_chain import Chain, Past
from palm_cli.inputs import shown_name
from palm_operator import names
from palm_operator.api.portfolio import Portfolio
from palm_operator.api.status import DeployedPortfolio
from palm_operator.objects import is_owned
from palm_operator.record.events import Deployed


@dataclass(frozen=True)
class Finding:
    """One disagreement."""

    kind: str
    """NotRecorded, NotServed, OtherRevision, DigestDiffers, ChainBroken or Unreadable."""
    message: str


def findings(
    portfolio: Portfolio,
    servers: Sequence[Mapping[str, Any]],
    record: Chain,
    said: Past,
    *,
    manifest: bytes | None,
) -> list[Finding]:
    """Return where cluster and record disagree.

    Args:
        portfolio: As the API server has it.
        servers: InferenceServices and LLMInferenceServices that carry its labels.
        record: The record.
        said: What the record says of now.
        manifest: The deployed portfolio's manifest as it lies in S3; None: it is not there.
    """
    return [
        *(Finding("ChainBroken", fault) for fault in record.faults),
        *_deployment(portfolio, said),
        *_manifest(portfolio.status.portfolio, manifest),
        *_missing_servers(servers, said),
        *_servers(portfolio, servers, said),
    ]


def _deployment(portfolio: Portfolio, said: Past) -> Iterator[Finding]:
    """Compare what the status names as deployed with the record's last deployment."""
    shown, recorded = portfolio.status.portfolio, said.deployed
    if said.uid not in ("", portfolio.metadata.uid):
        recorded = None
        yield Finding("NotRecorded", "the record is about an earlier Portfolio of this name")
    shown = shown if shown is not None and shown.since else None
    if shown is not None and (
        recorded is None
        or (recorded.manifest.sha256, recorded.time) != (shown.manifest.sha256, shown.since)
    ):
        last = (
            "none"
            if recorded is None
            else f"number {recorded.number}, revision {recorded.revision} since {recorded.time}"
        )
        yield Finding(
            "NotRecorded",
            f"deployed is revision {shown.revision} since {shown.since} (manifest "
            f"{shown.manifest.sha256}); the record's last deployment is {last}",
        )
    if shown is None and recorded is not None:
        yield Finding(
            "NotServed",
            f"the record says that revision {recorded.revision} is deployed since "
            f"{recorded.time}; the Portfolio's status names nothing as deployed",
        )
    if recorded is not None and recorded.manifest.sha256 not in said.decided:
        yield Finding(
            "NotRecorded",
            f"deployment {recorded.number} is of manifest {recorded.manifest.sha256}, whose "
            "decision is not recorded",
        )


def _manifest(shown: DeployedPortfolio | None, content: bytes | None) -> Iterator[Finding]:
    if shown is None:
        return
    if content is None:
        yield Finding("DigestDiffers", f"manifest {shown.manifest.sha256} is not in S3")
    elif sha256_of(content) != shown.manifest.sha256:
        yield Finding(
            "DigestDiffers",
            f"the manifest in S3 has SHA-256 {sha256_of(content)}, not {shown.manifest.sha256}",
        )


def _missing_servers(servers: Sequence[Mapping[str, Any]], said: Past) -> Iterator[Finding]:
    there = {server["metadata"]["name"] for server in servers}
    if said.deployed is None:
        return
    for policy in said.deployed.policies:
        if policy.service and policy.service not in there:
            yield Finding(
                "NotServed",
                f"policy {policy.name} is recorded as deployed since "
                f"{said.since.get(policy.name)}; its server {policy.service} is not there",
            )


def _servers(
    portfolio: Portfolio, servers: Sequence[Mapping[str, Any]], said: Past
) -> Iterator[Finding]:
    deployments = [*said.retiring, *([said.deployed] if said.deployed else [])]
    recorded = {p.service for d in deployments for p in d.policies if p.service}
    for server in servers:
        metadata = server["metadata"]
        shown = f"{server.get('kind', 'InferenceService')} {shown_name(metadata['name'])}"
        if not is_owned(server, portfolio.metadata.uid):
            yield Finding(
                "NotRecorded",
                f"{shown} carries the Portfolio's labels, and the Portfolio does not control it",
            )
            continue
        revision = str((metadata.get("labels") or {}).get(names.LABEL_REVISION, ""))
        if revision not in said.revisions:
            yield Finding(
                "OtherRevision",
                f"{shown} is of revision {shown_name(revision) or 'none'}, which the record does "
                f"not know",
            )
        if metadata["name"] not in recorded and not _is_coming(portfolio):
            yield Finding(
                "NotRecorded",
                f"{shown} serves {_policies(metadata)}; no "
                "recorded deployment has it, and nothing is being published",
            )
        yield from _digests(server, shown, deployments, said)


def _policies(metadata: Mapping[str, Any]) -> str:
    return ", ".join(map(shown_name, names.served_policies(metadata))) or "no policy"


def _is_coming(portfolio: Portfolio) -> bool:
    """Say whether servers of a portfolio that is not deployed yet are to be expected."""
    published = next((c for c in portfolio.status.conditions if c.type == "Published"), None)
    return published is None or published.status != "True"


def _digests(
    server: Mapping[str, Any], shown: str, deployments: Sequence[Deployed], said: Past
) -> Iterator[Finding]:
    """Compare what a server says and loads with what was decided."""
    decided = {
        policy.name: policy.policy_digest
        for deployment in deployments
        if deployment.manifest.sha256 in said.decided
        for policy in said.decided[deployment.manifest.sha256].policies
    }
    labelled, spec = _labelled(server["metadata"]), json.dumps(server.get("spec") or {})
    for name in names.served_policies(server["metadata"]):
        digest = decided.get(name)
        if digest is None:
            continue
        if labelled.get(name) != digest:
            yield Finding(
                "DigestDiffers",
                f"{shown} says that policy {name} has digest "
                f"{shown_name(str(labelled.get(name)))}; decided was {digest}",
            )
        if model_folder(digest) not in spec:
            yield Finding(
                "DigestDiffers", f"{shown} does not load the model of policy {name}, {digest}"
            )


def _labelled(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return the digests that a server's annotations name, by policy."""
    annotations = metadata.get("annotations") or {}
    alone = (metadata.get("labels") or {}).get(names.LABEL_POLICY)
    if alone:
        return {str(alone): str(annotations.get(names.ANNOTATION_POLICY_DIGEST, ""))}
    try:
        listed = json.loads(annotations.get(names.ANNOTATION_POLICIES, "{}"))
        return {str(name): str(entry["digest"]) for name, entry in listed.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
