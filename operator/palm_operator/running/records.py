"""Reads the records: all of one once, afterwards only what was added to it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from palm import artifacts
from palm.contract import StorageLocation
from palm.errors import InvalidResult
from palm_operator.api.portfolio import Portfolio
from palm_operator.calls.evidence import MAX_BYTES
from palm_operator.calls.requests import storage_location
from palm_operator.record.chain import Recorded, followed
from palm_store import ResultStore

_READS_AT_ONCE = 16


class Records:
    """What the records say, as far as it is known here.

    Nobody else writes to a record while this operator leads; should it happen, its own next write
    finds that the number is taken, and reads on.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[StorageLocation, str], Recorded] = {}
        self._grown: set[tuple[StorageLocation, str]] = set()

    def read(self, store: ResultStore, portfolio: Portfolio) -> Recorded:
        """Return what a Portfolio's record says; asks S3 the first time, and when it has grown."""
        metadata, location = portfolio.metadata, storage_location(portfolio.spec)
        folder = artifacts.record_folder(metadata.namespace, metadata.name)
        known = self._known.get((location, folder))
        if known is None:
            known = whole_record(store, portfolio)
        elif (location, folder) in self._grown:
            known = _continued(store, folder, known)
        self._known[location, folder] = known
        self._grown.discard((location, folder))
        return known

    def grown(self, location: StorageLocation, key: str) -> None:
        """Note that an entry was written, by whomever."""
        self._grown.add((location, key.rpartition("/")[0]))


def whole_record(store: ResultStore, portfolio: Portfolio) -> Recorded:
    """Return what a Portfolio's record says, read from its beginning.

    The status says how long it was and how it ended: an end that somebody removed is not written
    anew, so that it stays visible.
    """
    metadata, location = portfolio.metadata, storage_location(portfolio.spec)
    folder = artifacts.record_folder(metadata.namespace, metadata.name)
    names = set(store.list(folder))
    said = portfolio.status.record
    if said is not None and said.uri != artifacts.uri(location, folder):
        said = None  # the storage is another one now
    last = anchored = said.entries if said else 0
    while artifacts.record_name(last + 1) in names:
        last += 1

    def content(sequence: int) -> bytes | None:
        is_there = artifacts.record_name(sequence) in names
        return _content(store, folder, sequence) if is_there else None

    recorded = Recorded()
    with ThreadPoolExecutor(_READS_AT_ONCE) as threads:
        for sequence, found in enumerate(threads.map(content, range(1, last + 1)), start=1):
            recorded = followed(recorded, sequence, found)
    if said is not None and last == anchored:
        recorded = replace(recorded, sha256=said.sha256)
    return recorded


def _continued(store: ResultStore, folder: str, known: Recorded) -> Recorded:
    while (found := _content(store, folder, known.sequence + 1)) is not None:
        known = followed(known, known.sequence + 1, found)
    return known


def _content(store: ResultStore, folder: str, sequence: int) -> bytes | None:
    try:
        return store.read(f"{folder}/{artifacts.record_name(sequence)}", max_bytes=MAX_BYTES)
    except InvalidResult:
        return b""  # too large to be ours: it takes the place of an entry and says nothing
