"""What can go wrong, as types. Every message says what, got what, expected what.

::

    PalmError
    ├── InvalidPortfolio    the resource breaks a rule that its schema cannot say
    ├── InvalidResult       a result is unreadable, incomplete, not finite, or has no trade-off
    ├── NoCover             some weight vectors are covered by no policy
    └── StoreUnavailable    the object store does not answer; try again later

Bad arguments (a negative tolerance, arrays that do not fit) are plain ``ValueError``.
"""

from collections.abc import Sequence


class PalmError(Exception):
    """Base of every error that the project raises about data or the outside world."""


class InvalidPortfolio(PalmError):
    """The resource breaks a rule that its schema cannot say; trying again does not help."""


class InvalidResult(PalmError):
    """A result cannot be used: unreadable, of another schema, not finite, or without trade-off."""


class NoCover(PalmError):
    """Some weight vectors are covered by no policy.

    Attributes:
        weights: Indices of the uncovered weight vectors, ascending.
    """

    def __init__(self, weights: Sequence[int]) -> None:
        self.weights = tuple(weights)
        super().__init__(self.weights)

    def __str__(self) -> str:
        shown = ", ".join(str(index) for index in self.weights[:10])
        more = f" and {len(self.weights) - 10} more" if len(self.weights) > 10 else ""
        return f"no policy covers weight vectors {shown}{more}; each needs at least one"


class StoreUnavailable(PalmError):
    """The object store does not answer; the same request may succeed later."""
