"""Fault points: the external calls of an operator, named alike in every namespace.

A call is named by what it does to which object, so that the same point is met in every run of the
same life, however its passes happen to fall.
"""

import json
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Moment = Literal["before", "after"]
KILLED = 137
"""Exit code of an operator that met its point, as of a process that got SIGKILL."""
_LAST_WORD = "died"

_PATH = re.compile(r"/(?:api|apis)/(?:[^/]+/)*namespaces/[^/]+/(?P<rest>.+)")
_HASH = re.compile(r"\b[0-9a-f]{64}\b")
_TIME = re.compile(r"\d{4}-?\d\d-?\d\d[Tt]\d\d[:-]?\d\d[:-]?\d\d(?:\.\d+)?Z?")


@dataclass(frozen=True, order=True)
class Call:
    """One kind of external call on one object."""

    kind: str
    """Of Kubernetes the HTTP method, of S3 the name of the store's method."""
    object: str

    def __str__(self) -> str:
        return f"{self.kind} {self.object}"


@dataclass(frozen=True, order=True)
class Point:
    """Just before or just after the first call of its kind."""

    call: Call
    moment: Moment

    def __str__(self) -> str:
        return f"{self.moment} {self.call}"


def cluster_call(method: str, path: str, body: Mapping[str, Any] | None) -> Call:
    """Return the name of a request to the API server."""
    found = _PATH.fullmatch(path)
    rest = found["rest"] if found else path
    body = body or {}
    if rest.endswith("/status"):
        rest = f"{rest} {_status_said(body)}"
    elif rest == "events":
        rest = f"events {body.get('reason')}"
    elif rest.startswith("configmaps/"):
        labels = body.get("metadata", {}).get("labels", {})
        rest = f"{rest} {labels.get('palm-operator.dev/revision', '')}"
    elif method == "post":
        metadata = body.get("metadata", {})
        rest = f"{rest}/{metadata.get('name') or metadata.get('generateName', '')}"
    return Call(method.upper(), rest)


def store_call(method: str, key: str, namespace: str) -> Call:
    """Return the name of a request to S3; hashes and times in a key differ between runs."""
    key = key.replace(f"/{namespace}/", "/NAMESPACE/")
    return Call(f"S3 {method}", _TIME.sub("TIME", _HASH.sub("SHA256", key)))


def _status_said(body: Mapping[str, Any]) -> str:
    status = body.get("status") or {}
    said = {c["type"]: c for c in status.get("conditions") or []}
    doing, ready = said.get("Progressing", {}), said.get("Ready", {})
    return f"{status.get('revision')} {doing.get('reason')} Ready={ready.get('status')}"


class Faults:
    """Writes down every call, and ends the process at the first of some points that it meets."""

    def __init__(self, record: Path, points: Collection[Point], namespace: str) -> None:
        self._record, self._points, self.namespace = record, frozenset(points), namespace

    def at(self, call: Call, moment: Moment) -> None:
        """Note that a call is about to be made, or was; the process may end here."""
        dies = Point(call, moment) in self._points
        line = json.dumps([call.kind, call.object, moment, *([_LAST_WORD] if dies else [])]) + "\n"
        with self._record.open("a") as record:
            record.write(line)  # one write of a short line: threads do not mix them
        if dies:
            os._exit(KILLED)


def recorded(record: Path) -> list[Point]:
    """Return the points that were met, each once, in the order of their first meeting."""
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    return list(dict.fromkeys(Point(Call(kind, what), when) for kind, what, when, *_ in lines))


def died_at(record: Path) -> list[Point]:
    """Return the points at which processes ended."""
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    return [Point(Call(kind, what), when) for kind, what, when, *word in lines if word]
