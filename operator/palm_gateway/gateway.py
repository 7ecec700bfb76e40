"""The API as an ASGI application: check, choose, relay. Never logs what people write."""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from palm_gateway.answers import Header, Receive, Refusal, Scope, Send
from palm_gateway.budget import Budget
from palm_gateway.choice import Candidate, Choice, choose, headers_of
from palm_gateway.credentials import Tokens
from palm_gateway.exchange import Exchange, Gone, busy
from palm_gateway.metrics import Metrics
from palm_gateway.models import models_document
from palm_gateway.outages import Outages
from palm_gateway.requests import Ask, ask_of, trace_headers
from palm_gateway.settings import Settings
from palm_gateway.tables import Tables, UnknownModel
from palm_gateway.upstream import Answer, Broken, Unavailable, Upstream

logger = logging.getLogger(__name__)

_COMPLETIONS = {
    "/v1/chat/completions": "/chat/completions",
    "/v1/completions": "/completions",
}
_MODELS = "/v1/models"
_MOST_TRIES = 4
_LONGEST_BODIES = 64
"""So many of the longest bodies may be held at once, or more shorter ones."""


@dataclass(frozen=True)
class _Begun:
    """An answer that began, and how it came about."""

    answer: Answer
    choice: Choice
    candidate: Candidate
    failures: Mapping[str, str]


class Gateway:
    """The API of one process; it keeps nothing that another replica would need."""

    def __init__(
        self,
        settings: Settings,
        *,
        tables: Callable[[], Tables],
        upstream: Upstream,
        outages: Outages,
        tokens: Tokens,
        metrics: Metrics,
    ) -> None:
        self._settings, self._tables, self._upstream = settings, tables, upstream
        self._outages, self._tokens, self._metrics = outages, tokens, metrics
        self._in_flight = 0
        self._budget = Budget(_LONGEST_BODIES * settings.max_body_bytes)
        self.is_draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        common: list[Header] = [(b"x-request-id", uuid.uuid4().hex.encode())]
        if self.is_draining:
            common.append((b"connection", b"close"))
        exchange = Exchange(scope, receive, send, common)
        try:
            await self._dispatched(exchange)
        except Gone:
            self._metrics.rejected.labels("client_gone").inc()
        except Refusal as refusal:
            self._metrics.rejected.labels(refusal.code).inc()
            await exchange.refuse(refusal)
        except Exception as error:
            # The type and no more: a message or a traceback may quote what somebody wrote.
            logger.error("a request failed: %s", type(error).__name__)
            self._metrics.rejected.labels("internal_error").inc()
            await exchange.refuse(Refusal(500, "the gateway failed", "internal_error"))

    async def _dispatched(self, exchange: Exchange) -> None:
        path = exchange.path
        self._tokens.check(exchange.headers)
        if path in _COMPLETIONS:
            _check_method(exchange, "POST")
            await self._completed(exchange, _COMPLETIONS[path])
        elif path == _MODELS or path.startswith(f"{_MODELS}/"):
            _check_method(exchange, "GET")
            model = path.removeprefix(_MODELS).removeprefix("/") or None
            try:
                document = models_document(self._tables(), model)
            except UnknownModel as error:
                raise _unknown(error) from None
            await exchange.tell(document)
        else:
            raise Refusal(404, "there is no such path", "unknown_path")

    async def _completed(self, exchange: Exchange, path: str) -> None:
        most = self._settings.max_requests
        if self._in_flight >= most:
            raise busy(f"{most} requests are being answered; try again soon")
        self._in_flight += 1
        self._metrics.in_flight.set(self._in_flight)
        try:
            body = await exchange.body(self._settings.max_body_bytes, self._budget)
            ask = ask_of(exchange.headers, body)
            await exchange.until_gone(self._answered(exchange, ask, path))
        finally:
            exchange.release(self._budget)
            self._in_flight -= 1
            self._metrics.in_flight.set(self._in_flight)

    async def _answered(self, exchange: Exchange, ask: Ask, path: str) -> None:
        """Relay an answer within the time that one may take."""
        begin, seconds = time.perf_counter(), self._settings.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                begun = await self._begun(exchange, ask, path)
                self._count(begun, time.perf_counter() - begin)
                said = headers_of(begun.choice, begun.candidate, begun.failures)
                await exchange.relay(begun.answer, said)
        except TimeoutError:
            raise Refusal(504, f"no whole answer within {seconds:g} s", "timeout") from None
        except Broken as error:
            logger.warning("an answer broke off: %s", error)
            raise Refusal(502, "the answer broke off", "broken") from None

    async def _begun(self, exchange: Exchange, ask: Ask, path: str) -> _Begun:
        """Return an answer that began, from the best policy that can give one."""
        failures: dict[str, str] = {}
        tried: set[str] = set()
        forwarded = {"accept": "*/*", "x-request-id": exchange.common[0][1].decode()}
        forwarded |= trace_headers(exchange.headers)
        while True:
            # Anew each time: the table may have been switched meanwhile.
            choice = self._choice(ask)
            candidate = next((c for c in choice.candidates if c.url not in tried), None)
            if candidate is None or len(tried) == _MOST_TRIES:
                raise _nobody(choice, failures)
            tried.add(candidate.url)
            self._outages.begin(candidate.url)
            content = ask.content_for(candidate.policy.model)
            try:
                answer = await self._upstream.ask(f"{candidate.url}{path}", content, forwarded)
            except Unavailable as error:
                failures[candidate.policy.name] = error.reason
                self._missed(choice, candidate, error)
            else:
                self._outages.succeeded(candidate.url)
                return _Begun(answer, choice, candidate, failures)

    def _choice(self, ask: Ask) -> Choice:
        try:
            route = self._tables().find(ask.model)
        except UnknownModel as error:
            raise _unknown(error) from None
        return choose(route, ask.preference, self._outages.admits)

    def _missed(self, choice: Choice, candidate: Candidate, error: Unavailable) -> None:
        key, policy = choice.route.table.key, candidate.policy.name
        if self._outages.is_news(candidate.url, error.reason):
            logger.warning("%s: policy %s cannot answer: %s", key, policy, error.reason)
        if error.is_down:
            self._outages.failed(candidate.url)
        labels = self._metrics.labels(key, policy)
        self._metrics.retries.labels(*labels, error.reason.partition("-")[0]).inc()

    def _count(self, begun: _Begun, seconds: float) -> None:
        labels = self._metrics.labels(begun.choice.route.table.key, begun.candidate.policy.name)
        self._metrics.requests.labels(*labels, f"{begun.answer.status // 100}xx").inc()
        self._metrics.first_byte.labels(labels[0]).observe(seconds)


def _check_method(exchange: Exchange, method: str) -> None:
    if exchange.method != method:
        raise Refusal(
            405, f"only {method} is answered here", "wrong_method",
            headers=((b"allow", method.encode()),),
        )  # fmt: skip


def _unknown(error: UnknownModel) -> Refusal:
    return Refusal(404, str(error.args[0]), "model_not_found", "model")


def _nobody(choice: Choice, failures: Mapping[str, str]) -> Refusal:
    missed = {**dict(choice.passed_over), **failures}
    why = ", ".join(f"{name} {reason}" for name, reason in missed.items()) or "none is served yet"
    return Refusal(
        503,
        f"no policy of {choice.route.table.key} can answer: {why}",
        "no_policy",
        headers=((b"retry-after", b"1"),),
    )
