"""The tables as they are now: what the watch tells, and what requests choose from."""

import logging
from collections.abc import Callable
from typing import Any

from palm.errors import InvalidRouteTable
from palm_gateway.settings import Settings
from palm_gateway.tables import Route, Tables, route_of

logger = logging.getLogger(__name__)

Key = tuple[str, str]
"""Namespace and name of a ConfigMap."""


class Directory:
    """Follows route tables. One that must not be believed leaves the last good one in place."""

    def __init__(self, settings: Settings, changed: Callable[[Tables], None]) -> None:
        """Make an empty directory.

        Args:
            settings: Which namespaces and hosts are allowed, and default preferences.
            changed: Called with the new tables after each change.
        """
        self._settings, self._changed = settings, changed
        self._routes: dict[Key, Route] = {}
        self._synced: set[str] = set()
        self.refused = 0
        self.tables = Tables()

    @property
    def is_synced(self) -> bool:
        """Say whether every namespace has been listed once."""
        return self._synced >= set(self._settings.namespaces)

    def listed(self, namespace: str, bodies: list[dict[str, Any]]) -> None:
        """Take everything that a namespace holds."""
        there = {_key(body) for body in bodies}
        for key in [key for key in self._routes if key[0] == namespace and key not in there]:
            self._drop(key)
        for body in bodies:
            self._take(body)
        self._synced.add(namespace)
        self._publish()

    def changed(self, body: dict[str, Any]) -> None:
        """Take one ConfigMap as it is now."""
        self._take(body)
        self._publish()

    def deleted(self, body: dict[str, Any]) -> None:
        """Drop one ConfigMap."""
        self._drop(_key(body))
        self._publish()

    def _take(self, body: dict[str, Any]) -> None:
        key, settings = _key(body), self._settings
        try:
            route = route_of(
                body,
                namespaces=settings.namespaces,
                hosts=settings.upstream_hosts,
                default_preferences=settings.default_preferences,
            )
        except InvalidRouteTable as error:
            self.refused += 1
            kept = "; the last good one serves on" if key in self._routes else ""
            logger.warning("ConfigMap %s/%s is refused: %s%s", *key, error, kept)
            return
        before = self._routes.get(key)
        if before is not None and before.table == route.table:
            return
        self._routes[key] = route
        if route.problem:
            logger.warning("default preference of %s: %s", route.table.key, route.problem)
        if before is None or before.table.revision != route.table.revision:
            logger.info(
                "%s: revision %s, %d policies",
                route.table.key,
                route.table.revision,
                len(route.table.policies),
            )

    def _drop(self, key: Key) -> None:
        if route := self._routes.pop(key, None):
            logger.info("%s: gone", route.table.key)

    def _publish(self) -> None:
        self.tables = Tables.of({route.table.key: route for route in self._routes.values()})
        self._changed(self.tables)


def _key(body: dict[str, Any]) -> Key:
    return body["metadata"]["namespace"], body["metadata"]["name"]
