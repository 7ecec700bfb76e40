"""Errors as the OpenAI API words them, and answers that are not relayed."""

import json
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]


@dataclass
class Refusal(Exception):
    """A request that gets an error; its message is for the user and never quotes a prompt."""

    status: int
    message: str
    code: str
    param: str | None = None
    headers: Sequence[Header] = field(default_factory=tuple)

    @property
    def document(self) -> dict[str, Any]:
        """Return the body that OpenAI's clients read."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error}


async def answer_json(
    send: Send, document: Any, *, status: int = 200, headers: Sequence[Header] = ()
) -> None:
    """Send a whole answer."""
    content = json.dumps(document).encode()
    await answer(send, content, b"application/json", status=status, headers=headers)


async def answer(
    send: Send,
    content: bytes,
    content_type: bytes,
    *,
    status: int = 200,
    headers: Sequence[Header] = (),
) -> None:
    """Send a whole answer."""
    all_headers = [
        (b"content-type", content_type),
        (b"content-length", str(len(content)).encode()),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": content})
