"""An S3 endpoint that fails as it is told: a proxy before a real one.

Requests go on as they came, so that their signatures hold; a rule may answer in the server's place,
send on only half of a body and hang up, never answer, or call somebody first.
"""

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

Fate = Literal["pass", "500", "503", "truncate", "hang"]
Rule = Callable[[str, str], Fate]
"""From method and path to what becomes of the request."""


@dataclass
class FlakyS3:
    """A proxy before the S3 server at an endpoint."""

    upstream: str
    rule: Rule = field(default=lambda method, path: "pass")
    requests: list[tuple[str, str]] = field(default_factory=list)
    _server: ThreadingHTTPServer | None = None

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        """Listen."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening."""
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()


def _handler(proxy: FlakyS3) -> type[BaseHTTPRequestHandler]:
    address = urlsplit(proxy.upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            method, path = self.command, urlsplit(self.path).path
            proxy.requests.append((method, path))
            fate = proxy.rule(method, path)
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if fate == "hang":
                threading.Event().wait(30)
                self.close_connection = True
                return
            if fate in ("500", "503"):
                self._answer(int(fate), b"<Error><Code>InternalError</Code></Error>")
                return
            if fate == "truncate":
                self._half(method, body)
                return
            self._pass_on(method, body)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_one  # noqa: N815

        def _pass_on(self, method: str, body: bytes) -> None:
            upstream = HTTPConnection(address.hostname or "", address.port or 80, timeout=30)
            upstream.putrequest(method, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("expect", "connection"):
                    upstream.putheader(name, value)
            upstream.endheaders(body)
            response = upstream.getresponse()
            content = response.read()
            self.send_response_only(response.status)
            for name, value in response.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                    self.send_header(name, value)
            size = response.getheader("Content-Length") if method == "HEAD" else str(len(content))
            self.send_header("Content-Length", size or "0")
            self.end_headers()
            self.wfile.write(content)
            upstream.close()

        def _half(self, method: str, body: bytes) -> None:
            """Send on a request with half of its body, and hang up on both sides."""
            with socket.create_connection((address.hostname or "", address.port or 80)) as line:
                lines = [f"{method} {self.path} HTTP/1.1"]
                lines += [f"{n}: {v}" for n, v in self.headers.items() if n.lower() != "expect"]
                line.sendall("\r\n".join([*lines, "", ""]).encode() + body[: len(body) // 2])
            self.close_connection = True

        def _answer(self, status: int, content: bytes) -> None:
            self.send_response_only(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    return Handler
