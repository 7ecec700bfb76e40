"""A Portfolio's record as an auditor reads it: is it whole, and what did it say when. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from palm.artifacts import record_name
from palm.errors import InvalidResult
from palm.schema import sha256_of
from palm_cli.inputs import shown_name
from palm_operator.api.status import RecordReference
from palm_operator.record.events import (
    Created,
    Decided,
    Deleted,
    Deployed,
    Entry,
    Event,
    Inputs,
    OracleCall,
    OracleCallFailed,
    Pinned,
    Retired,
    parsed_entry,
)
from palm_operator.times import parsed as parsed_time

_NAME = re.compile(r"\d{8}\.json")
_SHOWN = 12


@dataclass(frozen=True)
class Chain:
    """A record.

    Attributes:
        events: Every event with the uid of the Portfolio that it is about, in order.
        length: Number of the last entry.
        sha256: Of the last entry.
        faults: Where it is not whole, for people; empty: it is.
    """

    events: tuple[tuple[str, Event], ...] = ()
    length: int = 0
    sha256: str = ""
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Past:
    """What a record says of a time.

    Attributes:
        uid: The Portfolio of that name then; empty: there was none.
        deployed: What was deployed; None: nothing.
        since: Since when each of its policies was deployed without a break, by name.
        retiring: Earlier deployments of which something was left.
        inputs: What the deployed portfolio was made from.
        decided: Every decision until then, by the SHA-256 of its manifest.
        revisions: Every revision that it names.
        pin: The last change of ``spec.serving.pin``; None: it was never set.
        calls: Oracle calls until then.
        made: The last of them per policy and evaluation digest, whichever Portfolio made it.
        failures: Jobs that had failed.
        deleted: When the Portfolio was deleted; None: it was not.
    """

    uid: str = ""
    deployed: Deployed | None = None
    since: Mapping[str, str] = field(default_factory=dict)
    retiring: tuple[Deployed, ...] = ()
    inputs: Inputs | None = None
    decided: Mapping[str, Decided] = field(default_factory=dict)
    revisions: frozenset[str] = frozenset()
    pin: Pinned | None = None
    calls: int = 0
    made: Mapping[tuple[str, str], OracleCall] = field(default_factory=dict)
    failures: int = 0
    deleted: str | None = None


def chain(
    objects: Mapping[str, bytes], *, namespace: str, name: str, said: RecordReference | None = None
) -> Chain:
    """Return a record, with whatever is wrong with it.

    Args:
        objects: What lies in its folder, by name.
        namespace: Of the Portfolio.
        name: Of the Portfolio.
        said: Where it ends, as the Portfolio's status says.
    """
    numbers = sorted(int(key[:8]) for key in objects if _NAME.fullmatch(key))
    faults = [
        f"{shown_name(key)} is no entry" for key in sorted(objects) if not _NAME.fullmatch(key)
    ]
    last = numbers[-1] if numbers else 0
    faults += _missing(set(numbers), last)
    found: list[tuple[str, Event]] = []
    shas: dict[int, str] = {}
    for number in numbers:
        content = objects[record_name(number)]
        shas[number] = sha256_of(content)
        try:
            entry = parsed_entry(content)
            events = entry.parsed
        except InvalidResult as error:
            faults.append(f"entry {number} cannot be read: {error}")
            continue
        faults += _faults(entry, number, shas.get(number - 1), namespace=namespace, name=name)
        found += [(entry.portfolio.uid, event) for event in events]
    if said is not None:
        faults += _against(said, shas, last)
    return Chain(tuple(found), last, shas.get(last, ""), tuple(faults))


def _missing(numbers: set[int], last: int) -> Iterator[str]:
    lost = sorted(set(range(1, last + 1)) - numbers) if last - len(numbers) < 100_000 else []
    for number in lost[:_SHOWN]:
        yield f"entry {number} is missing"
    if last - len(numbers) > min(len(lost), _SHOWN):
        yield f"{last - len(numbers)} entries are missing altogether"


def _faults(
    entry: Entry, number: int, before: str | None, *, namespace: str, name: str
) -> Iterator[str]:
    whose = entry.portfolio
    if entry.sequence != number:
        yield f"entry {number} says that it is number {entry.sequence}"
    if (whose.namespace, whose.name) != (namespace, name):
        yield f"entry {number} is about {shown_name(f'{whose.namespace}/{whose.name}')}"
    # Where the one before is missing, that is said already.
    if entry.previous != before and (before is not None or number == 1):
        yield (
            f"entry {number} follows an entry with SHA-256 {entry.previous or 'none'}, but the one "
            f"before it has {before or 'none'}: one of them was changed"
        )


def _against(said: RecordReference, shas: Mapping[int, str], last: int) -> Iterator[str]:
    if said.entries > last:
        yield (
            f"the Portfolio's status knows {said.entries} entries and the last one there is "
            f"{last}: the end was removed"
        )
    elif shas.get(said.entries) not in (None, said.sha256):
        yield (
            f"entry {said.entries} has SHA-256 {shas[said.entries]}, but the Portfolio's status "
            f"says {said.sha256}: it was changed"
        )


def past(record: Chain, *, at: datetime | None = None) -> Past:
    """Return what a record says of a time; None: of now."""
    state = Past()
    inputs: dict[str, Inputs] = {}
    latest: Inputs | None = None
    made_from: dict[str, Inputs] = {}
    made: dict[tuple[str, str], OracleCall] = {}
    for uid, event in record.events:
        if at is not None and parsed_time(event.time) > at:
            continue
        if uid != state.uid:
            state, inputs = Past(uid=uid, calls=state.calls, failures=state.failures), {}
        if isinstance(event, Inputs):
            latest = inputs[event.revision] = event
            state = replace(state, revisions=state.revisions | {event.revision})
        elif isinstance(event, Decided):
            if latest is not None:
                made_from[event.manifest.sha256] = latest
            state = replace(
                state,
                decided={**state.decided, event.manifest.sha256: event},
                revisions=state.revisions | {event.revision},
            )
        else:
            if isinstance(event, OracleCall):
                made[event.policy_digest, event.evaluation_digest] = event
            state = _after(state, event)
    state = replace(state, made=made)
    if state.deployed is None:
        return state
    manifest, revision = state.deployed.manifest.sha256, state.deployed.revision
    return replace(state, inputs=made_from.get(manifest) or inputs.get(revision))


def _after(state: Past, event: Event) -> Past:
    match event:
        case OracleCall():
            return replace(state, calls=state.calls + 1)
        case OracleCallFailed():
            return replace(state, failures=state.failures + 1)
        case Pinned():
            return replace(state, pin=event)
        case Deployed():
            before = (state.deployed,) if state.deployed else ()
            kept = {(p.name, p.service) for d in before for p in d.policies}
            since = {
                policy.name: state.since.get(policy.name, event.time)
                if (policy.name, policy.service) in kept
                else event.time
                for policy in event.policies
            }
            retiring = (*state.retiring, *before)
            revisions = state.revisions | {event.revision}
            return replace(
                state, deployed=event, since=since, retiring=retiring, revisions=revisions
            )
        case Retired():
            left = tuple(d for d in state.retiring if d.number != event.number)
            return replace(state, retiring=left)
        case Deleted():
            return replace(state, deployed=None, since={}, retiring=(), deleted=event.time)
        case Created() | Inputs() | Decided():
            return state
