"""The storage initializer: ``initializer URI FOLDER [URI FOLDER …]``.

Endpoint, region and credentials come in the variables that KServe makes of a Secret and its
annotations, as for its own image.
"""

import os
import sys
from pathlib import Path

from palm.contract import StorageLocation
from palm.errors import InvalidResult, StoreUnavailable
from palm_store.fetch import fetch


def main(arguments: list[str] | None = None) -> int:
    """Download each URI into its folder; return the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or len(words) % 2:
        print("usage: initializer URI FOLDER [URI FOLDER …]", file=sys.stderr)
        return 2
    location = StorageLocation(
        bucket="",
        endpoint=os.environ.get("AWS_ENDPOINT_URL", ""),
        region=os.environ.get("AWS_DEFAULT_REGION", ""),
    )
    for uri, folder in zip(words[::2], words[1::2], strict=True):
        try:
            fetch(_pinned(uri), Path(folder), location)
        except (ValueError, InvalidResult, StoreUnavailable) as error:
            # KServe shows the end of this log as the reason of a model that is not loaded.
            print(f"{uri} cannot be downloaded: {error}", file=sys.stderr)
            return 1
        print(f"downloaded {uri}", flush=True)
    return 0


def _pinned(uri: str) -> str:
    """Return ``hf://org/name:revision``, as KServe writes it, as ``palm_store`` does."""
    return uri.replace(":", "@").replace("hf@", "hf:", 1) if uri.startswith("hf://") else uri


if __name__ == "__main__":
    sys.exit(main())
