"""The S3 server: a real one (versitygw) on a folder of the cluster."""

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from palm_devcluster.paths import ClusterPaths, write_private

REGION = "us-east-1"
_DATA = "data"
_SIDECAR = "metadata"


@dataclass(frozen=True)
class S3Access:
    """Where the S3 server is and how to get in; printing it does not show the secret."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str = REGION

    def create_bucket(self, name: str) -> None:
        """Create a bucket; one that is there is left as it is."""
        import boto3  # half a second that only this function needs
        from botocore.config import Config

        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(s3={"addressing_style": "path"}, proxies={}),
        )
        try:
            client.create_bucket(Bucket=name)
        except (client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
            return
        finally:
            client.close()


def ensure_access(paths: ClusterPaths, port: int) -> S3Access:
    """Return the generated credentials, the same ones as long as the cluster's data lives."""
    file = paths.s3_credentials
    if not file.is_file():
        made = {"access_key": secrets.token_hex(10), "secret_key": secrets.token_urlsafe(30)}
        write_private(file, json.dumps(made).encode())
    return S3Access(f"http://127.0.0.1:{port}", **json.loads(file.read_text(encoding="utf-8")))


def s3_argv(program: str, paths: ClusterPaths, port: int, *, audited: bool) -> tuple[str, ...]:
    """Return the server's command line; its folders are made here."""
    data, sidecar = paths.s3 / _DATA, paths.s3 / _SIDECAR
    data.mkdir(mode=0o700, exist_ok=True)
    listen: tuple[str, ...] = (
        "--port",
        f"127.0.0.1:{port}",
        "--region",
        REGION,
        "--quiet",
        "--health",
        "/health",
    )
    metadata: tuple[str, ...] = ()
    if not _has_attributes(data):
        sidecar.mkdir(mode=0o700, exist_ok=True)
        metadata = ("--sidecar", str(sidecar))
    if audited:
        listen = (*listen, "--access-log", str(paths.s3_requests))
    return (program, *listen, "posix", *metadata, str(data))


def _has_attributes(folder: Path) -> bool:
    try:
        os.setxattr(folder, "user.palm-devcluster", b"1")
    except OSError:
        return False
    return True
