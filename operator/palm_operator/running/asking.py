"""One real request for each policy, made in the background: is it answered?"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp

from palm_operator.running.queue import Key
from palm_operator.serving.standing import Answer, Question

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS = 3.0
_TIMEOUT_SECONDS = 30.0  # the first request of a server may compile
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_ANSWER_BYTES = 64 * 1024
_SHOWN = 200
_AT_ONCE = 16


@dataclass
class _Inquiry:
    """One question that is asked until it is answered well."""

    question: Question
    task: "asyncio.Task[None] | None" = None
    answer: Answer | None = None
    answered: asyncio.Event = field(default_factory=asyncio.Event)


class Asker:
    """Asks what is new, remembers what was answered, and tells when that changes."""

    def __init__(self, changed: Callable[[Key], None]) -> None:
        """Make an asker.

        Args:
            changed: Called with a Portfolio's key when one of its servers answers otherwise.
        """
        self._changed = changed
        self._inquiries: dict[Key, dict[str, _Inquiry]] = {}
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._session: aiohttp.ClientSession | None = None

    async def answers(self, key: Key, questions: Mapping[str, Question]) -> dict[str, Answer]:
        """Return the last answer of each server that has given one.

        Waits a moment for the answers to new questions; what takes longer brings another pass.

        Args:
            key: Whose servers; those that are not asked about any more are forgotten.
            questions: By name of the InferenceService.
        """
        known = self._inquiries.setdefault(key, {})
        for name in [name for name in known if name not in questions]:
            _cancel(known.pop(name))
        for name, question in questions.items():
            if name not in known or known[name].question != question:
                before = known.pop(name, None)
                _cancel(before)
                known[name] = self._begun(key, question, before.answer if before else None)
        if not known:
            del self._inquiries[key]
        waits = [asyncio.create_task(inquiry.answered.wait()) for inquiry in known.values()]
        if waits:
            _, late = await asyncio.wait(waits, timeout=_PATIENCE_SECONDS)
            for wait in late:
                wait.cancel()
        return {name: i.answer for name, i in known.items() if i.answer is not None}

    async def close(self) -> None:
        """Ask no more."""
        for known in self._inquiries.values():
            for inquiry in known.values():
                _cancel(inquiry)
        if self._session is not None:
            await self._session.close()

    def _begun(self, key: Key, question: Question, before: Answer | None) -> _Inquiry:
        inquiry = _Inquiry(question, answer=before)
        inquiry.task = asyncio.create_task(self._until_good(key, inquiry))
        return inquiry

    async def _until_good(self, key: Key, inquiry: _Inquiry) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            async with self._gate:
                answer = await self._asked(inquiry.question)
            is_news = answer != inquiry.answer
            inquiry.answer = answer
            inquiry.answered.set()
            if is_news:
                self._changed(key)
            if answer.is_good:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _asked(self, question: Question) -> Answer:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout)
        for model in question.models:
            problem = await self._problem(self._session, question, model)
            if problem:
                return Answer(question, False, problem)
        return Answer(question, True)

    async def _problem(
        self, session: aiohttp.ClientSession, question: Question, model: str
    ) -> str | None:
        """Ask for one completion of one model; return what is wrong with the answer."""
        url = f"{question.url}/v1/completions"
        body = {"model": model, "prompt": "1", "max_tokens": 1}
        which = f" as {model}" if len(question.models) > 1 else ""
        try:
            # Where a redirect leads is not ours to visit.
            async with session.post(url, json=body, allow_redirects=False) as response:
                return _judged(url, which, response.status, await _beginning(response))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            return f"{url}{which} cannot be reached: {what[:_SHOWN]}"


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    content = b""
    async for part in response.content.iter_chunked(_ANSWER_BYTES):
        content += part
        if len(content) > _ANSWER_BYTES:
            break
    return content


def _judged(url: str, which: str, code: int, content: bytes) -> str | None:
    if code != 200:
        shown = content[:_SHOWN].decode(errors="replace")
        return f"{url}{which} answers {code}: {shown}"
    with suppress(ValueError, KeyError, TypeError):
        if json.loads(content)["choices"]:
            return None
    return f"the answer of {url}{which} is no completion"


def _cancel(inquiry: _Inquiry | None) -> None:
    if inquiry is not None and inquiry.task is not None:
        inquiry.task.cancel()
