"""What can go wrong, as types. Every message says what, got what, expected what.

::

    PalmError
    ├── InvalidPortfolio    the resource breaks a rule that its schema cannot say
    ├── InvalidResult       a result is unreadable, incomplete, not finite, or has no trade-off
    │   └── NotFinite       a reward is NaN or infinite
    ├── NoCertificate       extreme policies are missing, so nothing bounds what is possible
    ├── InvalidPreference   a user's preference has no weight vector
    ├── InvalidRouteTable   a route table is unreadable or not a Portfolio's
    ├── NoCover             some weight vectors are covered by no policy
    ├── BelowNoise          the guarantee asked for is finer than what the evaluation can show
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


class NotFinite(InvalidResult):
    """A reward of a response is NaN or infinite; the message names the reward."""


class InvalidPreference(PalmError):
    """A user's preference has no weight vector; the message says why, for the user."""


class InvalidRouteTable(PalmError):
    """A route table is unreadable, contradicts itself, or is not controlled by a Portfolio."""


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


class NoCertificate(PalmError):
    """Nothing bounds the optimum somewhere on the simplex, because extreme policies are missing.

    Attributes:
        extremes: Indices of the objectives whose extreme policy is missing, ascending.
    """

    def __init__(self, extremes: Sequence[int]) -> None:
        self.extremes = tuple(extremes)
        super().__init__(self.extremes)

    def __str__(self) -> str:
        missing = ", ".join(str(index) for index in self.extremes)
        return (
            f"no policy was trained for the extreme weight vector of objective {missing}; "
            "a certificate needs the extreme policy of every objective"
        )


class BelowNoise(PalmError):
    """The guarantee asked for is finer than what the evaluation can show; the message has both."""


class StoreUnavailable(PalmError):
    """The object store does not answer; the same request may succeed later.

    Attributes:
        code: S3's code or HTTP status of the answer, or the kind of trouble; empty where not known.
    """

    def __init__(self, message: str = "", *, code: str = "") -> None:
        self.code = code
        super().__init__(message)
