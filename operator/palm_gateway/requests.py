"""What a request asks for, read with suspicion. Pure: bytes and headers in, values out."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from palm.errors import InvalidPreference
from palm.routing import preference_of
from palm_gateway.answers import Header, Refusal

PREFERENCE_HEADER = b"x-palm-preference"
PREFERENCE_FIELD = "preference"

_TRACE_HEADERS = {
    b"traceparent": re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"),
    b"tracestate": re.compile(rb"[a-z0-9_\-*/@]+=[\x21-\x2b\x2d-\x3c\x3e-\x7e]+"
                              rb"(,[a-z0-9_\-*/@]+=[\x21-\x2b\x2d-\x3c\x3e-\x7e]+)*"),
}  # fmt: skip
_LONGEST_TRACE_HEADER = 512


@dataclass(frozen=True)
class Ask:
    """One request for a completion.

    Attributes:
        model: Name of a Portfolio, as the user wrote it.
        preference: Amounts by reward name; None where there is none.
        rest: The body without model and preference, as JSON; parsed, it would take many times
            its size for as long as an answer takes.
    """

    model: str
    preference: Mapping[str, float] | None
    rest: bytes

    def content_for(self, model: str) -> bytes:
        """Return the body to forward, with the model name of a policy."""
        named = json.dumps({"model": model}).encode()
        return named if self.rest == b"{}" else named[:-1] + b"," + self.rest[1:]


def ask_of(headers: Sequence[Header], body: bytes) -> Ask:
    """Return what a request asks for.

    Raises:
        Refusal: The body is no JSON object, names no model, or the preference is wrong.
    """
    _check_content(headers)
    document = _document(body)
    model = document.pop("model", None)
    if not isinstance(model, str) or not model:
        raise Refusal(400, "model must name a portfolio", "invalid_model", "model")
    in_body = PREFERENCE_FIELD in document
    amounts = document.pop(PREFERENCE_FIELD, None)
    texts = [value for name, value in headers if name == PREFERENCE_HEADER]
    if len(texts) + in_body > 1:
        raise Refusal(
            400,
            "the preference is given more than once; use one header, or the body's field",
            "invalid_preference",
            PREFERENCE_FIELD,
        )
    rest = _json(document)
    if not texts and amounts is None:
        return Ask(model, None, rest)
    try:
        return Ask(model, preference_of(texts[0].decode("latin-1") if texts else amounts), rest)
    except InvalidPreference as error:
        raise refused_preference(error) from None


def refused_preference(error: InvalidPreference) -> Refusal:
    """Return the answer to a preference that has no weight vector."""
    return Refusal(400, str(error), "invalid_preference", PREFERENCE_FIELD)


def trace_headers(headers: Sequence[Header]) -> dict[str, str]:
    """Return the inbound headers that are forwarded: W3C trace context, where it is well formed."""
    return {
        name.decode(): value.decode()
        for name, value in headers
        if name in _TRACE_HEADERS
        and len(value) <= _LONGEST_TRACE_HEADER
        and _TRACE_HEADERS[name].fullmatch(value)
    }


def _check_content(headers: Sequence[Header]) -> None:
    kinds = [value for name, value in headers if name == b"content-type"]
    if len(kinds) != 1 or kinds[0].split(b";", 1)[0].strip().lower() != b"application/json":
        raise Refusal(415, "content-type must be application/json", "unsupported_media_type")
    if any(name == b"content-encoding" and value != b"identity" for name, value in headers):
        raise Refusal(415, "the body must not be compressed", "unsupported_media_type")


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body.decode("utf-8"), parse_constant=_refused_constant)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise _no_object()
    return document


def _json(document: Mapping[str, Any]) -> bytes:
    def written(*, ascii_only: bool) -> bytes:
        text = json.dumps(document, separators=(",", ":"), allow_nan=False, ensure_ascii=ascii_only)
        return text.encode()

    try:
        try:
            return written(ascii_only=False)
        except UnicodeEncodeError:
            return written(ascii_only=True)  # lone surrogates are legal in JSON, not in UTF-8
    except (ValueError, RecursionError):
        raise _no_object() from None


def _no_object() -> Refusal:
    return Refusal(400, "the body must be a JSON object in UTF-8", "invalid_json")


def _refused_constant(name: str) -> float:
    raise ValueError(name)
