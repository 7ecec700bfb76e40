"""Which objects of S3 a Portfolio relies on, written down in S3 before it does. Pure.

Portfolios of other clusters and of namespaces that this operator may not read share prefixes too:
what is in use can only be said where the objects are. A record is by its content and is kept: a
portfolio to go back to is in use as well.
"""

import json
from dataclasses import dataclass
from functools import lru_cache

from palm import artifacts
from palm.contract import canonical_json, digest_of
from palm.errors import InvalidResult
from palm_operator.api.portfolio import Portfolio
from palm_operator.calls.evidence import Evidence
from palm_operator.calls.work import Work
from palm_operator.writes import ObjectWrite

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Uses:
    """A record of use."""

    key: str
    digest: str
    content: bytes

    def parse(self, content: bytes) -> "Uses":
        """Return the record if it is the one that was found.

        Raises:
            InvalidResult: It is not.
        """
        if content != self.content:
            raise InvalidResult("the record of what is in use is not as it was written")
        return self


def uses_of(portfolio: Portfolio, work: Work) -> Uses:
    """Return the record of everything that is determined of a Portfolio's work."""
    metadata = portfolio.metadata
    return _uses(
        metadata.namespace,
        metadata.name,
        work.revision,
        work.base.evaluation_digest,
        work.calibration_digest,
        tuple((policy.digest, policy.evaluation_digest) for policy in work.every),
    )


def claims(portfolio: Portfolio, work: Work, evidence: Evidence) -> tuple[ObjectWrite, ...]:
    """Return the record to be written where it is not in S3 yet; it is there before a Job is."""
    used = uses_of(portfolio, work)
    if used.digest in evidence.uses or used.key not in evidence.read:
        return ()
    return (ObjectWrite(used.key, used.content, claims=True),)


@lru_cache(maxsize=256)
def _uses(
    namespace: str,
    name: str,
    revision: str,
    base: str,
    calibration: str,
    policies: tuple[tuple[str, str], ...],
) -> Uses:
    document = {
        "schemaVersion": SCHEMA_VERSION,
        "revision": revision,
        "base": base,
        "calibration": calibration or None,
        "policies": dict(policies),
    }
    digest = digest_of(document)
    content = json.dumps(json.loads(canonical_json(document)), indent=1, sort_keys=True)
    return Uses(artifacts.uses(namespace, name, digest), digest, content.encode())
