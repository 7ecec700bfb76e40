"""ConfigMaps and Secrets that a Pod refers to: which ones, and their content."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from palm_devcluster.node.fields import ConfigError, Json

Kind = Literal["configmap", "secret"]
Reference = tuple[Kind, str]


@dataclass(frozen=True)
class Sources:
    """Content of the referred objects; an object that does not exist is absent."""

    objects: Mapping[Reference, Mapping[str, bytes]] = field(default_factory=dict)

    def content(self, kind: Kind, name: str, *, optional: bool) -> Mapping[str, bytes]:
        """All keys of an object.

        Raises:
            ConfigError: It does not exist and is not optional.
        """
        found = self.objects.get((kind, name))
        if found is None and not optional:
            raise ConfigError(f'{kind} "{name}" not found')
        return found or {}

    def key(self, kind: Kind, selector: Json) -> bytes | None:
        """One key, or None where it is optional and missing.

        Raises:
            ConfigError: The object or the key is missing and not optional.
        """
        optional = selector.get("optional", False)
        content = self.content(kind, selector["name"], optional=optional)
        value = content.get(selector["key"])
        if value is None and not optional:
            name = selector["name"]
            raise ConfigError(f'key "{selector["key"]}" not found in {kind} "{name}"')
        return value


def object_content(document: Json) -> dict[str, bytes]:
    """The keys of a ConfigMap or Secret as bytes."""
    if document["kind"] == "Secret":
        return {key: base64.b64decode(value) for key, value in document.get("data", {}).items()}
    texts = {key: value.encode() for key, value in document.get("data", {}).items()}
    binary = {k: base64.b64decode(v) for k, v in document.get("binaryData", {}).items()}
    return {**texts, **binary}


def environment_references(container: Json) -> set[Reference]:
    """What the environment of a container reads."""
    return set(_environment_references(container))


def _environment_references(container: Json) -> Iterator[Reference]:
    for entry in container.get("env", []):
        yield from _selected(entry.get("valueFrom", {}), "configMapKeyRef", "secretKeyRef")
    for entry in container.get("envFrom", []):
        yield from _selected(entry, "configMapRef", "secretRef")


def volume_references(pod: Json) -> set[Reference]:
    """What the volumes of a Pod read."""
    return set(_volume_references(pod))


def _volume_references(pod: Json) -> Iterator[Reference]:
    for volume in pod["spec"].get("volumes", []):
        if "configMap" in volume:
            yield ("configmap", volume["configMap"]["name"])
        if "secret" in volume:
            yield ("secret", volume["secret"]["secretName"])
        for source in volume.get("projected", {}).get("sources", []):
            yield from _selected(source, "configMap", "secret")


def _selected(source: Mapping[str, Any], configmap: str, secret: str) -> Iterator[Reference]:
    if configmap in source:
        yield ("configmap", source[configmap]["name"])
    if secret in source:
        yield ("secret", source[secret]["name"])
