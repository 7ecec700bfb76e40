"""A plan as a value: everything to be done in one pass, and what to say afterwards. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from palm_operator.api.status import PortfolioStatus
from palm_operator.jobs.observed_jobs import Job
from palm_operator.said.status import Event
from palm_operator.serving.observed_services import Service
from palm_operator.writes import ObjectWrite


@dataclass(frozen=True)
class Patch:
    """A change to be merged into an object of the Portfolio's namespace."""

    kind: Literal["Job", "JobSet", "Workload"]
    name: str
    content: Mapping[str, Any]
    """With ``metadata.uid``: another object of that name is left alone."""


@dataclass(frozen=True)
class Plan:
    """Everything to be done in one pass, and what to say afterwards."""

    status: PortfolioStatus
    creates: tuple[dict[str, Any], ...] = ()
    applies: tuple[dict[str, Any], ...] = ()
    deletes: tuple[Job | Service, ...] = ()
    patches: tuple[Patch, ...] = ()
    """In this order."""
    writes: tuple[ObjectWrite, ...] = ()
    discards: tuple[str, ...] = ()
    """Keys of objects in S3 that are not valid and are about to be made again."""
    events: tuple[Event, ...] = ()
    share: int = 0
    """How many policies the Portfolio publishes, or is about to."""
    again_in: float | None = None
    """Seconds after which something is due by the clock alone; None: nothing is."""

    @property
    def next_pass(self) -> float | None:
        """Return in how many seconds another pass is to follow, whatever happens; None: in none."""
        return 0.0 if self.continues else self.again_in

    @property
    def continues(self) -> bool:
        """Say whether another pass follows at once: it retires what no route table names now."""
        return bool(self.writes) or any(a["kind"] == "ConfigMap" for a in self.applies)

    @property
    def acts(self) -> bool:
        """Say whether there is anything to do besides reporting and recording."""
        writes = [write for write in self.writes if not write.exclusive]
        changes = (self.creates, self.applies, self.deletes, self.patches)
        return any(changes) or bool(writes or self.discards)
