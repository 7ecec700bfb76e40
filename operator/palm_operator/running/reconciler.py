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
from palm_operator.api.portfolio import Portfolio, parse_portfolio
from palm_operator.calls.requests import storage_location
from palm_operator.life import retention
from palm_operator.life.pausing import is_paused, paused
from palm_operator.observed import Observed
from palm_operator.plan import Plan
from palm_operator.planner import plan, refusal_plan
from palm_operator.refusals import Refusal, refusal, storage_trouble, unreadable_said
from palm_operator.refusing import Refused, check, troubled, unreadable
from palm_operator.running.api_server import ClusterUnavailable
from palm_operator.running.asking import Asker
from palm_operator.running.cluster import Cluster
from palm_operator.running.deletion import Deletion
from palm_operator.running.election import NotLeading
from palm_operator.running.executor import Executor, name_of
from palm_operator.running.observer import Cache, Observer, Stores
from palm_operator.running.purger import Purger
from palm_operator.running.services import ServiceObserver
from palm_operator.running.shares import Shares
from palm_operator.running.training_progress import TrainingObserver
from palm_operator.said.status import EVENT_LIMIT, FOREIGN_LIMIT, Event, shortened
from palm_operator.settings import Settings
from palm_operator.times import earliest

logger = logging.getLogger(__name__)

_CONFLICT_SECONDS = 60.0
_SLOW_SECONDS = 20.0
"""Reading takes less; a person is told of an S3 that takes longer while it is waited for."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 120.0


def _now() -> datetime:
    return datetime.now(UTC)


class ServicesRefused(Exception):
    """InferenceServices were refused; it is reported, and to be tried again later."""


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


class Pauses:
    """How long to wait before Jobs are created again that were refused: longer each time."""

    def __init__(self) -> None:
        self._refused: dict[str, tuple[int, float]] = {}

    def after(self, portfolio_uid: str, refusals: Mapping[str, Refusal]) -> float | None:
        """Return the seconds until the next try; None where nothing was refused.

        A try that comes earlier, because something else happened, does not lengthen the pause.
        """
        if not refusals:
            self._refused.pop(portfolio_uid, None)
            return None
        now = time.monotonic()
        count, due = self._refused.get(portfolio_uid, (0, now))
        if now >= due:
            count += 1
            due = now + min(_FIRST_PAUSE_S * 2 ** (count - 1), _LONGEST_PAUSE_S)
            self._refused[portfolio_uid] = (count, due)
        return max(due - now, 0.1)


class Reconciler:
    """Everything a pass needs."""

    def __init__(
        self,
        cluster: Cluster,
        stores: Stores,
        settings: Settings,
        asker: Asker,
        *,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        cache = Cache()
        self._cluster, self._settings, self._clock = cluster, settings, clock
        services = ServiceObserver(cluster, asker, url_template=settings.serving_url)
        trainings = TrainingObserver(stores, every=settings.resync_seconds)
        self._observer = Observer(cluster, stores, cache, services, trainings)
        self._executor = Executor(cluster, stores, cache)
        self._deletion = Deletion(
            cluster, self._executor, Purger(stores, cache), settings, self._clock
        )
        self._conflicts, self._pauses, self._asker = Conflicts(), Pauses(), asker
        self._shares = Shares(cluster, settings)
        self._seen: dict[tuple[str, str], Portfolio] = {}

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Take the next step; return in how many seconds another follows, None if none does.

        Raises:
            Exception: The pass failed, the status says how; it is to be tried again later.
        """
        body = await self._cluster.portfolio(namespace, name)
        is_ours = body is not None and self._settings.cares_for(body)
        is_gone = body is None or "deletionTimestamp" in body["metadata"]
        if body is None or not is_ours or is_gone or is_paused(body):
            await self._asker.answers((namespace, name), {})
        if body is None or not is_ours:
            await self._ended((namespace, name), body)
            return None
        if is_gone and not (retention.has_finalizer(body) and retention.purges(body)):
            following = await self._deletion.release(body)
            await self._ended((namespace, name), body)
            return following
        try:
            portfolio = parsed(body)
        except ValidationError as error:
            if is_gone or not is_paused(body):
                await self._refuse_unreadable(body, error)
            return None
        if is_gone:
            following = await self._deletion.step(body, portfolio)
            await self._ended((namespace, name), body)
            return following
        if is_paused(body):
            self._remember(portfolio)
            decided = paused(portfolio, now=self._clock())
            await self._executor.report(body, portfolio, decided, now=self._clock())
            return None
        try:
            return await self._pass(body, portfolio)
        except ServicesRefused:
            raise  # the status says it, policy by policy
        except NotLeading:
            raise  # who leads now says what there is to say
        except StoreUnavailable as error:
            await self._report_trouble(body, portfolio, *storage_trouble(error))
            raise
        except ClusterUnavailable as error:
            why = refusal(error.status, error.explanation)
            said = shortened(str(error), FOREIGN_LIMIT)
            message = f"{said}; {why.remedy}, with growing pauses; what serves goes on"
            await self._report_trouble(body, portfolio, why.reason, message)
            raise
        except Exception as error:
            await self._report_error(body, portfolio, error)
            raise

    async def _ended(self, key: tuple[str, str], body: Mapping[str, Any] | None) -> None:
        """Record the deletion of a Portfolio that was looked after until now.

        Args:
            key: Namespace and name.
            body: What has the name now, another Portfolio perhaps; None: nothing.
        """
        seen = self._seen.get(key)
        if seen is None:
            return
        found = body["metadata"] if body and body["metadata"]["uid"] == seen.metadata.uid else {}
        if found and "deletionTimestamp" not in found:
            return
        when = found.get("deletionTimestamp")
        metadata = seen.metadata.model_copy(update={"deletion_timestamp": when})
        portfolio = seen.model_copy(update={"metadata": metadata})
        await self._executor.end_record(portfolio, now=self._clock())
        self._seen.pop(key, None)

    def _remember(self, portfolio: Portfolio) -> None:
        """Keep what the end of a record takes, also of a Portfolio that is paused or refused."""
        metadata, location = portfolio.metadata, storage_location(portfolio.spec)
        is_allowed = not self._settings.storage.objection(location, metadata.namespace)
        if portfolio.status.record is not None and is_allowed:
            self._seen.setdefault((metadata.namespace, metadata.name), portfolio)

    async def _pass(self, body: Mapping[str, Any], portfolio: Portfolio) -> float | None:
        uid, expectations = portfolio.metadata.uid, self._executor.expectations
        await self._ended((portfolio.metadata.namespace, portfolio.metadata.name), body)
        self._remember(portfolio)
        try:
            check(portfolio, self._settings)
        except Refused as refusal:
            # What an earlier spec made is to be purged also where this one makes nothing.
            if portfolio.status.record is not None and await self._set_finalizer(body):
                return 0.0
            # Before anything is read: a bucket that is not allowed is not touched.
            observed = await self._observer.cluster_only(portfolio)
            decided = refusal_plan(portfolio, observed, refusal, now=self._clock())
            await self._executor.act(portfolio, decided)
            await self._executor.report(body, portfolio, decided, now=self._clock())
            return decided.next_pass
        if await self._set_finalizer(body):
            return 0.0  # before anything is made that would have to be purged
        observing = asyncio.create_task(
            self._observer.observe(portfolio, expected=expectations.pending(uid))
        )
        if await self._takes_long(observing, body, portfolio):
            fresh = await self._cluster.portfolio(
                portfolio.metadata.namespace, portfolio.metadata.name
            )
            if fresh is None or not _is_same(fresh, body):
                return 0.0
            body, portfolio = fresh, parsed(fresh)
        observed = observing.result()
        self._seen[portfolio.metadata.namespace, portfolio.metadata.name] = portfolio
        expectations.met(uid, tuple(job for job in observed.jobs if job.uid))
        known = self._conflicts.get(uid)
        decided = await self._planned(portfolio, replace(observed, conflicts=known))
        if (decided.creates or decided.applies) and not await self._is_current(body):
            return 0.0
        outcome = await self._executor.act(portfolio, decided)
        if outcome.outdated:
            return 0.0
        if outcome.conflicts:
            # What has the name stays; the rest of the work goes on in the next pass.
            self._conflicts.add(uid, (*known, *outcome.conflicts))
            return 0.0
        pause = self._pauses.after(uid, outcome.job_refusals)
        if outcome.refusals or outcome.job_refusals:
            seen = replace(
                observed,
                conflicts=known,
                refusals=outcome.refusals,
                job_refusals=outcome.job_refusals,
            )
            decided = await self._planned(portfolio, seen)
        await self._executor.report(body, portfolio, decided, now=self._clock())
        if outcome.refusals:
            raise ServicesRefused(", ".join(outcome.refusals))
        return earliest(decided.next_pass, pause)

    async def _set_finalizer(self, body: Mapping[str, Any]) -> bool:
        """Add or remove our finalizer as the spec asks for it; say whether that was to be done."""
        finalizers = retention.finalizers(body, ours=retention.purges(body))
        if finalizers is None:
            return False
        await self._cluster.set_finalizers(body, finalizers)
        return True

    async def _takes_long(
        self, observing: "asyncio.Task[Observed]", body: Mapping[str, Any], portfolio: Portfolio
    ) -> bool:
        """Wait until everything is read; say whether the status was written meanwhile."""
        try:
            done, _ = await asyncio.wait({observing}, timeout=_SLOW_SECONDS)
            if not done:
                where = storage_location(portfolio.spec)
                message = (
                    f"reading s3://{where.bucket}/{where.prefix} has taken {_SLOW_SECONDS:.0f} s "
                    "and goes on; nothing is trained twice for it, and what serves goes on"
                )
                await self._report_trouble(body, portfolio, "StorageSlow", message)
            await observing
            return not done
        finally:
            observing.cancel()

    async def _is_current(self, body: Mapping[str, Any]) -> bool:
        """Say whether a Portfolio is as it was read: nothing is made for one that is deleted."""
        metadata = body["metadata"]
        live = await self._cluster.portfolio(metadata["namespace"], metadata["name"])
        return live is not None and _is_same(live, body)

    async def _planned(self, portfolio: Portfolio, observed: Observed) -> Plan:
        uid = portfolio.metadata.uid
        async with self._shares.turn(uid) as elsewhere:
            seen = replace(observed, elsewhere=elsewhere)
            # In a thread: an exact cover may take seconds, and watches must go on.
            decided = await asyncio.to_thread(
                plan, portfolio, seen, self._settings, now=self._clock()
            )
            self._shares.note(uid, decided.share)
        return decided

    async def _refuse_unreadable(self, body: Mapping[str, Any], error: ValidationError) -> None:
        """Report a spec that the CRD let through but this version cannot read."""
        message = unreadable_said(error, is_deleted="deletionTimestamp" in body["metadata"])
        logger.warning("Portfolio %s: %s", name_of(body), message)
        before = body.get("status") or {}
        generation = body["metadata"].get("generation", 1)
        status = unreadable(before, message, generation=generation, now=self._clock())
        if status == before or not await self._cluster.report(body, status):
            return
        await self._executor.tell(
            body,
            Event("Warning", "InvalidSpec", shortened(message, EVENT_LIMIT)),
            now=self._clock(),
        )

    async def _report_error(
        self, body: Mapping[str, Any], portfolio: Portfolio, error: Exception
    ) -> None:
        known = isinstance(error, (InvalidPortfolio, InvalidResult))
        message = str(error) if known else f"{type(error).__name__}: {error}"
        logger.error("Portfolio %s: %s", name_of(body), message, exc_info=not known)
        await self._report_trouble(body, portfolio, "InternalError", message)

    async def _report_trouble(
        self, body: Mapping[str, Any], portfolio: Portfolio, reason: str, message: str
    ) -> None:
        logger.warning("Portfolio %s: %s: %s", name_of(body), reason, message)
        try:
            decided = troubled(portfolio, reason, message, now=self._clock())
            await self._executor.report(body, portfolio, decided, now=self._clock())
        except Exception as second:
            # The first error is what matters, and it is raised by the caller.
            logger.warning("Portfolio %s: status not written: %s", name_of(body), second)


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Say whether two states of a Portfolio ask for the same."""
    same = ("uid", "generation", "deletionTimestamp")
    return all(one["metadata"].get(k) == other["metadata"].get(k) for k in same)


def parsed(body: Mapping[str, Any]) -> Portfolio:
    """Return a Portfolio; a status that another version wrote is no reason to refuse the spec."""
    try:
        return parse_portfolio(body)
    except ValidationError:
        return parse_portfolio({**body, "status": {}})
