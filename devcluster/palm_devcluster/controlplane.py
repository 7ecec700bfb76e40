"""Command lines of the control plane: values in, daemons out."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from palm_devcluster.audit import audit_flags
from palm_devcluster.build import Binaries, program
from palm_devcluster.paths import ClusterPaths
from palm_devcluster.pki import NODE_NAME, Pki
from palm_devcluster.probes import http_probe, https_probe
from palm_devcluster.processes import Daemon
from palm_devcluster.s3 import S3Access, s3_argv
from palm_devcluster.state import Ports

SERVICE_ACCOUNT_ISSUER = "https://kubernetes.default.svc.cluster.local"
_GPUS = 2


@dataclass(frozen=True)
class Layout:
    """Everything the command lines are made of."""

    paths: ClusterPaths
    ports: Ports
    pki: Pki
    binaries: Binaries
    images: Path
    s3: S3Access
    audited: bool = False

    @property
    def server(self) -> str:
        """The API server's address."""
        return f"https://127.0.0.1:{self.ports.apiserver}"

    def program(self, name: str) -> str:
        """Return the path of a program."""
        return str(program(self.binaries, name))


def etcd(layout: Layout) -> Daemon:
    """Return etcd: one member, mutual TLS, without fsync."""
    pki, ports = layout.pki, layout.ports
    client, peer = f"https://127.0.0.1:{ports.etcd}", f"https://127.0.0.1:{ports.etcd_peer}"
    certificate, key, ca = str(pki.certificate("etcd")), str(pki.key("etcd")), str(pki.ca)
    argv = (
        layout.program("etcd"),
        "--name=palm",
        f"--data-dir={layout.paths.etcd}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=palm={peer}",
        f"--cert-file={certificate}",
        f"--key-file={key}",
        f"--trusted-ca-file={ca}",
        "--client-cert-auth",
        f"--peer-cert-file={certificate}",
        f"--peer-key-file={key}",
        f"--peer-trusted-ca-file={ca}",
        "--peer-client-cert-auth",
        # A power cut may cost a development cluster; fsync would cost every write.
        "--unsafe-no-fsync",
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=10m",
        "--log-level=warn",
    )
    probe = https_probe(pki, ports.etcd, "/health", client="etcd-client")
    return Daemon("etcd", argv, probe, files=(pki.certificate("etcd"), pki.ca))


def apiserver(layout: Layout) -> Daemon:
    """Return the API server: RBAC and the node authorizer, loopback only."""
    pki, ports = layout.pki, layout.ports
    argv = (
        layout.program("kube-apiserver"),
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={ports.apiserver}",
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--profiling=false",
        f"--etcd-servers=https://127.0.0.1:{ports.etcd}",
        f"--etcd-cafile={pki.ca}",
        f"--etcd-certfile={pki.certificate('etcd-client')}",
        f"--etcd-keyfile={pki.key('etcd-client')}",
        f"--client-ca-file={pki.ca}",
        f"--tls-cert-file={pki.certificate('apiserver')}",
        f"--tls-private-key-file={pki.key('apiserver')}",
        f"--kubelet-certificate-authority={pki.ca}",
        f"--kubelet-client-certificate={pki.certificate('kubelet-client')}",
        f"--kubelet-client-key={pki.key('kubelet-client')}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-issuer={SERVICE_ACCOUNT_ISSUER}",
        f"--service-account-signing-key-file={pki.service_account_key}",
        f"--service-account-key-file={pki.service_account_public_key}",
        *(audit_flags(layout.paths) if layout.audited else ()),
    )
    files = (pki.certificate("apiserver"), pki.ca, pki.service_account_public_key)
    probe = https_probe(pki, ports.apiserver, "/readyz", client="admin")
    return Daemon("kube-apiserver", argv, probe, files=files)


def controller_manager(layout: Layout) -> Daemon:
    """Return the controller manager with every controller that is on by default."""
    name, pki, ports = "kube-controller-manager", layout.pki, layout.ports
    argv = (
        layout.program(name),
        *_caller_flags(layout, name, ports.controller_manager),
        f"--root-ca-file={pki.ca}",
        f"--service-account-private-key-file={pki.service_account_key}",
        "--use-service-account-credentials",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        "--concurrent-job-syncs=20",
        # The API server takes no loopback address as an endpoint, and Pods here have no others.
        "--controllers=*,-endpoints-controller,-endpointslice-controller",
    )
    probe = https_probe(pki, ports.controller_manager, "/healthz")
    return Daemon(name, argv, probe, files=(layout.paths.kubeconfig_of(name),))


def scheduler(layout: Layout) -> Daemon:
    """Return the scheduler."""
    name, pki, ports = "kube-scheduler", layout.pki, layout.ports
    argv = (
        layout.program(name),
        *_caller_flags(layout, name, ports.scheduler),
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    )
    probe = https_probe(pki, ports.scheduler, "/healthz")
    return Daemon(name, argv, probe, files=(layout.paths.kubeconfig_of(name),))


def _caller_flags(layout: Layout, name: str, port: int) -> tuple[str, ...]:
    kubeconfig = layout.paths.kubeconfig_of(name)
    return (
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--client-ca-file={layout.pki.ca}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={layout.pki.certificate('apiserver')}",
        f"--tls-private-key-file={layout.pki.key('apiserver')}",
        "--leader-elect=false",
        "--profiling=false",
    )


def s3(layout: Layout) -> Daemon:
    """Return the S3 server."""
    argv = s3_argv(
        layout.program("versitygw"), layout.paths, layout.ports.s3, audited=layout.audited
    )
    environment = (
        ("ROOT_ACCESS_KEY", layout.s3.access_key),
        ("ROOT_SECRET_KEY", layout.s3.secret_key),
    )
    probe = http_probe(layout.ports.s3, "/health")
    return Daemon("s3", argv, probe, environment=environment)


def node(layout: Layout) -> Daemon:
    """Return the process node."""
    pki, port, kubeconfig = layout.pki, layout.ports.node, layout.paths.kubeconfig_of("node")
    flags = {
        "kubeconfig": kubeconfig,
        "name": NODE_NAME,
        "root": layout.paths.node,
        "port": port,
        "tls-cert": pki.certificate("node-serving"),
        "tls-key": pki.key("node-serving"),
        "client-ca": pki.ca,
        "gpus": _GPUS,
        "images": layout.images,
        "api-server": layout.server,
        "ca": pki.ca,
    }
    words = (word for name, value in flags.items() for word in (f"--{name}", str(value)))
    argv = (sys.executable, "-m", "palm_devcluster.node", *words)
    files = (kubeconfig, layout.images, pki.certificate("node-serving"))
    probe = https_probe(pki, port, "/healthz")
    return Daemon("node", argv, probe, files=files, stop_s=60.0)


def service_proxy(layout: Layout) -> Daemon:
    """Return the proxy of the cluster's Services."""
    port, kubeconfig = layout.ports.proxy, layout.paths.kubeconfig_of("node")
    flags = ("--kubeconfig", str(kubeconfig), "--node", NODE_NAME, "--port", str(port))
    argv = (sys.executable, "-m", "palm_devcluster.proxy", *flags)
    return Daemon("service-proxy", argv, http_probe(port, "/healthz"), files=(kubeconfig,))


BY_NAME: Mapping[str, Callable[[Layout], Daemon]] = {
    "etcd": etcd,
    "s3": s3,
    "kube-apiserver": apiserver,
    "kube-controller-manager": controller_manager,
    "kube-scheduler": scheduler,
    "node": node,
    "service-proxy": service_proxy,
}
