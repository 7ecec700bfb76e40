"""What is true of a Portfolio and not in its record yet. Pure.

Nothing here remembers: what is news is the difference between what is observed and what the chain
says, so an operator that was killed between two writes goes on where it was. Deployments are
recorded from the status, which the operator has written before: their times are those that people
saw there. No message of another program is recorded, only its reason: it might hold a secret.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version

from palm import artifacts
from palm.contract import canonical_json
from palm.evaluations import MadeFrom, Source
from palm.schema import sha256_of
from palm_operator.api.portfolio import Portfolio
from palm_operator.api.status import (
    DeployedPortfolio,
    DeployedRevision,
    Guarantee,
    RecordReference,
)
from palm_operator.calls.outcomes import is_evaluated
from palm_operator.calls.requests import storage_location
from palm_operator.calls.work import Work
from palm_operator.deciding.ledger import inputs_of
from palm_operator.deciding.manifest_file import ManifestFile, parsed_manifest
from palm_operator.jobs.observed_jobs import Job
from palm_operator.names import Step
from palm_operator.observed import Observed
from palm_operator.record.chain import Recorded
from palm_operator.record.events import (
    EVENTS_LIMIT,
    Claimed,
    Content,
    Created,
    Decided,
    Deleted,
    Deployed,
    Entry,
    Event,
    Inputs,
    Made,
    ManifestAt,
    OracleCall,
    OracleCallFailed,
    Pinned,
    ReadBy,
    RecordedPolicy,
    Retired,
    Whose,
    entry_bytes,
    event_document,
)
from palm_operator.said.status import number
from palm_operator.serving.chosen import claimed
from palm_operator.serving.publication import leftovers
from palm_operator.times import stamp
from palm_operator.writes import ObjectWrite

_REASON = re.compile(r"[A-Za-z0-9]{1,64}")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_IMAGE = re.compile(r"[\w.:/@-]{1,512}", re.ASCII)


@dataclass(frozen=True)
class Recording:
    """What is to be written to the record, and what the status says of it.

    Attributes:
        writes: The next entry; none where nothing is news.
        reference: The chain's end once that is written; None while there is no chain.
    """

    writes: tuple[ObjectWrite, ...]
    reference: RecordReference | None


def recording(
    portfolio: Portfolio,
    work: Work,
    observed: Observed,
    *,
    manifest: bytes | None = None,
    now: datetime,
) -> Recording:
    """Return the next entry of the record.

    Args:
        portfolio: With the status that was last written.
        work: What is determined of it.
        observed: What there is, its record included.
        manifest: Of the decision, where there is one.
        now: The time.
    """
    recorded = observed.record
    if recorded is None:
        return Recording((), portfolio.status.record)
    events = tuple(_news(portfolio, work, observed, recorded, manifest, stamp(now)))
    return _recording(portfolio, recorded, events[:EVENTS_LIMIT], now=now)


def deletion(portfolio: Portfolio, recorded: Recorded, *, now: datetime) -> Recording:
    """Return the last entry about a Portfolio that is deleted; nothing where it has no record."""
    metadata = portfolio.metadata
    if not recorded.sequence or recorded.uid != metadata.uid or recorded.is_deleted:
        return Recording((), None)
    when = metadata.deletion_timestamp or stamp(now)
    return _recording(portfolio, recorded, (Deleted(time=when),), now=now)


def _recording(
    portfolio: Portfolio, recorded: Recorded, events: tuple[Event, ...], *, now: datetime
) -> Recording:
    metadata = portfolio.metadata
    sequence, sha256 = recorded.sequence, recorded.sha256
    writes: tuple[ObjectWrite, ...] = ()
    if events:
        sequence += 1
        whose = Whose(namespace=metadata.namespace, name=metadata.name, uid=metadata.uid)
        content = entry_bytes(
            Entry(
                portfolio=whose,
                sequence=sequence,
                previous=recorded.sha256,
                written=stamp(now),
                operator=version("palm-operator"),
                events=tuple(event_document(event) for event in events),
            )
        )
        key = artifacts.record_entry(metadata.namespace, metadata.name, sequence)
        writes, sha256 = (ObjectWrite(key, content, exclusive=True),), sha256_of(content)
    if not sequence:
        return Recording((), None)
    folder = artifacts.record_folder(metadata.namespace, metadata.name)
    uri = artifacts.uri(storage_location(portfolio.spec), folder)
    return Recording(writes, RecordReference(uri=uri, entries=sequence, sha256=sha256 or ""))


def _news(
    portfolio: Portfolio,
    work: Work,
    observed: Observed,
    recorded: Recorded,
    manifest: bytes | None,
    when: str,
) -> Iterator[Event]:
    metadata, spec = portfolio.metadata, portfolio.spec
    if recorded.uid != metadata.uid:
        # An earlier Portfolio of this name: what it had says nothing about this one.
        recorded = Recorded(calls=recorded.calls, failures=recorded.failures)
        begun = metadata.creation_timestamp or when
        yield Created(time=begun, operator_class=spec.operator_class)
    inputs = inputs_of(portfolio)
    sha256 = sha256_of(canonical_json(inputs).encode())
    if sha256 != recorded.inputs:
        yield Inputs(
            time=when,
            revision=work.revision,
            generation=metadata.generation,
            sha256=sha256,
            inputs=inputs,
        )
    yield from _calls(work, observed, recorded, when)
    yield from _failures(observed.jobs, recorded, when)
    if manifest is not None and sha256_of(manifest) != recorded.decision:
        yield _decided(portfolio, manifest, when)
    pin = (spec.serving.pin.revision, spec.serving.pin.sha256) if spec.serving.pin else (None, None)
    if pin != recorded.pin:
        yield Pinned(time=when, generation=metadata.generation, revision=pin[0], sha256=pin[1])
    yield from _deployments(portfolio, recorded)
    yield from _forgotten(portfolio, observed, recorded, when)


def _calls(work: Work, observed: Observed, recorded: Recorded, when: str) -> Iterator[OracleCall]:
    for policy in work.every:
        call = (policy.digest, policy.evaluation_digest)
        if call not in recorded.calls and is_evaluated(policy, observed.evidence):
            made = observed.evidence.results[policy.evaluation_digest].provenance
            trained = made.training if made else None
            yield OracleCall(
                time=when,
                revision=work.revision,
                policy=policy.name,
                weights=_weights(policy.weights),
                policy_digest=policy.digest,
                evaluation_digest=policy.evaluation_digest,
                training=None
                if policy.mixture
                else _made(observed, Step.TRAIN, policy.digest, policy.record_key, trained),
                evaluation=_made(
                    observed, Step.EVALUATE, policy.evaluation_digest, policy.result_key, made
                ),
            )


def _made(observed: Observed, step: Step, digest: str, key: str, made: MadeFrom | None) -> Made:
    jobs = [job for job in observed.jobs_of(step, digest) if job.uid]
    sha256, read = observed.evidence.sha256.get(key), _read(made) if made else None
    if not jobs:
        return Made(key=key, sha256=sha256, read=read)
    return Made(key=key, sha256=sha256, job=jobs[-1].name, uid=jobs[-1].uid, read=read)


def _read(made: MadeFrom) -> ReadBy:
    """Return what an image says that it read; it is tenants' data, and only digests are taken."""
    return ReadBy(
        image=made.image if _IMAGE.fullmatch(made.image) else None,
        base_model=_content(made.base_model),
        prompts=_content(made.prompts),
        rewards={item.name: _content(item.source) for item in made.rewards if item.source},
    )


def _content(source: Source) -> Content:
    revision = source.revision or ""
    return Content(sha256=source.sha256, revision=revision if _COMMIT.fullmatch(revision) else None)


def _failures(jobs: Iterable[Job], recorded: Recorded, when: str) -> Iterator[OracleCallFailed]:
    for job in sorted(jobs, key=lambda job: (job.name, job.uid)):
        if job.owned and job.state == "Failed" and job.uid not in recorded.failures:
            yield OracleCallFailed(
                time=when,
                revision=job.revision,
                policy=job.policy,
                step=job.step,
                digest=job.digest,
                attempt=job.attempt,
                job=job.name,
                uid=job.uid,
                reason=job.reason if _REASON.fullmatch(job.reason) else "",
            )


def _decided(portfolio: Portfolio, content: bytes, when: str) -> Decided:
    manifest, sha256 = parsed_manifest(content), sha256_of(content)
    metadata = portfolio.metadata
    key = artifacts.manifest_copy(metadata.namespace, metadata.name, sha256)
    uri = artifacts.uri(storage_location(portfolio.spec), key)
    return Decided(
        time=when,
        revision=manifest.portfolio.revision,
        generation=metadata.generation,
        manifest=ManifestAt(uri=uri, sha256=sha256),
        policies=_survivors(manifest),
        guarantee=_claimed(claimed(manifest)),
    )


def _survivors(manifest: ManifestFile) -> tuple[RecordedPolicy, ...]:
    return tuple(
        RecordedPolicy(
            name=policy.name,
            weights=_weights(policy.weights),
            policy_digest=policy.policy_digest,
            evaluation_digest=policy.evaluation_digest,
        )
        for policy in manifest.survivors
    )


def _deployments(portfolio: Portfolio, recorded: Recorded) -> Iterator[Deployed | Retired]:
    status = portfolio.status
    for entry in status.revisions:
        if entry.number not in recorded.deployed:
            yield _deployed(entry, status.portfolio)
        if entry.retired and entry.number not in recorded.retired:
            yield Retired(time=entry.retired, number=entry.number)


def _forgotten(
    portfolio: Portfolio, observed: Observed, recorded: Recorded, when: str
) -> Iterator[Retired]:
    """Retire earlier deployments of which a status that was lost can tell no more."""
    status = portfolio.status
    if status.portfolio is None or not status.revisions:
        return
    needed = frozenset(p.service for p in status.portfolio.policies if p.service)
    if leftovers(observed, needed):
        return
    first = status.revisions[0].number
    for earlier in sorted(recorded.deployed - recorded.retired):
        if earlier < first:
            yield Retired(time=when, number=earlier)


def _deployed(entry: DeployedRevision, shown: DeployedPortfolio | None) -> Deployed:
    is_it = shown is not None and shown.since == entry.deployed
    return Deployed(
        time=entry.deployed,
        number=entry.number,
        revision=entry.revision,
        reason=entry.reason,
        generation=entry.generation,
        size=entry.size,
        manifest=ManifestAt(uri=entry.manifest.uri, sha256=entry.manifest.sha256),
        policies=tuple(
            RecordedPolicy(
                name=policy.name,
                weights=tuple(policy.weights),
                service=policy.service,
                usage=policy.usage,
            )
            for policy in (shown.policies if shown is not None and is_it else ())
        ),
        guarantee=_claimed(shown.guarantee) if shown is not None and is_it else None,
    )


def _claimed(guarantee: Guarantee) -> Claimed:
    return Claimed(
        epsilon=guarantee.epsilon,
        delta=guarantee.delta,
        scope=guarantee.scope,
        confidence=guarantee.confidence,
        proven=guarantee.proven,
        cover_size=guarantee.cover_size,
    )


def _weights(weights: Iterable[float]) -> tuple[str, ...]:
    return tuple(number(weight) for weight in weights)
