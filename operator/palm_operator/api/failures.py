"""What happens when an oracle call fails for good."""

from typing import Literal

from palm.contract import Model


class FailurePolicy(Model):
    """What happens when an oracle call fails for good."""

    on_oracle_failure: Literal["Hold", "AllowPartial"] = "Hold"
    """Hold: what is deployed stays until a person has mended it. AllowPartial: once nothing more
    can be trained, the best portfolio of what is trained is published; GuaranteeHeld is False and
    status.portfolio.uncovered lists the weight vectors that are not certified to be covered. The
    policies of the single rewards can not be left out."""
