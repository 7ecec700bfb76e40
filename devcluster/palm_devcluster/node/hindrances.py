"""Why containers cannot start now, and when to try again."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from palm_devcluster.node.preparation import UnknownImageError

CREATING = "ContainerCreating"
# First and longest pause. The first is short: a fresh Pod's ConfigMaps are refused to the node for
# the moment that the API server's node authorizer needs to see the Pod.
_PAUSES, _PULL_PAUSES = (0.25, 30.0), (10.0, 300.0)


@dataclass(frozen=True)
class Hindrance:
    """One container's: reason and message as its status shows them."""

    reason: str
    message: str
    pause: float
    retry_at: datetime


class Hindrances:
    """Those of one Pod."""

    def __init__(self) -> None:
        self._by_container: dict[str, Hindrance] = {}

    def of(self, container: str) -> Hindrance | None:
        """What keeps a container from starting."""
        return self._by_container.get(container)

    def remove(self, container: str) -> None:
        """The container can start."""
        self._by_container.pop(container, None)

    def add(self, container: str, error: Exception, now: datetime, reason: str = "") -> bool:
        """Note a failed try; the pause doubles each time.

        Returns:
            Whether the message is new, so that one event is enough.
        """
        before = self._by_container.get(container)
        first, longest = _PAUSES
        if isinstance(error, UnknownImageError):
            first, longest = _PULL_PAUSES
            reason = "ErrImagePull" if before is None else "ImagePullBackOff"
        pause = first if before is None else min(2 * before.pause, longest)
        self._by_container[container] = Hindrance(
            reason=reason or "CreateContainerConfigError",
            message=str(error),
            pause=pause,
            retry_at=now + timedelta(seconds=pause),
        )
        return before is None or before.message != str(error)
