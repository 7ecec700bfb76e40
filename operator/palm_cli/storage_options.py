"""Options of the commands that read a Portfolio's S3, where no cluster says where that is."""

from typing import Annotated

import typer

from palm.contract import StorageLocation
from palm_cli.failures import InvalidInput
from palm_cli.inputs import shown

Storage = Annotated[
    str, typer.Option(metavar="s3://BUCKET/PREFIX", help="Where the record is; asks no cluster.")
]
Endpoint = Annotated[str, typer.Option(help="Of that storage; empty: AWS.")]
Region = Annotated[str, typer.Option(help="Of that storage.")]


def storage_option(storage: str, endpoint: str, region: str) -> StorageLocation | None:
    """Return the storage that is named; None where a Portfolio has to say it.

    Raises:
        InvalidInput: It is no ``s3://bucket/prefix``, or only the rest is named.
    """
    if not storage:
        if endpoint or region:
            raise InvalidInput(
                "--endpoint and --region go with --storage; else a Portfolio says it"
            )
        return None
    bucket, _, prefix = storage.removeprefix("s3://").partition("/")
    if not storage.startswith("s3://") or not bucket:
        raise InvalidInput(f"--storage is {shown(storage)}; it must be s3://BUCKET/PREFIX")
    return StorageLocation(
        bucket=bucket, prefix=prefix.strip("/"), endpoint=endpoint, region=region
    )


def needed_namespace(namespace: str) -> str:
    """Return the namespace, which nobody else can tell.

    Raises:
        InvalidInput: It is empty.
    """
    if not namespace:
        raise InvalidInput("--storage with a NAME needs --namespace: no cluster is asked")
    return namespace
