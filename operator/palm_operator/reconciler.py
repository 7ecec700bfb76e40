"""One pass over one Portfolio: observe, plan, execute, report once."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from palm.errors import InvalidPortfolio, InvalidResult, StoreUnavailable
from palm_operator.api import Portfolio, parse_portfolio
from palm_operator.cluster import Cluster, ClusterUnavailable
from palm_operator.evidence import first_problem
from palm_operator.executor import Executor, name_of
from palm_operator.observed import Observed
from palm_operator.observer import Cache, Observer, Stores
from palm_operator.plan import Plan, Refused, check, refused, troubled
from palm_operator.planner import plan
from palm_operator.settings import Settings

logger = logging.getLogger(__name__)

_CONFLICT_SECONDS = 60.0


def _now() -> datetime:
    return datetime.now(UTC)


class Conflicts:
    """Names that objects of others have; forgotten after a while, for they may be gone."""

    def __init__(self) -> None:
        self._names: dict[str, tuple[float, tuple[str, ...]]] = {}

    def add(self, portfolio_uid: str, names: tuple[str, ...]) -> None:
        """Note all names that a Portfolio cannot have."""
        self._names[portfolio_uid] = (time.monotonic() + _CONFLICT_SECONDS, names)

    def get(self, portfolio_uid: str) -> tuple[str, ...]:
        """Return the names that a Portfolio could not have a moment ago."""
        until, names = self._names.get(portfolio_uid, (0.0, ()))
        return names if time.monotonic() < until else ()


class Reconciler:
    """Everything a pass needs."""

    def __init__(
        self,
        cluster: Cluster,
        stores: Stores,
        settings: Settings,
        *,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        cache = Cache()
        self._cluster, self._settings, self._clock = cluster, settings, clock
        self._observer = Observer(cluster, stores, cache)
        self._executor = Executor(cluster, stores, cache)
        self._conflicts = Conflicts()

    async def reconcile(self, namespace: str, name: str) -> bool:
        """Take the next step; say whether another follows at once.

        Raises:
            Exception: The pass failed, the status says how; it is to be tried again later.
        """
        body = await self._cluster.portfolio(namespace, name)
        if body is None or "deletionTimestamp" in body["metadata"]:
            return False
        try:
            portfolio = parsed(body)
        except ValidationError as error:
            await self._refuse_unreadable(body, error)
            return False
        try:
            return await self._pass(body, portfolio)
        except StoreUnavailable as error:
            await self._report_trouble(body, portfolio, "StorageUnavailable", error)
            raise
        except ClusterUnavailable as error:
            await self._report_trouble(body, portfolio, "ClusterRefused", error)
            raise
        except Exception as error:
            await self._report_trouble(body, portfolio, "InternalError", error)
            raise

    async def _pass(self, body: Mapping[str, Any], portfolio: Portfolio) -> bool:
        uid, expectations = portfolio.metadata.uid, self._executor.expectations
        try:
            check(portfolio, self._settings)
        except Refused as refusal:
            # Before anything is read: a bucket that is not allowed is not touched.
            observed = Observed()
            if portfolio.status.portfolio:
                observed = await self._observer.services_only(portfolio)
            decided = refused(portfolio, observed, refusal, now=self._clock())
            await self._executor.report(body, portfolio, decided, now=self._clock())
            return False
        observed = await self._observer.observe(portfolio, expected=expectations.pending(uid))
        expectations.met(uid, tuple(job for job in observed.jobs if job.uid))
        known = self._conflicts.get(uid)
        decided = await self._planned(portfolio, replace(observed, conflicts=known))
        if new := await self._executor.act(portfolio, decided):
            # What has the name stays; the rest of the work goes on in the next pass.
            self._conflicts.add(uid, (*known, *new))
            return True
        await self._executor.report(body, portfolio, decided, now=self._clock())
        return bool(decided.writes)

    async def _planned(self, portfolio: Portfolio, observed: Observed) -> Plan:
        # In a thread: an exact cover may take seconds, and watches must go on.
        return await asyncio.to_thread(plan, portfolio, observed, self._settings, now=self._clock())

    async def _refuse_unreadable(self, body: Mapping[str, Any], error: ValidationError) -> None:
        """Report a spec that the CRD let through but this version cannot read."""
        message = f"spec cannot be read: {first_problem(error)}"
        logger.warning("Portfolio %s: %s", name_of(body), message)
        conditions = (body.get("status") or {}).get("conditions") or []
        if any(c.get("reason") == "InvalidSpec" and c.get("message") == message
               for c in conditions):  # fmt: skip
            return
        stamp = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        said = [
            {
                "type": kind,
                "status": truth,
                "reason": "InvalidSpec",
                "message": message,
                "observedGeneration": body["metadata"].get("generation", 1),
                "lastTransitionTime": stamp,
            }
            for kind, truth in (("Accepted", "False"), ("Ready", "False"), ("Stalled", "True"))
        ]
        status = {**(body.get("status") or {}), "conditions": said}
        status["observedGeneration"] = body["metadata"].get("generation", 1)
        await self._cluster.report(body, status)

    async def _report_trouble(
        self, body: Mapping[str, Any], portfolio: Portfolio, reason: str, error: Exception
    ) -> None:
        known = isinstance(error, (StoreUnavailable, ClusterUnavailable, InvalidPortfolio,
                                   InvalidResult))  # fmt: skip
        message = str(error) if known else f"{type(error).__name__}: {error}"
        logger.error("Portfolio %s: %s: %s", name_of(body), reason, message, exc_info=not known)
        try:
            decided = troubled(portfolio, reason, message, now=self._clock())
            await self._executor.report(body, portfolio, decided, now=self._clock())
        except Exception as second:
            # The first error is what matters, and it is raised by the caller.
            logger.warning("Portfolio %s: status not written: %s", name_of(body), second)


def parsed(body: Mapping[str, Any]) -> Portfolio:
    """Return a Portfolio; a status that another version wrote is no reason to refuse the spec."""
    try:
        return parse_portfolio(body)
    except ValidationError:
        return parse_portfolio({**body, "status": {}})
