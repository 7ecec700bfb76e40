"""What the operator is told by its environment; the chart sets it.

======================  ==========================================================================
PALM_TRAINER_IMAGE      image of training Jobs whose Portfolio names none
PALM_EVALUATOR_IMAGE    image of evaluation Jobs whose Portfolio names none
PALM_STORAGE_ENDPOINTS  JSON list of S3 endpoints allowed besides AWS; ``["*"]`` allows any
PALM_WATCH_NAMESPACES   comma-separated namespaces; empty: the whole cluster
PALM_HTTP_PORT          port of ``/healthz`` and ``/readyz``; 0: none (8080)
PALM_RESYNC_SECONDS     how often every Portfolio is looked at without a reason (300)
PALM_LOG_FORMAT         ``text`` or ``json`` (text)
======================  ==========================================================================
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

LogFormat = Literal["text", "json"]


@dataclass(frozen=True)
class Settings:
    """The operator's own settings, as opposed to a Portfolio's."""

    trainer_image: str = "palm-operator/palm-trainer:latest"
    evaluator_image: str = "palm-operator/palm-evaluator:latest"
    storage_endpoints: tuple[str, ...] = ()
    """S3 endpoints besides AWS that Portfolios may use; ``*`` allows any."""
    namespaces: tuple[str, ...] = ()
    """Namespaces to watch; empty: all."""
    http_port: int = 8080
    resync_seconds: float = 300.0
    log_format: LogFormat = "text"

    def allows(self, endpoint: str) -> bool:
        """Say whether a Portfolio may store its artefacts at this endpoint; AWS always."""
        return not endpoint or "*" in self.storage_endpoints or endpoint in self.storage_endpoints


def settings_from(environment: Mapping[str, str]) -> Settings:
    """Return the settings of an environment.

    Raises:
        ValueError: A variable has a wrong value; names variable, value and rule.
    """
    defaults = Settings()
    log_format = environment.get("PALM_LOG_FORMAT") or defaults.log_format
    if log_format not in ("text", "json"):
        raise ValueError(f"PALM_LOG_FORMAT is {log_format!r}; it must be text or json")
    return Settings(
        trainer_image=environment.get("PALM_TRAINER_IMAGE") or defaults.trainer_image,
        evaluator_image=environment.get("PALM_EVALUATOR_IMAGE") or defaults.evaluator_image,
        storage_endpoints=_strings(environment, "PALM_STORAGE_ENDPOINTS"),
        namespaces=tuple(
            name
            for part in environment.get("PALM_WATCH_NAMESPACES", "").split(",")
            if (name := part.strip())
        ),
        http_port=int(_number(environment, "PALM_HTTP_PORT", defaults.http_port, least=0)),
        resync_seconds=_number(
            environment, "PALM_RESYNC_SECONDS", defaults.resync_seconds, least=1
        ),
        log_format="json" if log_format == "json" else "text",
    )


def _strings(environment: Mapping[str, str], variable: str) -> tuple[str, ...]:
    text = environment.get(variable) or "[]"
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{variable} is {text!r}; it must be a JSON list of strings")
    return tuple(value)


def _number(
    environment: Mapping[str, str], variable: str, default: float, *, least: float
) -> float:
    text = environment.get(variable) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not value >= least:
        raise ValueError(f"{variable} is {text!r}; it must be a number of at least {least:g}")
    return value
