"""The CRD's CEL rules without an API server: the same text, evaluated where no cluster is.

The rules are read from the CRD that the operator ships, so there is one source of truth. The
functions that Kubernetes adds to CEL and that the rules use are defined here; a rule that uses
another one fails loudly in the tests, which evaluate every rule of the CRD. Rules about a change
(those that speak of `oldSelf`) are left to the API server, which alone knows what was there before:
it too passes them over for an object that is new.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import celpy
from celpy import celtypes
from celpy.adapter import json_to_cel

from palm_operator.api.crd import custom_resource_definition

_SUFFIXES: dict[str, Decimal | int] = {
    "": 1, "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": 10**3,
    "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18, "Ki": 2**10, "Mi": 2**20,
    "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
}  # fmt: skip
_QUANTITY_LENGTH = 64
_OF_A_CHANGE = re.compile(r"\boldSelf\b")


@dataclass(frozen=True)
class Broken:
    """A rule that does not hold: which field, what the rule is about, what it says."""

    field: str
    value: Any
    message: str


def broken_rules(portfolio: Mapping[str, Any]) -> Iterator[Broken]:
    """Yield the rules of the CRD that a Portfolio breaks, outermost first.

    Args:
        portfolio: Of the schema's types, with its defaults filled in, without nulls.
    """
    version = custom_resource_definition()["spec"]["versions"][0]
    yield from _broken(version["schema"]["openAPIV3Schema"], portfolio, "")


def _broken(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[Broken]:
    for rule in schema.get("x-kubernetes-validations", ()):
        if not _OF_A_CHANGE.search(rule["rule"]) and not _evaluate(rule["rule"], value):
            yield _explained(rule, value, path)
    yield from _repeated_keys(schema, value, path)
    if isinstance(value, Mapping):
        fields = schema.get("properties", {})
        others = schema.get("additionalProperties")
        for key, entry in value.items():
            if key in fields:
                yield from _broken(fields[key], entry, f"{path}.{key}" if path else key)
            elif isinstance(others, Mapping):
                yield from _broken(others, entry, f"{path}[{key}]")
    elif isinstance(value, list) and "items" in schema:
        for index, entry in enumerate(value):
            yield from _broken(schema["items"], entry, f"{path}[{index}]")


def _explained(rule: Mapping[str, Any], value: Any, path: str) -> Broken:
    expression = rule.get("messageExpression")
    field = path + rule.get("fieldPath", "") if path else rule.get("fieldPath", "").lstrip(".")
    message = str(_evaluate(expression, value)) if expression else rule["message"]
    return Broken(field=field, value=value, message=message)


def _repeated_keys(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[Broken]:
    """Yield entries of a list that is a map by some keys, and has these keys already."""
    if schema.get("x-kubernetes-list-type") != "map":
        return
    seen = set()
    for index, entry in enumerate(value):
        key = tuple(entry.get(name) for name in schema["x-kubernetes-list-map-keys"])
        if key in seen:
            twice = ", ".join(map(str, key))
            yield Broken(f"{path}[{index}]", entry, f"'{twice}' is there twice")
        seen.add(key)


def _evaluate(expression: str, value: Any) -> Any:
    return _program(expression).evaluate({"self": json_to_cel(value)})


@lru_cache(maxsize=512)
def _program(expression: str) -> celpy.Runner:
    environment = celpy.Environment()
    return environment.program(environment.compile(expression), functions=_FUNCTIONS)


def _quantity(text: Any) -> Decimal:
    """Return the value of a Kubernetes quantity such as 500m or 8Gi."""
    shown = str(text)
    number = shown.rstrip("".join({c for suffix in _SUFFIXES for c in suffix}))
    suffix = shown[len(number) :]
    if len(shown) > _QUANTITY_LENGTH or suffix not in _SUFFIXES or not number:
        raise ValueError(shown)
    if not set(number) <= set("0123456789.+-eE"):
        raise ValueError(shown)
    return Decimal(number) * Decimal(_SUFFIXES[suffix])


def _is_quantity(text: Any) -> celtypes.BoolType:
    try:
        _quantity(text)
    except (ValueError, ArithmeticError):
        return celtypes.BoolType(False)
    return celtypes.BoolType(True)


class _Quantity(celtypes.StringType):
    """A quantity in CEL: text that compares by value."""


def _compare(left: Any, right: Any) -> celtypes.IntType:
    one, other = _quantity(left), _quantity(right)
    return celtypes.IntType((one > other) - (one < other))


def _is_url(text: Any) -> celtypes.BoolType:
    try:
        parts = urlsplit(str(text))
        _ = parts.port
    except ValueError:
        return celtypes.BoolType(False)
    return celtypes.BoolType(bool(parts.scheme))


_FUNCTIONS: dict[str, Any] = {
    "split": lambda text, separator: json_to_cel(str(text).split(str(separator))),
    "substring": lambda text, start, end: celtypes.StringType(str(text)[int(start) : int(end)]),
    "join": lambda entries, separator: celtypes.StringType(str(separator).join(map(str, entries))),
    "sum": lambda entries: celtypes.DoubleType(sum(map(float, entries))),
    "isQuantity": _is_quantity,
    "quantity": _Quantity,
    "isLessThan": lambda left, right: celtypes.BoolType(_compare(left, right) < 0),
    "compareTo": _compare,
    "isURL": _is_url,
    "url": lambda text: text,
    "getHostname": lambda text: celtypes.StringType(urlsplit(str(text)).hostname or ""),
}
