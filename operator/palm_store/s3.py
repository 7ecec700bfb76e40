"""The store on S3, or on a server that speaks its protocol. The only importer of boto3.

Credentials come from boto3's own chain (environment, shared file, role), never from a request.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from boto3.exceptions import S3UploadFailedError
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from palm.artifacts import under
from palm.contract import StorageLocation
from palm.errors import StoreUnavailable
from palm_store.store import local_files, safe_target, too_large, wanted

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
_PRECONDITION = frozenset({"412", "PreconditionFailed", "409", "ConditionalRequestConflict"})
_CONNECT_SECONDS = 5
_READ_SECONDS = 60
_ATTEMPTS = 5
_DEFAULT_REGION = "us-east-1"  # signing needs one; servers other than AWS's ignore it


class S3Store:
    """A ``ResultStore`` on one bucket and prefix."""

    def __init__(self, location: StorageLocation) -> None:
        self.location = location
        self._client = _client(location)

    def read(self, key: str, *, max_bytes: int) -> bytes | None:
        """Return an object's content, or None where there is no such object."""
        with self._explained(key):
            try:
                response = self._client.get_object(Bucket=self.location.bucket, Key=self._key(key))
            except ClientError as problem:
                if _code(problem) in _ABSENT:
                    return None
                raise
            with response["Body"] as body:
                if response["ContentLength"] > max_bytes:
                    raise too_large(self._where(key), response["ContentLength"], max_bytes)
                return body.read()

    def exists(self, key: str) -> bool:
        """Say whether there is such an object."""
        with self._explained(key):
            try:
                self._client.head_object(Bucket=self.location.bucket, Key=self._key(key))
            except ClientError as problem:
                if _code(problem) in _ABSENT:
                    return False
                raise
            return True

    def write(self, key: str, content: bytes) -> None:
        """Write an object, replacing what is there."""
        with self._explained(key):
            self._client.put_object(Bucket=self.location.bucket, Key=self._key(key), Body=content)

    def write_if_absent(self, key: str, content: bytes) -> bool:
        """Write an object unless there is one; say whether it was written."""
        with self._explained(key):
            try:
                self._client.put_object(
                    Bucket=self.location.bucket, Key=self._key(key), Body=content, IfNoneMatch="*"
                )
            except ClientError as problem:
                if _code(problem) in _PRECONDITION:
                    return False
                raise
            return True

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        with self._explained(key):
            self._client.delete_object(Bucket=self.location.bucket, Key=self._key(key))

    def list(self, folder: str) -> dict[str, int]:
        """Return the size of every object below a folder, by its name relative to the folder."""
        start = f"{self._key(folder).rstrip('/')}/".lstrip("/")
        with self._explained(folder):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.location.bucket, Prefix=start
            )
            return {
                item["Key"].removeprefix(start): item["Size"]
                for page in pages
                for item in page.get("Contents", [])
                if not item["Key"].endswith("/")  # markers of folders, from consoles
            }

    def upload_folder(self, source: Path, folder: str) -> dict[str, int]:
        """Write every file below a local folder; return their sizes by relative name."""
        files = local_files(source)
        for name, path in files.items():
            with self._explained(f"{folder}/{name}"):
                self._client.upload_file(
                    str(path), self.location.bucket, self._key(f"{folder}/{name}")
                )
        return {name: path.stat().st_size for name, path in files.items()}

    def download_folder(
        self, folder: str, target: Path, *, without: tuple[str, ...] = ()
    ) -> dict[str, int]:
        """Read every object below a folder into a local one; return their sizes by name."""
        names = wanted(self.list(folder), without, where=self._where(folder))
        targets = {name: safe_target(target, name) for name in names}
        for name, path in targets.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._explained(f"{folder}/{name}"):
                self._client.download_file(
                    self.location.bucket, self._key(f"{folder}/{name}"), str(path)
                )
        return names

    def _key(self, key: str) -> str:
        return under(self.location, key)

    def _where(self, key: str) -> str:
        endpoint = f" at {self.location.endpoint}" if self.location.endpoint else ""
        return f"s3://{self.location.bucket}/{self._key(key)}{endpoint}"

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        """Turn boto3's errors into ``StoreUnavailable``; names the object, never a credential."""
        try:
            yield
        except ClientError as problem:
            status = problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "unknown")
            raise StoreUnavailable(
                f"{self._where(key)}: S3 answered {_code(problem)} (HTTP {status})",
                code=_code(problem),
            ) from None
        except OSError as problem:
            if problem.errno in (errno.ENOSPC, errno.EDQUOT):
                raise  # this machine's disk, not the store
            raise StoreUnavailable(f"{self._where(key)}: {type(problem).__name__}") from None
        except (BotoCoreError, S3UploadFailedError) as problem:
            # Only the type: the text of an upload error may repeat the signed request.
            kind = type(problem).__name__
            raise StoreUnavailable(f"{self._where(key)}: {kind}", code=kind) from None


def _code(problem: ClientError) -> str:
    return str(problem.response.get("Error", {}).get("Code", "unknown"))


def _client(location: StorageLocation) -> "S3Client":
    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        s3={"addressing_style": "path" if location.endpoint else "auto"},
        # Servers other than AWS's need not know the newer checksum trailers.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    # A session of its own: boto3's default session is shared between threads.
    return boto3.session.Session().client(
        "s3",
        endpoint_url=location.endpoint or None,
        region_name=location.region or _DEFAULT_REGION,
        config=config,
    )
