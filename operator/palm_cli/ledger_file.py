"""The operator's ledger of one revision (``portfolio.json`` in S3), as far as pictures need it."""

from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from palm_cli.drawing.view import View
from palm_cli.failures import InvalidInput
from palm_cli.inputs import first_error, shown_name


class _Model(BaseModel):
    model_config = ConfigDict(
        frozen=True, strict=True, extra="ignore", allow_inf_nan=False, alias_generator=to_camel
    )


class _Named(_Model):
    name: str


class _Reward(_Model):
    mean: float
    standard_error: float = 0.0


class _Base(_Model):
    rewards: list[_Reward]


class _Policy(_Base):
    name: str
    weights: list[float]
    utilities: list[float]


class _Inputs(_Model):
    rewards: Annotated[list[_Named], Field(min_length=1, max_length=64)]


class _Cover(_Model):
    policies: Annotated[list[str], Field(min_length=1)]


class _Guarantee(_Model):
    scope: str
    epsilon: float | None
    delta: float


class _Identity(_Model):
    namespace: str
    name: str


class _Ledger(_Model):
    portfolio: _Identity
    inputs: _Inputs
    policies: Annotated[list[_Policy], Field(min_length=1, max_length=10_000)]
    base: _Base
    cover: _Cover
    guarantee: _Guarantee


def is_ledger(value: Any) -> bool:
    """Say whether a parsed JSON value looks like the operator's ledger."""
    return isinstance(value, dict) and {"policies", "cover", "inputs"} <= value.keys()


def view_of(value: Any, source: str) -> tuple[View, str]:
    """Return what is drawn of a ledger, and its title.

    Args:
        value: Parsed JSON of the ledger.
        source: Where it was read, for messages.

    Raises:
        InvalidInput: It is not a ledger, or its parts do not fit.
    """
    try:
        ledger = _Ledger.model_validate(value)
    except ValidationError as error:
        raise first_error(error, source) from None
    _check(ledger, source)
    names = [policy.name for policy in ledger.policies]
    means, errors = (
        np.array(
            [[getattr(reward, key) for reward in policy.rewards] for policy in ledger.policies]
        )
        for key in ("mean", "standard_error")
    )
    view = View(
        objectives=tuple(reward.name for reward in ledger.inputs.rewards),
        # w04-1f9c2a: the index is for reading, the digest for machines.
        names=tuple(name.split("-")[0] for name in names),
        weights=np.array([policy.weights for policy in ledger.policies]),
        utilities=np.array([policy.utilities for policy in ledger.policies]),
        kept=tuple(names.index(name) for name in ledger.cover.policies),
        rewards=means,
        errors=errors,
        base=[reward.mean for reward in ledger.base.rewards],
    )
    return view, _title(ledger)


def _title(ledger: _Ledger) -> str:
    guarantee, identity = ledger.guarantee, ledger.portfolio
    epsilon = "none" if guarantee.epsilon is None else f"{guarantee.epsilon:.3f}"
    return (
        f"{identity.namespace}/{identity.name}: {len(ledger.cover.policies)} of "
        f"{len(ledger.policies)} policies; over the {guarantee.scope.lower()} "
        f"ε = {epsilon}, δ = {guarantee.delta:.3f}"
    )


def _check(ledger: _Ledger, source: str) -> None:
    dimension = len(ledger.inputs.rewards)
    for index, policy in enumerate(ledger.policies):
        for key in ("weights", "utilities", "rewards"):
            if len(getattr(policy, key)) != dimension:
                raise InvalidInput(
                    f"{shown_name(source)}: policies[{index}].{key} has "
                    f"{len(getattr(policy, key))} entries; there are {dimension} rewards"
                )
    if len(ledger.base.rewards) != dimension:
        raise InvalidInput(f"{shown_name(source)}: base.rewards must have {dimension} entries")
    unknown = set(ledger.cover.policies) - {policy.name for policy in ledger.policies}
    if unknown:
        raise InvalidInput(
            f"{shown_name(source)}: cover.policies has {sorted(unknown)}, which are not in policies"
        )
