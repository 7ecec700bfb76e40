"""The few calls of the Kubernetes API that the node makes, over one aiohttp session."""

import asyncio
import base64
import json
import logging
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from palm_devcluster.node.fields import Json

logger = logging.getLogger(__name__)

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
FORBIDDEN, NOT_FOUND, CONFLICT = 403, 404, 409
_WATCH_S = 240  # the server ends a watch after this long and the client resumes it
_LINE_BYTES = 16 * 1024 * 1024  # a watch event is one line


class ApiError(Exception):
    """The API server refused a call; ``code`` is the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Credentials:
    """Where the API server is and how the node proves who it is."""

    server: str
    tls: ssl.SSLContext


def read_kubeconfig(path: Path) -> Credentials:
    """The current context of a kubeconfig with client certificates.

    Raises:
        ValueError: The file has no current context or no client certificate.
    """
    document = yaml.safe_load(path.read_text())

    def named(kind: str, name: str) -> Json:
        for entry in document.get(f"{kind}s") or []:
            if entry["name"] == name:
                return dict(entry[kind])
        raise ValueError(f"{path}: no {kind} {name!r}")

    context = named("context", document.get("current-context", ""))
    cluster, user = named("cluster", context["cluster"]), named("user", context["user"])
    tls = ssl.create_default_context(cafile=_as_file(cluster, "certificate-authority", path))
    certificate = _as_file(user, "client-certificate", path)
    tls.load_cert_chain(certificate, _as_file(user, "client-key", path))
    return Credentials(server=cluster["server"].rstrip("/"), tls=tls)


def _as_file(entry: Json, key: str, kubeconfig: Path) -> str:
    if f"{key}-data" not in entry:
        if key not in entry:
            raise ValueError(f"{kubeconfig}: neither {key} nor {key}-data is set")
        return str(kubeconfig.parent / entry[key])
    with tempfile.NamedTemporaryFile(delete=False, prefix="palm-node-") as file:
        file.write(base64.b64decode(entry[f"{key}-data"]))
    _scratch.append(Path(file.name))
    return file.name


_scratch: list[Path] = []


class Api:
    """JSON in, JSON out; every refusal is an ``ApiError``."""

    def __init__(self, credentials: Credentials) -> None:
        self._server = credentials.server
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=credentials.tls, limit=0),
            timeout=aiohttp.ClientTimeout(total=30),
            read_bufsize=2**18,
            headers={"User-Agent": "palm-process-node", "Accept": "application/json"},
        )
        while _scratch:  # OpenSSL has read them
            _scratch.pop().unlink()

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def call(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        content_type: str = "application/json",
        params: Mapping[str, str] | None = None,
    ) -> Json:
        """One request.

        Raises:
            ApiError: The server answered with a failure.
            aiohttp.ClientError: The server could not be reached.
        """
        data = None if body is None else json.dumps(body)
        async with self._session.request(
            method,
            self._server + path,
            data=data,
            params=params,
            headers={"Content-Type": content_type},
        ) as response:
            text = await response.text()
            if response.status >= 400:
                raise ApiError(response.status, _message(text))
            return dict(json.loads(text))

    async def watch(self, path: str, params: Mapping[str, str]) -> AsyncIterator[Json]:
        """Events of one watch until the server ends it.

        Raises:
            ApiError: Refused, or ended by an error event (410: list again).
        """
        query = {**params, "watch": "true", "allowWatchBookmarks": "true"}
        query["timeoutSeconds"] = str(_WATCH_S)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_WATCH_S + 30)
        url = self._server + path
        async with self._session.get(url, params=query, timeout=timeout) as response:
            if response.status >= 400:
                raise ApiError(response.status, _message(await response.text()))
            async for line in _lines(response.content):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code", 500), event["object"]["message"])
                yield event


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length up to ``_LINE_BYTES``; aiohttp's own limit is below a large Pod."""
    pending = b""
    async for chunk in stream.iter_any():
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            yield line
        if len(pending) > _LINE_BYTES:
            raise ApiError(500, f"a watch event is longer than {_LINE_BYTES} bytes")


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:500]


FAILURES = (ApiError, aiohttp.ClientError, asyncio.TimeoutError)


async def listed_and_watched(
    api: Api, path: str, params: Mapping[str, str]
) -> AsyncIterator[tuple[str, Any]]:
    """Follow a collection for ever: ``("LIST", items)`` first and after each gap, then events."""
    version, pause = "", 0.5
    while True:
        try:
            if not version:
                page = await api.call("GET", path, params=params)
                version = page["metadata"]["resourceVersion"]
                yield "LIST", page["items"]
            async for event in api.watch(path, {**params, "resourceVersion": version}):
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    yield event["type"], event["object"]
            pause = 0.5
        except FAILURES as error:
            if isinstance(error, ApiError):
                version = ""
            logger.warning("watch of %s ended: %s; again in %.1f s", path, error, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, 30.0)
