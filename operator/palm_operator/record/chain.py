"""The record of a Portfolio: what was deployed when and why, as an append-only chain. Pure.

One immutable object per entry, numbered without a gap, each with the SHA-256 of the one before it.
The number is the object's name, and an object is only ever written where there is none, so two
writers cannot both write the next entry: the chain has no forks. What an entry says is decided by
comparing what is true with what the chain says already (``news``), so nothing is recorded
twice, whoever was killed when. ``docs/audit.md`` has the schema for readers.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from palm.errors import InvalidResult
from palm.schema import sha256_of
from palm_operator.record.events import (
    Created,
    Decided,
    Deleted,
    Deployed,
    Event,
    Inputs,
    OracleCall,
    OracleCallFailed,
    Pinned,
    Retired,
    parsed_entry,
)

_ENDLESS = 10**9
"""As many deployments nobody has: whoever may write to the bucket may write any number, and the
status must be able to hold the next."""


@dataclass(frozen=True)
class Recorded:
    """What a chain says, as far as it decides what is news.

    Attributes:
        sequence: Number of the last entry; 0: there is none.
        sha256: Of the last entry.
        uid: The Portfolio that it is about.
        is_deleted: Whether it says that this Portfolio was deleted.
        inputs: SHA-256 of the inputs.
        decision: SHA-256 of the manifest that was decided last.
        pin: Revision and SHA-256 that it is pinned to.
        calls: Policy and evaluation digest of every oracle call.
        failures: Uid of every Job that failed.
        deployed: Numbers of the deployments.
        retired: Numbers of those that are retired.
        newest: The last of the deployments.
    """

    sequence: int = 0
    sha256: str | None = None
    uid: str = ""
    is_deleted: bool = False
    inputs: str = ""
    decision: str = ""
    pin: tuple[str | None, str | None] = (None, None)
    calls: frozenset[tuple[str, str]] = frozenset()
    failures: frozenset[str] = frozenset()
    deployed: frozenset[int] = frozenset()
    retired: frozenset[int] = frozenset()
    newest: Deployed | None = None

    def last_deployment(self, uid: str) -> int:
        """Return the number of the last deployment of a Portfolio; 0: it has none."""
        newest = self.deployment(uid)
        return newest.number if newest else 0

    def deployment(self, uid: str) -> Deployed | None:
        """Return the last deployment of a Portfolio; None: it has none."""
        return self.newest if uid == self.uid else None


def followed(recorded: Recorded, sequence: int, content: bytes | None) -> Recorded:
    """Return what a chain says with one more entry.

    An entry that is missing or cannot be read (somebody else changed it) says nothing and breaks
    nothing: an auditor sees it, the operator goes on behind it.

    Args:
        recorded: What it says up to there.
        sequence: Number of the entry.
        content: The entry as it lies in S3; None: it is not there.
    """
    if content is None:
        return replace(recorded, sequence=sequence, sha256=None)
    recorded = replace(recorded, sequence=sequence, sha256=sha256_of(content))
    try:
        entry = parsed_entry(content)
        events = entry.parsed
    except InvalidResult:
        return recorded
    if entry.portfolio.uid != recorded.uid:
        recorded = Recorded(
            sequence=recorded.sequence,
            sha256=recorded.sha256,
            uid=entry.portfolio.uid,
            calls=recorded.calls,
            failures=recorded.failures,
        )
    return _with_events(recorded, events)


def _with_events(recorded: Recorded, events: Iterable[Event]) -> Recorded:
    calls: set[tuple[str, str]] = set()
    for event in events:
        match event:
            case Inputs():
                recorded = replace(recorded, inputs=event.sha256)
            case OracleCall():
                calls.add((event.policy_digest, event.evaluation_digest))
            case OracleCallFailed():
                recorded = replace(recorded, failures=recorded.failures | {event.uid})
            case Decided():
                recorded = replace(recorded, decision=event.manifest.sha256)
            case Pinned():
                recorded = replace(recorded, pin=(event.revision, event.sha256))
            case Deployed():
                recorded = _with_deployment(recorded, event)
            case Retired():
                recorded = replace(recorded, retired=recorded.retired | {event.number})
            case Deleted():
                recorded = replace(recorded, is_deleted=True)
            case Created():
                pass
    return replace(recorded, calls=recorded.calls | calls) if calls else recorded


def _with_deployment(recorded: Recorded, event: Deployed) -> Recorded:
    is_newest = recorded.newest is None or event.number > recorded.newest.number
    newest = event if is_newest and event.number < _ENDLESS else recorded.newest
    return replace(recorded, deployed=recorded.deployed | {event.number}, newest=newest)
