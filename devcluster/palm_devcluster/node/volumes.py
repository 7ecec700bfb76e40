"""Volumes as folders: what is in them (pure), and bringing a folder to that state."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from palm_devcluster.node.environment import expand
from palm_devcluster.node.fields import (
    ConfigError,
    Json,
    containers_of,
    field_value,
    resource_value,
)
from palm_devcluster.node.paths import Mount
from palm_devcluster.node.sources import Kind, Sources

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_FILE_MODE = 0o644


@dataclass(frozen=True)
class File:
    """One file of a volume."""

    content: bytes
    mode: int


@dataclass(frozen=True)
class VolumeContext:
    """What the content of volumes depends on, besides the Pod."""

    sources: Sources
    tokens: Mapping[tuple[str, str], str]  # (volume, path) → token
    allocatable: Mapping[str, str]
    host_paths: Sequence[str] = ()  # prefixes that hostPath may name


def volume_files(pod: Json, volume: Json, context: VolumeContext) -> dict[str, File] | None:
    """The files that a volume is made of; None for a folder that containers fill.

    Raises:
        ConfigError: The volume's kind is not supported or something it refers to is missing.
    """
    name = volume["name"]
    if "emptyDir" in volume or "hostPath" in volume:
        return None
    if "configMap" in volume:
        return _object_files("configmap", volume["configMap"], context.sources)
    if "secret" in volume:
        return _object_files("secret", volume["secret"], context.sources)
    if "downwardAPI" in volume:
        return _downward_files(pod, volume["downwardAPI"], context)
    if "projected" in volume:
        return _projected_files(pod, volume, context)
    kind = next((key for key in volume if key != "name"), "nothing")
    raise ConfigError(f"volume {name!r}: {kind} is not supported by the process node")


def _object_files(kind: Kind, source: Json, sources: Sources, mode: int = 0) -> dict[str, File]:
    name = source.get("secretName") or source["name"]
    optional = source.get("optional", False)
    content = sources.content(kind, name, optional=optional)
    mode = mode or source.get("defaultMode", _FILE_MODE)
    if "items" not in source:
        return {key: File(value, mode) for key, value in content.items()}
    files = {}
    for item in source["items"]:
        if item["key"] in content:
            files[item["path"]] = File(content[item["key"]], item.get("mode", mode))
        elif not optional:
            raise ConfigError(f'key "{item["key"]}" not found in {kind} "{name}"')
    return files


def _downward_files(
    pod: Json, source: Json, context: VolumeContext, mode: int = 0
) -> dict[str, File]:
    mode = mode or source.get("defaultMode", _FILE_MODE)
    containers = {container["name"]: container for container in containers_of(pod)}
    files = {}
    for item in source.get("items", []):
        if "fieldRef" in item:
            text = field_value(pod, item["fieldRef"]["fieldPath"])
        else:
            reference = item["resourceFieldRef"]
            container = containers[reference["containerName"]]
            text = resource_value(container, reference, context.allocatable)
        files[item["path"]] = File(text.encode(), item.get("mode", mode))
    return files


def _projected_files(pod: Json, volume: Json, context: VolumeContext) -> dict[str, File]:
    mode = volume["projected"].get("defaultMode", _FILE_MODE)
    files: dict[str, File] = {}
    for source in volume["projected"].get("sources", []):
        if "configMap" in source:
            files |= _object_files("configmap", source["configMap"], context.sources, mode)
        elif "secret" in source:
            files |= _object_files("secret", source["secret"], context.sources, mode)
        elif "downwardAPI" in source:
            files |= _downward_files(pod, source["downwardAPI"], context, mode)
        elif "serviceAccountToken" in source:
            path = source["serviceAccountToken"]["path"]
            token = context.tokens[volume["name"], path]
            files[path] = File(token.encode(), 0o600)
        else:
            raise ConfigError(f"volume {volume['name']!r}: {sorted(source)} is not supported")
    return files


def token_requests(pod: Json) -> Iterator[tuple[str, Json]]:
    """Every projected ServiceAccount token of a Pod, with its volume's name."""
    for volume in pod["spec"].get("volumes", []):
        for source in volume.get("projected", {}).get("sources", []):
            if "serviceAccountToken" in source:
                yield volume["name"], source["serviceAccountToken"]


def host_folder(volume: Json, allowed: Sequence[str]) -> Path:
    """The folder of a ``hostPath`` volume.

    Raises:
        ConfigError: The node was not started with leave to mount it.
    """
    path = os.path.normpath(volume["hostPath"]["path"])
    if not any(Path(path).is_relative_to(prefix) for prefix in allowed):
        rule = f"--host-path allows {', '.join(allowed) or 'nothing'}"
        raise ConfigError(f"volume {volume['name']!r}: hostPath {path} is refused; {rule}")
    return Path(path)


def container_mounts(
    container: Json, folder_of: Callable[[str], Path], env: Mapping[str, str]
) -> list[Mount]:
    """Mount paths of a container and the folders (or files) that stand for them."""
    mounts = []
    for mount in container.get("volumeMounts", []):
        inside = mount.get("subPath") or expand(mount.get("subPathExpr", ""), env)
        if ".." in Path(inside).parts or Path(inside).is_absolute():
            raise ConfigError(f"subPath {inside!r} leaves its volume")
        mounts.append(Mount(mount["mountPath"], str(folder_of(mount["name"]) / inside)))
    return mounts


def write_files(folder: Path, files: Mapping[str, File]) -> None:
    """Make ``folder`` hold exactly ``files``; each file is replaced at once, never in part."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if str(path.relative_to(folder)) not in files:
            path.unlink()
    for name, file in files.items():
        target = folder / name
        if target.exists() and target.read_bytes() == file.content:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.draft")
        draft.touch(mode=0o600)
        draft.write_bytes(file.content)
        draft.chmod(file.mode)
        draft.replace(target)
