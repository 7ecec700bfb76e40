"""Reads records, manifests and samples from S3, with the caller's own credentials (``AWS_*``).

The only module of the command line that knows the store, and only once a record is asked for.
"""

import re
from concurrent.futures import ThreadPoolExecutor

from palm.artifacts import RECORDS, manifest_copy, record_folder
from palm.contract import StorageLocation
from palm.errors import InvalidResult, StoreUnavailable
from palm_cli.failures import Unavailable
from palm_operator.calls.evidence import MAX_BYTES

_READS_AT_ONCE = 16
_ENTRY = re.compile(r"([a-z0-9-]{1,63})/([a-z0-9.-]{1,253})/[^/]+")


class RecordStore:
    """One bucket and prefix.

    Every method raises Unavailable where S3 does not answer or refuses, naming the object.
    """

    def __init__(self, location: StorageLocation) -> None:
        from palm_store import S3Store

        self._store = S3Store(location)

    def record(self, namespace: str, name: str) -> dict[str, bytes]:
        """Return whatever lies in the folder of a Portfolio's record, by name."""
        folder = record_folder(namespace, name)

        def content(entry: str) -> bytes:
            return self.content(f"{folder}/{entry}") or b""

        try:
            entries = list(self._store.list(folder))
        except StoreUnavailable as error:
            raise _unavailable(error) from None
        with ThreadPoolExecutor(_READS_AT_ONCE) as threads:
            return dict(zip(entries, threads.map(content, entries), strict=True))

    def portfolios(self) -> list[tuple[str, str]]:
        """Return namespace and name of every Portfolio that has a record."""
        try:
            entries = map(_ENTRY.fullmatch, self._store.list(RECORDS))
            return sorted({(entry[1], entry[2]) for entry in entries if entry})
        except StoreUnavailable as error:
            raise _unavailable(error) from None

    def manifest(self, namespace: str, name: str, sha256: str) -> bytes | None:
        """Return a manifest; None where there is none."""
        return self.content(manifest_copy(namespace, name, sha256))

    def content(self, key: str, *, max_bytes: int = MAX_BYTES) -> bytes | None:
        """Return an object; None where there is none, and nothing of one that is too large."""
        try:
            return self._store.read(key, max_bytes=max_bytes)
        except InvalidResult:
            return b""  # larger than anything that is written there: it is shown as unreadable
        except StoreUnavailable as error:
            raise _unavailable(error) from None


def _unavailable(error: StoreUnavailable) -> Unavailable:
    return Unavailable(
        f"{error}: it is read with your own credentials, AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY or what else boto3 finds"
    )
