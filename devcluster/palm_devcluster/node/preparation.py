"""What a Pod needs before a container starts: volumes, tokens, environment, command."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from palm_devcluster.images import ImageTable
from palm_devcluster.node.addresses import pod_address
from palm_devcluster.node.api import NOT_FOUND, Api, ApiError
from palm_devcluster.node.environment import (
    base_environment,
    container_environment,
    container_launch,
)
from palm_devcluster.node.fields import Json
from palm_devcluster.node.paths import Mount
from palm_devcluster.node.probes import Target
from palm_devcluster.node.records import moment
from palm_devcluster.node.sources import (
    Reference,
    Sources,
    environment_references,
    object_content,
    volume_references,
)
from palm_devcluster.node.volumes import (
    SERVICE_ACCOUNT,
    VolumeContext,
    container_mounts,
    host_folder,
    token_requests,
    volume_files,
    write_files,
)

_RESYNC_S = 60.0  # how soon a changed ConfigMap or Secret reaches a volume
_TOKEN_LIFE_USED = 0.8  # a token is renewed once this share of its life has passed
_TOKEN_LIFE_S = 3600


class UnknownImageError(Exception):
    """No local command stands for an image."""


@dataclass(frozen=True)
class Node:
    """What every Pod of this node shares."""

    api: Api
    name: str
    root: Path
    images: ImageTable
    images_file: str
    api_server: str
    ca: Path
    allocatable: Mapping[str, str]
    host_paths: Sequence[str] = ()


class PodFolder:
    """The folder of one Pod: ``volumes``, ``containers``, ``home``, ``kubeconfig``."""

    def __init__(self, root: Path, uid: str) -> None:
        self.path = root / "pods" / uid

    def volume(self, name: str) -> Path:
        """Where a volume lies."""
        return self.path / "volumes" / name

    def container(self, name: str) -> Path:
        """Where the attempts of a container lie."""
        return self.path / "containers" / name

    def home(self, container: str) -> Path:
        """A container's HOME and working directory."""
        return self.path / "home" / container


class Preparation:
    """Makes the volumes of one Pod and the launches of its containers."""

    def __init__(self, node: Node, pod: Json) -> None:
        self.pod = pod
        self.folder = PodFolder(node.root, pod["metadata"]["uid"])
        self.refresh_at = 0.0  # time.monotonic() when mounted volumes want a look
        self._node = node
        self._tokens: dict[tuple[str, str], tuple[str, float]] = {}

    async def mount(self) -> None:
        """Bring every volume to its present content.

        Raises:
            ConfigError: Something that a volume needs is missing or not supported.
        """
        volumes = self.pod["spec"].get("volumes", [])
        context = VolumeContext(
            sources=await self._sources(volume_references(self.pod)),
            tokens=await self._current_tokens(),
            allocatable=self._node.allocatable,
            host_paths=self._node.host_paths,
        )
        self.folder.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for volume in volumes:
            files = volume_files(self.pod, volume, context)
            if "hostPath" in volume:
                host_folder(volume, self._node.host_paths)
            elif files is None:
                self.folder.volume(volume["name"]).mkdir(parents=True, exist_ok=True)
            else:
                write_files(self.folder.volume(volume["name"]), files)
        self.refresh_at = time.monotonic() + _RESYNC_S

    async def target(self, container: Json, attempt: Path) -> Target:
        """The launch of a container's next attempt, whose folder is ``attempt``.

        Raises:
            UnknownImageError: The image table has no such image.
            ConfigError: The environment or the command cannot be made.
        """
        entrypoint = self._node.images.entrypoint(container["image"])
        if entrypoint is None:
            raise UnknownImageError(
                f"image {container['image']!r} is not in the image table {self._node.images_file}; "
                "the process node runs only images that the table maps to a local command"
            )
        home = self.folder.home(container["name"])
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        base = base_environment(
            self.pod, home=home, temporary=home / "tmp", api_server=self._node.api_server
        )
        sources = await self._sources(environment_references(container))
        allocatable = self._node.allocatable
        asked = container_environment(self.pod, container, base, sources, allocatable)
        mounts = self._mounts(container, attempt, asked)
        env = container_environment(self.pod, container, base, sources, allocatable, mounts)
        env = {**self._kubeconfig(container), **env}
        launch = container_launch(container, entrypoint, env, mounts, home)
        return Target(container, launch, tuple(mounts), pod_address(self.pod))

    def _mounts(self, container: Json, attempt: Path, env: Mapping[str, str]) -> list[Mount]:
        host_paths = {
            volume["name"]: host_folder(volume, self._node.host_paths)
            for volume in self.pod["spec"].get("volumes", [])
            if "hostPath" in volume
        }

        def folder_of(name: str) -> Path:
            return host_paths.get(name) or self.folder.volume(name)

        mounts = container_mounts(container, folder_of, env)
        for mount, asked in zip(mounts, container.get("volumeMounts", []), strict=True):
            if asked.get("subPath") or asked.get("subPathExpr"):
                _make_sub_path(Path(mount.folder))
        message = container.get("terminationMessagePath", "/dev/termination-log")
        return [*mounts, Mount(message, str(attempt / "termination-log"))]

    def _kubeconfig(self, container: Json) -> dict[str, str]:
        """KUBECONFIG for a container that mounts a ServiceAccount token at the usual path."""
        for mount in container.get("volumeMounts", []):
            if mount["mountPath"] == SERVICE_ACCOUNT:
                credentials = self.folder.volume(mount["name"])
                path = self.folder.path / "kubeconfig"
                ca = credentials / "ca.crt"
                document = _kubeconfig(
                    self._node.api_server,
                    ca if ca.exists() else self._node.ca,
                    credentials / "token",
                    self.pod["metadata"]["namespace"],
                )
                path.write_text(json.dumps(document, indent=1))
                return {"KUBECONFIG": str(path)}
        return {}

    async def _sources(self, references: set[Reference]) -> Sources:
        found = {}
        for kind, name in sorted(references):
            namespace = self.pod["metadata"]["namespace"]
            path = f"/api/v1/namespaces/{namespace}/{kind}s/{name}"
            try:
                found[kind, name] = object_content(await self._node.api.call("GET", path))
            except ApiError as error:
                if error.code != NOT_FOUND:
                    raise
        return Sources(found)

    async def _current_tokens(self) -> dict[tuple[str, str], str]:
        for volume, request in token_requests(self.pod):
            known = self._tokens.get((volume, request["path"]))
            if known is None or time.time() >= known[1]:
                self._tokens[volume, request["path"]] = await self._token(request)
        return {key: token for key, (token, _) in self._tokens.items()}

    async def _token(self, request: Json) -> tuple[str, float]:
        metadata = self.pod["metadata"]
        account = self.pod["spec"].get("serviceAccountName", "default")
        seconds = request.get("expirationSeconds", _TOKEN_LIFE_S)
        bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"]}
        answer = await self._node.api.call(
            "POST",
            f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token",
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {
                    "audiences": [request["audience"]] if request.get("audience") else [],
                    "expirationSeconds": seconds,
                    "boundObjectRef": {**bound, "uid": metadata["uid"]},
                },
            },
        )
        now = datetime.now(UTC).timestamp()
        life = moment(answer["status"]["expirationTimestamp"]).timestamp() - now
        return answer["status"]["token"], now + _TOKEN_LIFE_USED * life


def _make_sub_path(path: Path) -> None:
    """Make the folder of a subPath in an emptyDir, as a kubelet does; files stay as they are."""
    if not path.exists():
        path.mkdir(parents=True)


def _kubeconfig(server: str, ca: Path, token: Path, namespace: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "pod", "cluster": {"server": server, "certificate-authority": str(ca)}}
        ],
        "users": [{"name": "pod", "user": {"tokenFile": str(token)}}],
        "contexts": [
            {"name": "pod", "context": {"cluster": "pod", "user": "pod", "namespace": namespace}}
        ],
        "current-context": "pod",
    }
