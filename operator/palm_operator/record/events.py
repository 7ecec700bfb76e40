"""What an entry of a Portfolio's record says: its events, and the entry as it lies in S3. Pure."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from palm.contract import Model, canonical_json
from palm.errors import InvalidResult
from palm_operator.calls.evidence import MAX_BYTES, first_problem
from palm_operator.times import parsed

SCHEMA_VERSION = 1
EVENTS_LIMIT = 500
"""Most events of one entry; what is left over goes into the next."""

_SHA256 = r"^[0-9a-f]{64}$"


def _time(text: str) -> str:
    parsed(text)
    return text


# Whoever may write to the bucket may write an entry: nobody draws on an auditor's terminal.
Plain = Annotated[str, Field(max_length=2048, pattern=r"^[^\p{Cc}\p{Cf}]*$")]
When = Annotated[str, Field(max_length=64, pattern=r"^[0-9T:.Z+-]*$"), AfterValidator(_time)]


class _Read(Model):
    """What is read back: a later version may say more."""

    model_config = ConfigDict(extra="ignore")


class ManifestAt(_Read):
    """A manifest in S3."""

    uri: Plain
    sha256: str = Field(pattern=_SHA256)


class Content(_Read):
    """What was behind a URI when it was read."""

    sha256: str = Field(pattern=_SHA256)
    revision: Plain | None = None
    """The commit that a Hugging Face revision resolved to."""


class ReadBy(_Read):
    """What a training or an evaluation read, under the names of the inputs, as its image says."""

    image: Plain | None = None
    base_model: Content
    prompts: Content
    rewards: dict[Plain, Content] = Field(default_factory=dict)
    """Of reward models."""


class Made(_Read):
    """An object of S3, the Job that made it, and from what."""

    key: Plain
    sha256: Plain | None = None
    job: Plain | None = None
    """None: it was found in S3, and no Job of this Portfolio made it."""
    uid: Plain | None = None
    read: ReadBy | None = None


class Claimed(_Read):
    """How far from optimal anybody can be."""

    epsilon: Plain
    delta: Plain
    scope: Literal["Simplex", "Grid"]
    confidence: Plain | None = None
    proven: bool
    cover_size: int | None = None
    """Of a best effort: how many policies the smallest cover has."""


class RecordedPolicy(_Read):
    """A policy, as decided or as deployed."""

    name: Plain
    weights: tuple[Plain, ...]
    policy_digest: Plain | None = None
    evaluation_digest: Plain | None = None
    service: Plain | None = None
    usage: Plain | None = None


class Created(_Read):
    """The operator began to look after the Portfolio."""

    type: Literal["Created"] = "Created"
    time: When
    operator_class: Plain | None = None


class Inputs(_Read):
    """What policies, search and pruning are made from, since then."""

    type: Literal["Inputs"] = "Inputs"
    time: When
    revision: Plain
    generation: int
    sha256: Plain
    """Of ``inputs`` as canonical JSON."""
    inputs: dict[str, Any]


class OracleCall(_Read):
    """A policy was trained, or mixed of trained ones, and evaluated."""

    type: Literal["OracleCall"] = "OracleCall"
    time: When
    revision: Plain
    policy: Plain
    weights: tuple[Plain, ...]
    policy_digest: Plain
    evaluation_digest: Plain
    training: Made | None = None
    """None: nothing was trained, it is mixed at decoding."""
    evaluation: Made


class OracleCallFailed(_Read):
    """A Job of an oracle call failed for good."""

    type: Literal["OracleCallFailed"] = "OracleCallFailed"
    time: When
    revision: Plain
    policy: Plain
    step: Plain
    digest: Plain
    attempt: int
    job: Plain
    uid: Plain
    reason: Plain


class Decided(_Read):
    """A portfolio was decided: its manifest has everything."""

    type: Literal["Decided"] = "Decided"
    time: When
    revision: Plain
    generation: int
    manifest: ManifestAt
    policies: tuple[RecordedPolicy, ...]
    guarantee: Claimed


class Pinned(_Read):
    """``spec.serving.pin`` was set, changed or removed."""

    type: Literal["Pinned"] = "Pinned"
    time: When
    generation: int
    revision: Plain | None = None
    sha256: Plain | None = None


class Deployed(_Read):
    """A portfolio became what is deployed: all its policies answered."""

    type: Literal["Deployed"] = "Deployed"
    time: When
    number: int
    revision: Plain
    reason: Plain
    generation: int
    size: int
    manifest: ManifestAt
    policies: tuple[RecordedPolicy, ...]
    guarantee: Claimed | None = None


class Retired(_Read):
    """Nothing that only this deployment needed was left."""

    type: Literal["Retired"] = "Retired"
    time: When
    number: int


class Deleted(_Read):
    """The Portfolio was deleted."""

    type: Literal["Deleted"] = "Deleted"
    time: When


Event = (
    Created
    | Inputs
    | OracleCall
    | OracleCallFailed
    | Decided
    | Pinned
    | Deployed
    | Retired
    | Deleted
)
_TYPES: Mapping[str, type[Event]] = {
    str(kind.model_fields["type"].default): kind
    for kind in (
        Created, Inputs, OracleCall, OracleCallFailed, Decided, Pinned, Deployed, Retired, Deleted
    )
}  # fmt: skip


class Whose(_Read):
    """A Portfolio; the uid tells it from an earlier one of its name."""

    namespace: Plain
    name: Plain
    uid: Plain


class Entry(_Read):
    """One object of the record."""

    schema_version: Literal[1] = 1
    portfolio: Whose
    sequence: int = Field(ge=1)
    """From 1, without a gap; also the object's name."""
    previous: Plain | None = None
    """SHA-256 of the entry before, as it lies in S3; None for the first."""
    written: When
    operator: Plain
    """Version of the operator that wrote it."""
    events: tuple[dict[str, Any], ...] = Field(max_length=10_000)

    @property
    def parsed(self) -> tuple[Event, ...]:
        """Return the events that this version knows.

        Raises:
            InvalidResult: One of them is not as its type is.
        """
        found = []
        for index, event in enumerate(self.events):
            kind = _TYPES.get(str(event.get("type")))
            if kind is None:
                continue
            try:
                found.append(kind.model_validate(event))
            except ValidationError as error:
                raise InvalidResult(f"event {index}: {first_problem(error)}") from None
        return tuple(found)


def entry_bytes(entry: Entry) -> bytes:
    """Return an entry as it is written: canonical JSON."""
    return canonical_json(entry.model_dump(mode="json", by_alias=True, exclude_none=True)).encode()


def event_document(event: Event) -> dict[str, Any]:
    """Return an event as an entry has it."""
    return event.model_dump(mode="json", by_alias=True, exclude_none=True)


def parsed_entry(content: bytes) -> Entry:
    """Return an entry.

    Raises:
        InvalidResult: It is too large, no JSON, or of another schema.
    """
    if len(content) > MAX_BYTES:
        raise InvalidResult(f"the entry has {len(content):,} bytes; at most {MAX_BYTES:,}")
    try:
        return Entry.model_validate_json(content)
    except ValidationError as error:
        raise InvalidResult(f"the entry is not valid: {first_problem(error)}") from None
