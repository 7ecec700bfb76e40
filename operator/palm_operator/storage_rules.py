"""Where Portfolios may have their artefacts: the operator goes there with its own identity. Pure.

A tenant who could name any place would read and write with the operator's rights: another tenant's
policies, or a host of its own that learns the operator's credentials.
"""

import re
from dataclasses import dataclass

from palm.contract import StorageLocation

_LOCATION = re.compile(r"[a-z0-9{][a-z0-9.{}-]*[a-z0-9}](/[A-Za-z0-9._={}-]+)*")
_NAMESPACE = "{namespace}"


@dataclass(frozen=True)
class StorageRules:
    """Endpoints besides AWS's, and locations within them, that Portfolios may name."""

    endpoints: tuple[str, ...] = ()
    """``*`` allows any."""
    locations: tuple[str, ...] = ()
    """``bucket`` or ``bucket/prefix``, perhaps with ``{namespace}``; none: everywhere."""

    def allows_endpoint(self, endpoint: str) -> bool:
        """Say whether Portfolios may store at this endpoint; AWS always."""
        return not endpoint or "*" in self.endpoints or endpoint in self.endpoints

    def objection(self, location: StorageLocation, namespace: str) -> str:
        """Return what is wrong with a location, with field, value and rule; empty: nothing."""
        if not self.allows_endpoint(location.endpoint):
            return (
                f"spec.storage.s3.endpoint is {location.endpoint!r}; this operator allows AWS and "
                f"{list(self.endpoints)}: ask its administrator"
            )
        named = "/".join(filter(None, (location.bucket, location.prefix)))
        allowed = [entry.replace(_NAMESPACE, namespace) for entry in self.locations]
        if allowed and not any(f"{named}/".startswith(f"{entry}/") for entry in allowed):
            return (
                f"spec.storage.s3 is {named!r} (bucket/prefix); for namespace {namespace!r} this "
                f"operator allows {allowed} and what is below: ask its administrator"
            )
        return ""


def is_location(text: str) -> bool:
    """Say whether a text is bucket or bucket/prefix, perhaps with ``{namespace}``."""
    rest = text.replace(_NAMESPACE, "n")
    return bool(_LOCATION.fullmatch(text)) and not set(rest) & set("{}") and ".." not in rest
