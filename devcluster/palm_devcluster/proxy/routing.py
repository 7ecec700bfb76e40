"""Which Pods stand behind a Service, and where they listen. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]


class NoRoute(Exception):
    """A request cannot be forwarded; ``code`` is the HTTP status of the answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Destination:
    """What a path asks for."""

    namespace: str
    service: str
    port: str
    """Name or number of the Service's port; empty for its first."""
    rest: str


def destination(path: str) -> Destination:
    """Return what ``/namespace/service[:port]/rest`` asks for; ``path`` is as it was sent.

    Raises:
        NoRoute: The path has another form.
    """
    _, namespace, service, rest = [*path.split("/", 3), "", "", ""][:4]
    service, _, port = service.partition(":")
    if not namespace or not service:
        raise NoRoute(404, f"{path!r} must be /NAMESPACE/SERVICE[:PORT]/…")
    return Destination(namespace, service, port, f"/{rest}")


def backends(service: Json, port: str, pods: Iterable[Json]) -> list[tuple[str, int]]:
    """Return address and port of every Pod that is Ready to answer for a Service.

    Raises:
        NoRoute: The Service has no such port, or no Pods of its own.
    """
    wanted = _port(service, port)
    selector = service["spec"].get("selector")
    if not selector:
        raise NoRoute(502, f"Service {_name(service)} selects no Pods")
    return [
        (pod["status"]["podIP"], number)
        for pod in pods
        if pod["metadata"]["namespace"] == service["metadata"]["namespace"]
        and selector.items() <= (pod["metadata"].get("labels") or {}).items()
        and _is_ready(pod)
        and (number := _target(wanted, pod)) is not None
    ]


def _port(service: Json, port: str) -> Json:
    ports: list[Json] = service["spec"].get("ports") or []
    for candidate in ports:
        if port in ("", candidate.get("name"), str(candidate["port"])):
            return candidate
    raise NoRoute(404, f"Service {_name(service)} has no port {port!r}")


def _target(port: Json, pod: Json) -> int | None:
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    for container in pod["spec"]["containers"]:
        for known in container.get("ports", []):
            if known.get("name") == target:
                return int(known["containerPort"])
    return None


def _is_ready(pod: Json) -> bool:
    status = pod.get("status", {})
    conditions = status.get("conditions", [])
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and "podIP" in status and "deletionTimestamp" not in pod["metadata"]


def _name(service: Json) -> str:
    return f"{service['metadata']['namespace']}/{service['metadata']['name']}"
