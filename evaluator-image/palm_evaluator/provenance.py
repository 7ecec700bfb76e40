"""From exactly which inputs, and by what, a result is made."""

import hashlib

from palm.contract import EvaluationRequest, canonical_json
from palm.evaluations import MadeFrom, Provenance, Source


def provenance(
    request: EvaluationRequest,
    made: MadeFrom,
    *,
    policy: Source | None,
    training: MadeFrom | None = None,
    mixture: tuple[Source, ...] | None = None,
) -> Provenance:
    """Return the record of an evaluation's inputs.

    Args:
        request: The evaluation.
        made: What it reads besides the policy, and by what it is made.
        policy: The policy's files.
        training: From what the policy was trained.
        mixture: Of a policy that is mixed of others: theirs.
    """
    text = canonical_json(request.model_dump(mode="json", by_alias=True))
    return Provenance(
        **dict(made),
        request_sha256=hashlib.sha256(text.encode()).hexdigest(),
        policy=policy,
        training=training,
        mixture=mixture,
    )
