"""The ports of a cluster: chosen at the first ``up``, then remembered."""

import json
import random
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from palm_devcluster.paths import write_private

# Below the range the kernel gives to outgoing connections, which would take a port while it is
# unused.
_PORTS = range(20000, 32768)


@dataclass(frozen=True)
class Ports:
    """One port on 127.0.0.1 per listener."""

    etcd: int
    etcd_peer: int
    apiserver: int
    controller_manager: int
    scheduler: int
    s3: int
    node: int
    proxy: int = 0  # 0: chosen at the next ``up``
    kserve_webhooks: int = 0
    kserve_health: int = 0
    kueue_webhooks: int = 0
    kueue_health: int = 0
    jobset_webhooks: int = 0
    jobset_health: int = 0


# Which listeners belong to which process.
LISTENERS: Mapping[str, tuple[str, ...]] = {
    "etcd": ("etcd", "etcd_peer"),
    "kube-apiserver": ("apiserver",),
    "kube-controller-manager": ("controller_manager",),
    "kube-scheduler": ("scheduler",),
    "s3": ("s3",),
    "node": ("node",),
    "service-proxy": ("proxy",),
    "kserve": ("kserve_webhooks", "kserve_health"),
    "kueue": ("kueue_webhooks", "kueue_health"),
    "jobset": ("jobset_webhooks", "jobset_health"),
}


def load_ports(path: Path) -> Ports | None:
    """Read the remembered ports; None before the first ``up``.

    Raises:
        ValueError: The file is not what ``save_ports`` writes.
    """
    try:
        return Ports(**json.loads(path.read_text(encoding="utf-8"))["ports"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not a cluster's state ({error!r}); "
            "`palm-devcluster down --purge` removes it"
        ) from error


def save_ports(path: Path, ports: Ports) -> None:
    """Remember the ports."""
    write_private(path, json.dumps({"ports": asdict(ports)}, indent=2).encode())


def choose_ports(remembered: Ports | None, running: frozenset[str]) -> Ports:
    """Return the ports to use.

    Args:
        remembered: What earlier runs used; kept wherever it is possible.
        running: Processes that are up; their ports are theirs.
    """
    owner = {port: name for name, ports in LISTENERS.items() for port in ports}
    chosen = dict(asdict(remembered)) if remembered else dict.fromkeys(owner, 0)
    for name, port in chosen.items():
        if port == 0 or (owner[name] not in running and not _is_free(port)):
            chosen[name] = _free_port(frozenset(chosen.values()))
    return Ports(**chosen)


def _free_port(taken: frozenset[int]) -> int:
    for port in random.sample(_PORTS, k=len(_PORTS)):
        if port not in taken and _is_free(port):
            return port
    raise OSError(f"no free port between {_PORTS.start} and {_PORTS.stop - 1}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers themselves bind: a connection in TIME_WAIT does not occupy a port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
