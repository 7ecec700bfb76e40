"""What the operator is told by its environment; the chart sets it.

======================  ==========================================================================
PALM_TRAINER_IMAGE      image of training Jobs whose Portfolio names none
PALM_EVALUATOR_IMAGE    image of evaluation Jobs whose Portfolio names none
PALM_STORAGE_ENDPOINTS  JSON list of S3 endpoints allowed besides AWS; ``["*"]`` allows any
PALM_STORAGE_LOCATIONS  JSON list of ``bucket`` or ``bucket/prefix`` where Portfolios may store,
                        with ``{namespace}`` for their namespace; empty: everywhere
PALM_ALLOW_REMOTE_CODE  ``true``: Portfolios may name reward models that come with Python code
PALM_SERVING_URL        where users reach an InferenceService, with ``{namespace}`` and ``{name}``;
                        empty: the address inside the cluster that KServe reports
PALM_GATEWAY_URL        where users reach the gateway; empty: there is none
PALM_GATEWAY_NAMESPACES comma-separated namespaces that it serves; empty: all
PALM_GATEWAY_DEFAULT_PREFERENCES
                        as the gateway has it: JSON object, preference of requests without one by
                        namespace/name
PALM_WATCH_NAMESPACES   comma-separated namespaces; empty: the whole cluster
PALM_OPERATOR_CLASS     spec.operatorClass of the Portfolios that are this operator's; empty: those
                        that name none
PALM_LEASE              ``namespace/name`` of the Lease that the leader holds; empty: no election,
                        for an operator that is alone
PALM_HTTP_HOST          address of the probes' port; empty: all
PALM_HTTP_PORT          port of ``/healthz`` and ``/readyz``; 0: none (8080)
PALM_MAX_POLICIES       most policies that any Portfolio may publish, whatever its
                        spec.serving.maxPolicies; 0: no such ceiling (0)
PALM_MAX_POLICIES_IN_ALL
                        most policies that all its Portfolios may publish together; 0: no such
                        ceiling (0)
PALM_RESYNC_SECONDS     how often every Portfolio is looked at without a reason (300)
PALM_LOG_FORMAT         ``text`` or ``json`` (text)
======================  ==========================================================================
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from palm.errors import InvalidPreference
from palm.route_table import is_url
from palm.routing import parse_preference
from palm_operator.storage_rules import StorageRules, is_location

LogFormat = Literal["text", "json"]


@dataclass(frozen=True)
class Settings:
    """The operator's own settings, as opposed to a Portfolio's."""

    trainer_image: str = "palm-operator/palm-trainer:latest"
    evaluator_image: str = "palm-operator/palm-evaluator:latest"
    storage: StorageRules = field(default_factory=StorageRules)
    """Where Portfolios may store."""
    allow_remote_code: bool = False
    """Whether Portfolios may run Python code that comes with a reward model."""
    serving_url: str = ""
    """URL of an InferenceService with {namespace} and {name}; empty: KServe's address."""
    gateway_url: str = ""
    """Base URL of the gateway's API, with /v1; empty: there is no gateway."""
    gateway_namespaces: tuple[str, ...] = ()
    """Namespaces that it serves; empty: all."""
    gateway_preferences: Mapping[str, str] = field(default_factory=dict)
    """Preferences of requests without one, by namespace/name."""
    namespaces: tuple[str, ...] = ()
    """Namespaces to watch; empty: all."""
    operator_class: str = ""
    """Whose Portfolios are looked after: those that name this class."""
    lease: tuple[str, str] | None = None
    """Namespace and name of the Lease to hold while acting; None: act without one."""
    http_host: str = ""
    http_port: int = 8080
    max_policies: int | None = None
    """Most policies that any Portfolio may publish; None: as many as it says itself."""
    max_policies_in_all: int | None = None
    """Most policies that all Portfolios may publish together; None: any number."""
    resync_seconds: float = 300.0
    log_format: LogFormat = "text"

    def cares_for(self, portfolio: Mapping[str, Any]) -> bool:
        """Say whether a Portfolio, as the API server has it, is this operator's."""
        spec = portfolio.get("spec") or {}
        return (spec.get("operatorClass") or "") == self.operator_class


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
        storage=StorageRules(
            endpoints=_strings(environment, "PALM_STORAGE_ENDPOINTS"),
            locations=_locations(environment),
        ),
        allow_remote_code=_boolean(environment, "PALM_ALLOW_REMOTE_CODE"),
        serving_url=_template(environment, "PALM_SERVING_URL"),
        gateway_url=_gateway_url(environment),
        gateway_namespaces=_names(environment, "PALM_GATEWAY_NAMESPACES"),
        gateway_preferences=_preferences(environment),
        namespaces=_names(environment, "PALM_WATCH_NAMESPACES"),
        operator_class=environment.get("PALM_OPERATOR_CLASS", ""),
        lease=_lease(environment),
        http_host=environment.get("PALM_HTTP_HOST", ""),
        http_port=int(_number(environment, "PALM_HTTP_PORT", defaults.http_port, least=0)),
        max_policies=_ceiling(environment, "PALM_MAX_POLICIES"),
        max_policies_in_all=_ceiling(environment, "PALM_MAX_POLICIES_IN_ALL"),
        resync_seconds=_number(
            environment, "PALM_RESYNC_SECONDS", defaults.resync_seconds, least=1
        ),
        log_format="json" if log_format == "json" else "text",
    )


def _ceiling(environment: Mapping[str, str], variable: str) -> int | None:
    text = environment.get(variable) or "0"
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{variable} is {text!r}; it must be a whole number of at least 0")
    return int(text) or None


def _lease(environment: Mapping[str, str]) -> tuple[str, str] | None:
    text = environment.get("PALM_LEASE") or ""
    namespace, _, name = text.partition("/")
    if text and not (namespace and name and "/" not in name):
        raise ValueError(f"PALM_LEASE is {text!r}; it must be namespace/name")
    return (namespace, name) if text else None


def _names(environment: Mapping[str, str], variable: str) -> tuple[str, ...]:
    parts = environment.get(variable, "").split(",")
    return tuple(name for part in parts if (name := part.strip()))


def _gateway_url(environment: Mapping[str, str]) -> str:
    text = environment.get("PALM_GATEWAY_URL") or ""
    if text and not is_url(text):
        raise ValueError(
            f"PALM_GATEWAY_URL is {text!r}; it must be http:// or https://, host, port and path"
        )
    return f"{text.rstrip('/').removesuffix('/v1')}/v1" if text else ""


def _preferences(environment: Mapping[str, str]) -> dict[str, str]:
    variable = "PALM_GATEWAY_DEFAULT_PREFERENCES"
    text = environment.get(variable) or "{}"
    try:
        value = json.loads(text)
        for preference in value.values():
            parse_preference(preference)
    except InvalidPreference as error:
        raise ValueError(f"{variable} is {text!r}: {error}") from None
    except (ValueError, AttributeError, TypeError):
        raise ValueError(
            f"{variable} is {text!r}; it must be a JSON object such as "
            '{"namespace/name": "helpfulness=0.7,brevity=0.3"}'
        ) from None
    return dict(value)


def _template(environment: Mapping[str, str], variable: str) -> str:
    text = environment.get(variable) or ""
    rest = text.replace("{namespace}", "").replace("{name}", "")
    is_complete = "{namespace}" in text and "{name}" in text and not set(rest) & set("{}")
    if text and not (is_complete and text.startswith(("http://", "https://"))):
        raise ValueError(
            f"{variable} is {text!r}; it must begin with http:// or https://, hold "
            "{namespace} and {name}, and no other braces"
        )
    return text


def _boolean(environment: Mapping[str, str], variable: str) -> bool:
    text = environment.get(variable) or "false"
    if text not in ("true", "false"):
        raise ValueError(f"{variable} is {text!r}; it must be true or false")
    return text == "true"


def _strings(environment: Mapping[str, str], variable: str) -> tuple[str, ...]:
    text = environment.get(variable) or "[]"
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{variable} is {text!r}; it must be a JSON list of strings")
    return tuple(value)


def _locations(environment: Mapping[str, str]) -> tuple[str, ...]:
    variable = "PALM_STORAGE_LOCATIONS"
    locations = _strings(environment, variable)
    if wrong := [text for text in locations if not is_location(text)]:
        raise ValueError(
            f"{variable} has {wrong[0]!r}; it must be bucket or bucket/prefix, perhaps with "
            "{namespace}"
        )
    return locations


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
