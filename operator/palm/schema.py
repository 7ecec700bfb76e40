"""What every message of the contract is made of: the strict base model, names and digests."""

import hashlib
import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Name = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=32)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

SUM_ERROR = 1e-6
"""How far from 1 weights may sum: rounding of their decimals, and no more."""


class Model(BaseModel):
    """Frozen, camelCase on the wire, strict about unknown fields and non-finite numbers."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, shortest round-trip floats."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of(value: Any) -> str:
    """Return 32 hexadecimal digits of SHA-256 over the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:32]


def sha256_of(content: bytes) -> str:
    """Return the full SHA-256 of some bytes, as ``sha256sum`` prints it."""
    return hashlib.sha256(content).hexdigest()
