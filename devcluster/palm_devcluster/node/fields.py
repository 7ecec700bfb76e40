"""The downward API: values of a Pod's own fields and of its containers' resources."""

import re
from collections.abc import Mapping
from typing import Any

from palm_devcluster.node.addresses import ADDRESS, pod_address
from palm_devcluster.node.quantity import in_units

Json = dict[str, Any]

_KEYED = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")


class ConfigError(Exception):
    """A container cannot be configured; the message names what is missing or not allowed."""


def field_value(pod: Json, path: str) -> str:
    """The value of one ``fieldRef``.

    Raises:
        ConfigError: The downward API has no such field.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    if keyed := _KEYED.match(path):
        return str(metadata.get(keyed[1], {}).get(keyed[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        items = metadata.get(path.removeprefix("metadata."), {})
        return "\n".join(f'{key}="{_quoted(items[key])}"' for key in sorted(items))
    fields = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        **dict.fromkeys(("status.hostIP", "status.hostIPs"), ADDRESS),
        **dict.fromkeys(("status.podIP", "status.podIPs"), pod_address(pod)),
    }
    if path not in fields:
        raise ConfigError(f"fieldRef {path!r} is not a field that the downward API offers")
    return str(fields[path])


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resource_value(container: Json, reference: Json, allocatable: Mapping[str, str]) -> str:
    """The value of one ``resourceFieldRef``; an unset limit is what the node can allocate."""
    kind, _, resource = reference["resource"].partition(".")
    resources = container.get("resources", {})
    stated = resources.get(kind, {}).get(resource)
    if stated is None:
        stated = allocatable.get(resource, "0") if kind == "limits" else "0"
    return in_units(str(stated), str(reference.get("divisor", "1")))


def containers_of(pod: Json) -> list[Json]:
    """Init containers, then containers, in the order of the spec."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
