"""A constant load on an OpenAI-compatible service, counted by phase.

Some clients, each with one request at a time and one kept connection: one of a few requests is a
stream. An answer counts when it is whole: status 200, choices, and of a stream its ``[DONE]``.
"""

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

_SECONDS = 60.0
_STREAM_EVERY = 5
_SHORT, _LONG = 2, 24  # tokens


@dataclass
class Phase:
    """What happened to the requests that began in a phase.

    Attributes:
        name: What is done meanwhile.
        kills: Whether Pods are killed in it.
        failures: What was wrong with how many requests.
        rerouted: Answers of another policy than the best, which could not answer.
        revisions: Answers by the revision that they came from.
    """

    name: str
    kills: bool = False
    seconds: float = 0.0
    requests: int = 0
    rerouted: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    revisions: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    in_flight: int = 0

    @property
    def failed(self) -> int:
        return sum(self.failures.values())


class Load:
    """Clients in a thread of their own; ``with load.phase(...)`` says what they go through."""

    def __init__(self, url: str, model: str, *, clients: int, pause: float) -> None:
        """Make a load that does not run yet.

        Args:
            url: Of the API, with ``/v1``.
            model: What requests ask for.
            clients: Requests at once.
            pause: Seconds from a client's answer to its next request.
        """
        self.phases: list[Phase] = []
        self._url, self._model, self._pause = url, model, pause
        self._clients = clients
        self._random = random.Random(0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    @property
    def requests(self) -> int:
        """Requests that have an outcome."""
        return sum(phase.requests for phase in self.phases)

    def __enter__(self) -> "Load":
        self.phases.append(Phase("starting"))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @contextmanager
    def phase(self, name: str, *, kills: bool = False) -> Iterator[Phase]:
        """Count what begins from here; requests of the phase before are waited for first."""
        before, phase = self.phases[-1], Phase(name, kills)
        self.phases.append(phase)
        while before.in_flight:
            time.sleep(0.01)
        began = time.monotonic()
        yield phase
        phase.seconds = time.monotonic() - began

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            await asyncio.gather(*(self._client(session, k) for k in range(self._clients)))

    async def _client(self, session: aiohttp.ClientSession, number: int) -> None:
        while not self._stop.is_set():
            number += 1
            await self._counted(session, stream=number % _STREAM_EVERY == 0)
            await asyncio.sleep(self._pause)

    async def _counted(self, session: aiohttp.ClientSession, *, stream: bool) -> None:
        phase = self.phases[-1]
        phase.in_flight += 1
        began = time.monotonic()
        try:
            headers = await self._asked(session, stream=stream)
            phase.revisions[headers["x-palm-revision"]] += 1
            phase.rerouted += "x-palm-fallback" in headers
        except (aiohttp.ClientError, TimeoutError, ValueError, LookupError) as error:
            phase.failures[f"{type(error).__name__}: {error}"[:200]] += 1
        phase.latencies.append(time.monotonic() - began)
        phase.requests += 1
        phase.in_flight -= 1

    async def _asked(self, session: aiohttp.ClientSession, *, stream: bool) -> Any:
        """Return the headers of one whole answer.

        Raises:
            ValueError: It is none.
        """
        share = self._random.random()
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": "What is 2 + 3?"}],
            "preference": {"brevity": share, "steps": 1 - share},
            "max_tokens": _LONG if stream else _SHORT,
            "stream": stream,
        }
        async with session.post(f"{self._url}/chat/completions", json=body) as answer:
            text = await answer.text()
        if answer.status != 200:
            raise ValueError(f"status {answer.status}: {text[:160]}")
        if stream and "data: [DONE]" not in text:
            raise ValueError("a stream without its end")
        if not stream and not json.loads(text)["choices"]:
            raise ValueError("an answer without a choice")
        return answer.headers
