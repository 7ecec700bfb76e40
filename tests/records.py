"""A record as tests compare it: what it tells, and that its chain is whole."""

import json
from collections.abc import Mapping
from typing import Any

from palm.schema import sha256_of

# When something was seen, and which of several Jobs of one name it was, differs between two lives
# of one Portfolio; so does into which entries the events were divided.
_NOT_TOLD = ("time", "uid")


def entries(objects: Mapping[str, bytes], folder: str) -> list[dict[str, Any]]:
    """The entries of a record, in order."""
    keys = sorted(key for key in objects if key.startswith(f"{folder}/"))
    return [json.loads(objects[key]) for key in keys]


def events(objects: Mapping[str, bytes], folder: str, *types: str) -> list[dict[str, Any]]:
    """The events of a record, in order; all of them, or those of some types."""
    found = [event for entry in entries(objects, folder) for event in entry["events"]]
    return [event for event in found if not types or event["type"] in types]


def told(objects: Mapping[str, bytes], folder: str) -> list[str]:
    """What a record tells, without what differs between two lives of one Portfolio.

    The digest of the inputs does, where the lives are in different namespaces: the inputs are told.
    """
    found = [_timeless(event) for event in events(objects, folder)]
    for event in found:
        if event["type"] == "Inputs":
            del event["sha256"]
    return sorted(json.dumps(event, sort_keys=True) for event in found)


def assert_chained(objects: Mapping[str, bytes], folder: str) -> str | None:
    """See that a record has no gap, and return the SHA-256 of its last entry."""
    previous = None
    keys = sorted(key for key in objects if key.startswith(f"{folder}/"))
    for sequence, key in enumerate(keys, start=1):
        entry = json.loads(objects[key])
        assert key == f"{folder}/{sequence:08d}.json"
        assert entry["sequence"] == sequence
        assert entry.get("previous") == previous
        previous = sha256_of(objects[key])
    return previous


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in _NOT_TOLD}
    return [_timeless(entry) for entry in value] if isinstance(value, list) else value
