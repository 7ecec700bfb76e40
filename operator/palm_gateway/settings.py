"""What the gateway is told by its environment; the chart sets it.

================================  ================================================================
PALM_GATEWAY_NAMESPACES           comma-separated namespaces whose Portfolios are served; required
PALM_GATEWAY_UPSTREAM_HOSTS       JSON list of hosts that route tables may name; ``*.`` at the start
                                  stands for one or more labels, ``{namespace}`` for the table's
                                  (``["*.{namespace}.svc", "*.{namespace}.svc.cluster.local"]``)
PALM_OPERATOR_CLASS               class of the install whose route tables are followed; empty: those
                                  of Portfolios without a class
PALM_GATEWAY_HOST                 address to listen on; empty: all
PALM_GATEWAY_PORT                 port of the API (8080)
PALM_GATEWAY_ADMIN_PORT           port of ``/healthz``, ``/readyz`` and ``/metrics`` (8081)
PALM_GATEWAY_TOKEN_FILE           file of bearer tokens, one a line, read again when it changes;
                                  empty: nobody is asked for one
PALM_GATEWAY_TLS_CERTIFICATE      file of the certificate chain, read again when it changes; empty:
                                  no TLS
PALM_GATEWAY_TLS_KEY              file of its private key
PALM_GATEWAY_UPSTREAM_CA          file of the CA certificates of ``https`` upstreams; empty: the
                                  system's
PALM_GATEWAY_DEFAULT_PREFERENCES  JSON object: preference of requests without one, by namespace/name
PALM_GATEWAY_MAX_BODY_BYTES       longest request body (1048576)
PALM_GATEWAY_MAX_REQUESTS         requests at once; more are answered with 429 (512)
PALM_GATEWAY_CONNECT_SECONDS      until a policy that does not accept a connection is down (2)
PALM_GATEWAY_TIMEOUT_SECONDS      longest answer (600)
PALM_GATEWAY_DRAIN_SECONDS        between SIGTERM and the last new request (5)
PALM_LOG_FORMAT                   ``text`` or ``json`` (text)
================================  ================================================================
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from palm.errors import InvalidPreference
from palm.routing import parse_preference

LogFormat = Literal["text", "json"]

_HOST = re.compile(r"(\*\.)?([a-z0-9{]([-a-z0-9.{}]*[a-z0-9}])?|\[[0-9a-f:.]+\])")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Settings:
    """The gateway's own settings."""

    namespaces: tuple[str, ...]
    upstream_hosts: tuple[str, ...] = ("*.{namespace}.svc", "*.{namespace}.svc.cluster.local")
    operator_class: str = ""
    host: str = ""
    port: int = 8080
    admin_port: int = 8081
    token_file: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    upstream_ca: Path | None = None
    default_preferences: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    max_body_bytes: int = 1024 * 1024
    max_requests: int = 512
    connect_seconds: float = 2.0
    timeout_seconds: float = 600.0
    drain_seconds: float = 5.0
    log_format: LogFormat = "text"


def settings_from(environment: Mapping[str, str]) -> Settings:
    """Return the settings.

    Raises:
        ValueError: A variable has a wrong value; names variable, value and rule.
    """
    read = _Reader(environment)
    log_format = environment.get("PALM_LOG_FORMAT") or "text"
    if log_format not in ("text", "json"):
        raise ValueError(f"PALM_LOG_FORMAT is {log_format!r}; it must be text or json")
    certificate, key = read.file("TLS_CERTIFICATE"), read.file("TLS_KEY")
    if (certificate is None) != (key is None):
        raise ValueError("PALM_GATEWAY_TLS_CERTIFICATE and PALM_GATEWAY_TLS_KEY go together")
    return Settings(
        namespaces=read.namespaces(),
        upstream_hosts=read.hosts(),
        operator_class=environment.get("PALM_OPERATOR_CLASS", ""),
        host=read.text("HOST"),
        port=read.port("PORT", 8080),
        admin_port=read.port("ADMIN_PORT", 8081),
        token_file=read.file("TOKEN_FILE"),
        tls_certificate=certificate,
        tls_key=key,
        upstream_ca=read.file("UPSTREAM_CA"),
        default_preferences=read.preferences(),
        max_body_bytes=int(read.number("MAX_BODY_BYTES", 1024 * 1024, least=1024)),
        max_requests=int(read.number("MAX_REQUESTS", 512, least=1)),
        connect_seconds=read.number("CONNECT_SECONDS", 2, least=0.01),
        timeout_seconds=read.number("TIMEOUT_SECONDS", 600, least=0.1),
        drain_seconds=read.number("DRAIN_SECONDS", 5, least=0),
        log_format="json" if log_format == "json" else "text",
    )


class _Reader:
    """Variables with the common prefix."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, name: str) -> str:
        return self._environment.get(f"PALM_GATEWAY_{name}", "").strip()

    def file(self, name: str) -> Path | None:
        text = self.text(name)
        return Path(text) if text else None

    def number(self, name: str, default: float, *, least: float) -> float:
        text = self.text(name) or str(default)
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value < float("inf"):
            raise ValueError(
                f"PALM_GATEWAY_{name} is {text!r}; it must be a number of at least {least:g}"
            )
        return value

    def port(self, name: str, default: int) -> int:
        value = self.number(name, default, least=0)
        if value != int(value) or value > 65535:
            raise ValueError(f"PALM_GATEWAY_{name} is {value:g}; it must be a port")
        return int(value)

    def namespaces(self) -> tuple[str, ...]:
        text = self.text("NAMESPACES")
        names = tuple(dict.fromkeys(n for part in text.split(",") if (n := part.strip())))
        if not names or not all(_NAMESPACE.fullmatch(name) for name in names):
            raise ValueError(
                f"PALM_GATEWAY_NAMESPACES is {text!r}; it must name the namespaces to serve, "
                "separated by commas"
            )
        return names

    def hosts(self) -> tuple[str, ...]:
        text = self.text("UPSTREAM_HOSTS")
        if not text:
            return Settings.upstream_hosts
        value = self._json("UPSTREAM_HOSTS", text)
        if not isinstance(value, list) or not all(
            isinstance(host, str) and _HOST.fullmatch(host) for host in value
        ):
            raise ValueError(
                f"PALM_GATEWAY_UPSTREAM_HOSTS is {text!r}; it must be a JSON list of host names "
                'such as "*.{namespace}.svc"'
            )
        return tuple(value)

    def preferences(self) -> dict[str, dict[str, float]]:
        text = self.text("DEFAULT_PREFERENCES") or "{}"
        value = self._json("DEFAULT_PREFERENCES", text)
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise ValueError(
                f"PALM_GATEWAY_DEFAULT_PREFERENCES is {text!r}; it must be a JSON object such as "
                '{"namespace/name": "helpfulness=0.7,brevity=0.3"}'
            )
        try:
            return {key: parse_preference(preference) for key, preference in value.items()}
        except InvalidPreference as error:
            raise ValueError(f"PALM_GATEWAY_DEFAULT_PREFERENCES: {error}") from None

    def _json(self, name: str, text: str) -> object:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError(f"PALM_GATEWAY_{name} is {text!r}; it must be JSON") from None
