"""One request and its answer over ASGI: the body within bounds, the answer as its bytes arrive."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from palm_gateway.answers import Header, Receive, Refusal, Scope, Send, answer_json
from palm_gateway.budget import Budget
from palm_gateway.upstream import Answer

_BODY_SECONDS = 30.0
_CLOSE: Header = (b"connection", b"close")


class Gone(Exception):
    """The client went away."""


def busy(message: str) -> Refusal:
    """Return the answer to a request that comes when there is no room for it."""
    headers = ((b"retry-after", b"1"), _CLOSE)
    return Refusal(429, message, "too_many_requests", headers=headers)


class Exchange:
    """A request, and how far its answer is.

    Attributes:
        headers: Inbound, names in lower case.
        common: Headers of every answer to it.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, common: Sequence[Header]
    ) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: list[Header] = list(scope["headers"])
        self.common = tuple(common)
        self._receive, self._send = receive, send
        self._has_begun = False
        self._held = 0

    async def body(self, most: int, budget: Budget) -> bytes:
        """Return the whole body; ``release`` gives back what it takes of the budget.

        Raises:
            Refusal: It is longer than ``most`` bytes, does not arrive, or too much is held.
            Gone: The client went away.
        """
        too_long = Refusal(
            413, f"the body is longer than {most} bytes", "body_too_large", headers=(_CLOSE,)
        )
        for name, value in self.headers:
            if name == b"content-length" and int(value) > most:
                raise too_long
        parts: list[bytes] = []
        length, more = 0, True
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                while more:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise Gone
                    part = message.get("body", b"")
                    length += len(part)
                    if length > most:
                        raise too_long
                    if not budget.take(len(part)):
                        raise busy("too many long requests are being answered; try again soon")
                    self._held += len(part)
                    parts.append(part)
                    more = message.get("more_body", False)
        except TimeoutError:
            raise Refusal(
                408, "the body did not arrive in time", "body_timeout", headers=(_CLOSE,)
            ) from None
        return b"".join(parts)

    def release(self, budget: Budget) -> None:
        """Give back what the body took."""
        budget.give(self._held)
        self._held = 0

    async def until_gone(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work unless the client goes away first: then nobody needs the answer.

        Raises:
            Gone: The client went away; the work is cancelled.
        """
        task = asyncio.create_task(work)
        gone = asyncio.create_task(self._gone())
        try:
            await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Gone
        finally:
            for started in (task, gone):
                started.cancel()
            await asyncio.gather(task, gone, return_exceptions=True)
        task.result()

    async def relay(self, answer: Answer, headers: Sequence[Header]) -> None:
        """Pass an answer on, byte for byte and as it arrives.

        Raises:
            Broken: The upstream went away in the middle; the client sees a broken connection.
        """
        try:
            all_headers = [*answer.headers, *self.common, *headers]
            self._has_begun = True
            await self._send(
                {"type": "http.response.start", "status": answer.status, "headers": all_headers}
            )
            await self._send_part(answer.first, more=True)
            async for chunk in answer.rest():
                await self._send_part(chunk, more=True)
            await self._send_part(b"", more=False)
        finally:
            answer.close()

    async def tell(self, document: Any) -> None:
        """Answer with a document."""
        self._has_begun = True
        await answer_json(self._send, document, headers=self.common)

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with an error; an answer that has begun is left incomplete, which cuts it."""
        if self._has_begun:
            return
        self._has_begun = True
        await answer_json(
            self._send,
            refusal.document,
            status=refusal.status,
            headers=(*self.common, *refusal.headers),
        )

    async def _send_part(self, content: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": content, "more_body": more})

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
