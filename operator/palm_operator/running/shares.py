"""How many policies all Portfolios have together, where the operator has a ceiling of them.

What is deployed, the statuses say; what is about to be is known here, from the plans. So two
Portfolios that are planned at the same time never take the same room: plans follow one another
where there is a ceiling. After a restart a Portfolio counts with what is deployed until its first
pass, and one that finds no room any more keeps what it has.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

from palm_operator.settings import Settings

_MOST = 64
"""Policies of one Portfolio that are counted: what the resource allows."""


class Listing(Protocol):
    """What lists Portfolios."""

    async def portfolios(self, namespace: str | None) -> list[dict[str, Any]]:
        """Return every Portfolio of a namespace, or of the cluster."""


class Shares:
    """Counts what each Portfolio has or is about to have."""

    def __init__(self, cluster: Listing, settings: Settings) -> None:
        self._cluster, self._settings = cluster, settings
        self._planned: dict[str, int] = {}
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def turn(self, uid: str) -> AsyncIterator[int]:
        """Yield how many policies Portfolios other than this one have; 0 where nobody counts.

        What is planned meanwhile is to be noted before the turn ends.
        """
        if self._settings.max_policies_in_all is None:
            yield 0
            return
        async with self._turn:
            yield await self._elsewhere(uid)

    def note(self, uid: str, share: int) -> None:
        """Note how many policies a plan publishes."""
        self._planned[uid] = share

    async def _elsewhere(self, uid: str) -> int:
        namespaces: Iterable[str | None] = self._settings.namespaces or (None,)
        lists = await asyncio.gather(*(self._cluster.portfolios(name) for name in namespaces))
        ours = [body for bodies in lists for body in bodies if self._settings.cares_for(body)]
        there = {str(body["metadata"]["uid"]): deployed_size(body) for body in ours}
        self._planned = {known: n for known, n in self._planned.items() if known in there}
        return sum(
            max(size, self._planned.get(other, 0)) for other, size in there.items() if other != uid
        )


def deployed_size(body: Mapping[str, Any]) -> int:
    """Return how many policies of a Portfolio are served, as its status says."""
    try:
        policies = body["status"]["portfolio"]["policies"]
        served = sum(1 for policy in policies if policy.get("service"))
    except (KeyError, TypeError, AttributeError):
        return 0
    return min(served, _MOST)
