"""Kinds of text that several parts of the Portfolio resource share."""

from typing import Annotated

from pydantic import Field

from palm_operator.api.rules import DECIMAL, DURATION, NUMBER_LENGTH, OBJECT_NAME, SIGNED_DECIMAL

Decimal = Annotated[str, Field(min_length=1, max_length=NUMBER_LENGTH, pattern=DECIMAL)]
SignedDecimal = Annotated[
    str, Field(min_length=1, max_length=NUMBER_LENGTH, pattern=SIGNED_DECIMAL)
]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=OBJECT_NAME)]
ClassName = Annotated[
    str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
]
Duration = Annotated[str, Field(min_length=2, max_length=16, pattern=DURATION)]
"""Hours, minutes and seconds, as in ``1h30m``; see ``palm_operator.times``."""
Time = Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]
"""As in ``2026-01-02T03:04:05Z``."""
Text = Annotated[str, Field(max_length=253)]
"""Short text that the operator writes."""
