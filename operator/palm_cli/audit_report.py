"""What `palm audit` answers, as documents, rows and lines. Pure."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from palm_cli.audit_chain import Chain, Past
from palm_cli.audit_findings import Finding
from palm_cli.inputs import shown_name
from palm_operator.api.portfolio import Portfolio
from palm_operator.record.events import OracleCall, RecordedPolicy

COLUMNS = (
    "namespace", "name", "uid", "revision", "deployment", "since", "reason", "policies", "policy",
    "weights", "usage", "policy_since", "policy_digest", "service", "ready", "epsilon", "delta",
    "scope", "confidence", "proven", "cover_size", "inputs_revision", "inputs_sha256",
    "manifest_sha256", "record_entries", "record_sha256", "disagreements",
    "base_model_sha256", "train_prompts_sha256", "evaluation_prompts_sha256",
)  # fmt: skip


@dataclass(frozen=True)
class Audited:
    """One Portfolio, and what its record says.

    Attributes:
        namespace: Of the Portfolio.
        name: Of the Portfolio.
        said: What the record says of the time that was asked for.
        record: The record.
        portfolio: As the API server has it; None where only the record was asked.
        found: Where both disagree.
    """

    namespace: str
    name: str
    said: Past
    record: Chain
    portfolio: Portfolio | None = None
    found: Sequence[Finding] = field(default_factory=tuple)

    @property
    def agrees(self) -> bool:
        """Say whether cluster and record agree, and the record is whole."""
        return not self.found

    @property
    def is_unread(self) -> bool:
        """Say whether nothing is known of it, as S3 or the API server refuses to tell."""
        return any(finding.kind == "Unreadable" for finding in self.found)


def document(audited: Audited) -> dict[str, Any]:
    """Return one Portfolio's answer for programs."""
    said, deployed = audited.said, audited.said.deployed
    pin = said.pin if said.pin and said.pin.sha256 else None
    return {
        "namespace": audited.namespace,
        "name": audited.name,
        "uid": said.uid or None,
        "deployed": None
        if deployed is None
        else {
            "number": deployed.number,
            "revision": deployed.revision,
            "since": deployed.time,
            "reason": deployed.reason,
            "generation": deployed.generation,
            "size": deployed.size,
            "policies": [_policy(audited, policy) for policy in deployed.policies],
            "guarantee": deployed.guarantee
            and deployed.guarantee.model_dump(mode="json", by_alias=True),
            "manifest": deployed.manifest.model_dump(mode="json"),
            "inputs": said.inputs
            and said.inputs.model_dump(mode="json", by_alias=True, exclude={"type"}),
        },
        "retiring": [
            {"number": d.number, "revision": d.revision, "since": d.time} for d in said.retiring
        ],
        "pin": pin and {"revision": pin.revision, "sha256": pin.sha256, "since": pin.time},
        "deleted": said.deleted,
        "oracleCalls": {"recorded": said.calls, "failed": said.failures},
        "record": {"entries": audited.record.length, "sha256": audited.record.sha256},
        "agrees": audited.agrees,
        "disagreements": [
            {"kind": finding.kind, "message": finding.message} for finding in audited.found
        ],
    }


def _policy(audited: Audited, policy: RecordedPolicy) -> dict[str, Any]:
    return {
        "name": policy.name,
        "weights": list(policy.weights),
        "usage": policy.usage,
        "since": audited.said.since.get(policy.name),
        "policyDigest": _digest(audited, policy),
        "madeFrom": _made_from(audited, policy),
        "service": policy.service,
        "ready": _ready(audited, policy),
    }


def _digest(audited: Audited, policy: RecordedPolicy) -> str | None:
    decided = _decided(audited, policy)
    return decided.policy_digest if decided else None


def _decided(audited: Audited, policy: RecordedPolicy) -> RecordedPolicy | None:
    deployed = audited.said.deployed
    decided = audited.said.decided.get(deployed.manifest.sha256) if deployed else None
    return next((p for p in (decided.policies if decided else ()) if p.name == policy.name), None)


def _call(audited: Audited, policy: RecordedPolicy) -> OracleCall | None:
    decided = _decided(audited, policy)
    if decided is None:
        return None
    digests = decided.policy_digest or "", decided.evaluation_digest or ""
    return audited.said.made.get(digests)


def _made_from(audited: Audited, policy: RecordedPolicy) -> dict[str, Any] | None:
    """Return which Jobs and which contents made a policy and its result, as the record has it."""
    call = _call(audited, policy)
    if call is None:
        return None
    return {
        "training": call.training and call.training.model_dump(mode="json", by_alias=True),
        "evaluation": call.evaluation.model_dump(mode="json", by_alias=True),
    }


def _read_shas(audited: Audited, policy: RecordedPolicy) -> dict[str, str]:
    """Return the SHA-256 of what a policy was made from; an empty text where nobody told."""
    call = _call(audited, policy)
    trained = call.training.read if call and call.training else None
    evaluated = call.evaluation.read if call else None
    either = trained or evaluated
    return {
        "base_model_sha256": either.base_model.sha256 if either else "",
        "train_prompts_sha256": trained.prompts.sha256 if trained else "",
        "evaluation_prompts_sha256": evaluated.prompts.sha256 if evaluated else "",
    }


def _ready(audited: Audited, policy: RecordedPolicy) -> bool | None:
    """Say whether a policy answers now; None where that was not asked."""
    shown = audited.portfolio.status.portfolio if audited.portfolio else None
    if shown is None:
        return None
    return next((p.ready for p in shown.policies if p.name == policy.name), None)


def csv_text(everything: Sequence[Audited]) -> str:
    """Return a line per deployed policy, and one for a Portfolio without any."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for audited in everything:
        writer.writerows(_csv_rows(audited))
    return text.getvalue()


def _csv_rows(audited: Audited) -> Iterator[dict[str, Any]]:
    said, deployed = audited.said, audited.said.deployed
    common: dict[str, Any] = {
        "namespace": audited.namespace,
        "name": audited.name,
        "uid": said.uid,
        "policies": deployed.size if deployed else "" if audited.is_unread else 0,
        "record_entries": audited.record.length,
        "record_sha256": audited.record.sha256,
        "disagreements": "; ".join(f"{f.kind}: {f.message}" for f in audited.found),
    }
    if deployed is None:
        yield common
        return
    claim = deployed.guarantee
    common |= {
        "revision": deployed.revision,
        "deployment": deployed.number,
        "since": deployed.time,
        "reason": deployed.reason,
        "manifest_sha256": deployed.manifest.sha256,
        "inputs_revision": said.inputs.revision if said.inputs else "",
        "inputs_sha256": said.inputs.sha256 if said.inputs else "",
        **(claim.model_dump(mode="json") if claim else {}),
    }
    for policy in deployed.policies or (None,):
        if policy is None:
            yield common
            continue
        ready = _ready(audited, policy)
        yield {
            **common,
            "policy": policy.name,
            "weights": " ".join(policy.weights),
            "usage": policy.usage or "",
            "policy_since": said.since.get(policy.name, ""),
            "policy_digest": _digest(audited, policy) or "",
            **_read_shas(audited, policy),
            "service": policy.service or "",
            "ready": "" if ready is None else str(ready).lower(),
        }


def rows(everything: Sequence[Audited]) -> Iterator[list[str]]:
    """Yield a line per Portfolio, for people."""
    for audited in everything:
        deployed = audited.said.deployed
        claim = deployed.guarantee if deployed else None
        yield [
            f"{audited.namespace}/{audited.name}",
            str(deployed.size) if deployed else "?" if audited.is_unread else "0",
            deployed.time if deployed else "-",
            deployed.revision if deployed else "-",
            claim.epsilon if claim else "-",
            "yes" if audited.agrees else "?" if audited.is_unread else f"no ({len(audited.found)})",
        ]


# As narrow as a terminal: what else there is, -o json and csv have.
ROWS = ("PORTFOLIO", "POLICIES", "SINCE", "REVISION", "EPSILON", "AGREES")
POLICY_ROWS = ("POLICY", "WEIGHTS", "USAGE", "SINCE", "READY")


def policy_rows(audited: Audited) -> Iterator[list[str]]:
    """Yield a line per deployed policy of one Portfolio."""
    for policy in audited.said.deployed.policies if audited.said.deployed else ():
        ready = _ready(audited, policy)
        yield [
            policy.name,
            ", ".join(policy.weights),
            policy.usage or "-",
            audited.said.since.get(policy.name, "-"),
            "-" if ready is None else "yes" if ready else "no",
        ]


def _rewards(inputs: Mapping[str, Any]) -> list[Any]:
    listed = inputs.get("rewards")
    entries = listed if isinstance(listed, list) else []
    return [entry.get("name") for entry in entries if isinstance(entry, dict)]


def _contents(audited: Audited) -> Iterator[tuple[str, str]]:
    """Yield the SHA-256 of what the deployed policies were made from, where that is recorded."""
    policies = audited.said.deployed.policies if audited.said.deployed else ()
    told = [_read_shas(audited, policy) for policy in policies]
    for column in ("base_model_sha256", "train_prompts_sha256", "evaluation_prompts_sha256"):
        if found := sorted({shas[column] for shas in told if shas[column]}):
            yield column.removesuffix("_sha256").replace("_", " "), f"sha256 {', '.join(found)}"


def facts(audited: Audited) -> list[tuple[str, str]]:
    """Return what the tables leave out, about one Portfolio."""
    said, deployed = audited.said, audited.said.deployed
    found = [("record", f"{audited.record.length} entries")]
    found += [("oracle calls", f"{said.calls} recorded, {said.failures} failed Jobs")]
    if deployed is not None and deployed.guarantee is not None:
        claim = deployed.guarantee
        confidence = f", confidence {claim.confidence}" if claim.confidence else ""
        scope = "every preference" if claim.scope == "Simplex" else "the grid"
        shown = f"epsilon={claim.epsilon}, delta={claim.delta} for {scope}{confidence}"
        best = f"; best effort instead of {claim.cover_size}" if claim.cover_size else ""
        found.append(("guarantee", f"{shown}{best}"))
    if deployed is not None:
        found.append(("deployment", f"number {deployed.number}, {deployed.reason}"))
        found.append(("manifest", f"{deployed.manifest.uri}"))
    if said.inputs is not None:
        made = said.inputs
        rewards = ", ".join(shown_name(str(name)) for name in _rewards(made.inputs))
        found += [
            ("inputs", f"revision {made.revision} since {made.time}, sha256 {made.sha256}"),
            ("base model", shown_name(str(made.inputs.get("baseModel")))),
            *_contents(audited),
            ("rewards", rewards),
        ]
    if said.pin is not None and said.pin.sha256:
        found.append(("pinned", f"to revision {said.pin.revision} since {said.pin.time}"))
    if said.deleted is not None:
        found.append(("deleted", said.deleted))
    return found
