"""What is asked of any API object: whose it is, and whether it is as wanted. Pure."""

from collections.abc import Mapping
from typing import Any


def is_owned(body: Mapping[str, Any], portfolio_uid: str) -> bool:
    """Say whether the Portfolio is the object's controller."""
    owners = body["metadata"].get("ownerReferences") or []
    return any(o.get("controller") and o.get("uid") == portfolio_uid for o in owners)


def contains(live: Any, wanted: Any) -> bool:
    """Say whether a live object already has everything that is wanted of it.

    Fields that others added do not matter; lists must agree entry by entry.
    """
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(
            key in live and contains(live[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(live, list)
            and len(live) == len(wanted)
            and all(contains(a, b) for a, b in zip(live, wanted, strict=True))
        )
    return bool(live == wanted)
