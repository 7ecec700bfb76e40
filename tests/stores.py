"""What tests of stores and Jobs share: a bucket on the real S3 server."""

import uuid
from typing import Any

import pytest

from palm.contract import StorageLocation


def s3_environment(cluster: Any) -> dict[str, str]:
    """Return the credentials of the cluster's S3 server as boto3 reads them."""
    return {
        "AWS_ACCESS_KEY_ID": cluster.s3.access_key,
        "AWS_SECRET_ACCESS_KEY": cluster.s3.secret_key,
    }


def s3_location(cluster: Any, bucket: str, monkeypatch: pytest.MonkeyPatch) -> StorageLocation:
    """Return a fresh prefix of a bucket, with the credentials set in the environment."""
    for name, value in s3_environment(cluster).items():
        monkeypatch.setenv(name, value)
    cluster.s3.create_bucket(bucket)
    return StorageLocation(
        bucket=bucket, prefix=f"test-{uuid.uuid4().hex}", endpoint=cluster.s3.endpoint
    )
