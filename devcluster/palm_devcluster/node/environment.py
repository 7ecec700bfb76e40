"""The environment and the command line of a container, from its spec alone."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from palm_devcluster.node.fields import ConfigError, Json, field_value, resource_value
from palm_devcluster.node.paths import Mount, translate
from palm_devcluster.node.sources import Sources

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_.\-][\w.\-]*)\)")
# Where the machine keeps its trust store. These are paths, no credentials.
_TRUST = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE")


@dataclass(frozen=True)
class Launch:
    """A process to start; ``env`` is everything it gets."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace ``$(NAME)``; unknown names stay as they are and ``$$`` is a plain ``$``."""

    def value(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else env.get(match[1], match[0])

    return _REFERENCE.sub(value, text)


def base_environment(pod: Json, *, home: Path, temporary: Path, api_server: str) -> dict[str, str]:
    """What every container gets: nothing of the host but its trust store and its commands."""
    host, _, port = api_server.rpartition("//")[2].rpartition(":")
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:"
        "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        "HOSTNAME": pod["spec"].get("hostname") or pod["metadata"]["name"],
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": port,
        "KUBERNETES_SERVICE_PORT_HTTPS": port,
        **{name: os.environ[name] for name in _TRUST if name in os.environ},
    }


def container_environment(
    pod: Json,
    container: Json,
    base: Mapping[str, str],
    sources: Sources,
    allocatable: Mapping[str, str],
    mounts: Sequence[Mount] = (),
) -> dict[str, str]:
    """``base``, then ``envFrom``, then ``env`` in order; later entries win.

    Mount paths are translated in what the Pod says and never in ``base``: the node's own folders
    may lie below a path that a container mounts, ``/tmp`` for one.

    Raises:
        ConfigError: A ConfigMap, Secret, key or field that is not optional is missing.
    """
    env = dict(base)
    for entry in container.get("envFrom", []):
        keys = _all_keys(entry, sources)
        env.update({name: translate(value, mounts) for name, value in keys.items()})
    for entry in container.get("env", []):
        if "valueFrom" not in entry:
            env[entry["name"]] = expand(translate(entry.get("value", ""), mounts), env)
            continue
        value = _referred(entry, pod, container, sources, allocatable)
        if value is not None:
            env[entry["name"]] = translate(value, mounts)
    return env


def _all_keys(entry: Json, sources: Sources) -> dict[str, str]:
    kind = "configMapRef" if "configMapRef" in entry else "secretRef"
    reference, prefix = entry[kind], entry.get("prefix", "")
    content = sources.content(
        "configmap" if kind == "configMapRef" else "secret",
        reference["name"],
        optional=reference.get("optional", False),
    )
    return {f"{prefix}{key}": _text(value, key) for key, value in content.items()}


def _referred(
    entry: Json, pod: Json, container: Json, sources: Sources, allocatable: Mapping[str, str]
) -> str | None:
    origin = entry["valueFrom"]
    if "fieldRef" in origin:
        return field_value(pod, origin["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in origin:
        return resource_value(container, origin["resourceFieldRef"], allocatable)
    if "configMapKeyRef" in origin:
        value = sources.key("configmap", origin["configMapKeyRef"])
    elif "secretKeyRef" in origin:
        value = sources.key("secret", origin["secretKeyRef"])
    else:
        raise ConfigError(f"env {entry['name']!r}: valueFrom {sorted(origin)} is not supported")
    return None if value is None else _text(value, entry["name"])


def _text(value: bytes, name: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"env {name!r}: its value is not UTF-8 text") from error


def container_launch(
    container: Json,
    entrypoint: Sequence[str],
    env: Mapping[str, str],
    mounts: Sequence[Mount],
    home: Path,
) -> Launch:
    """The process of a container: ``command`` replaces the image's entrypoint.

    Raises:
        ConfigError: Neither the container nor its image names a command.
    """
    # Translated before expansion: variables hold local paths already.
    asked = [*container.get("command", []), *container.get("args", [])]
    words = [expand(translate(word, mounts), env) for word in asked]
    argv = (*(() if container.get("command") else entrypoint), *words)
    if not argv:
        raise ConfigError(f"no command: image {container['image']!r} has no entrypoint")
    return Launch(
        argv=argv,
        env=dict(env),
        cwd=translate(container.get("workingDir") or "", mounts) or str(home),
    )
