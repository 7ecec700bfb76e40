"""What the embedded cluster is made of: pinned Go modules and the programs built from them."""

import hashlib
import platform
from dataclasses import dataclass
from pathlib import Path

_MODULES = Path(__file__).with_name("gomodules")
_STRIP = ("-s", "-w")


@dataclass(frozen=True)
class EditedMain:
    """A change to a program's only source file: what is built is an edited copy of it."""

    file: str
    old: str  # must occur exactly once
    new: str


@dataclass(frozen=True)
class Component:
    """One wrapper module and the programs it yields."""

    name: str
    version: str
    packages: tuple[str, ...]
    binaries: tuple[str, ...]
    stamps: tuple[tuple[str, str], ...] = ()
    expected_time: str = "about a minute"
    edit: EditedMain | None = None  # of the one package

    @property
    def module(self) -> Path:
        """The folder of the wrapper's go.mod and go.sum."""
        return _MODULES / self.name

    @property
    def ldflags(self) -> str:
        """Linker flags: no debug tables, the version stamped in."""
        return " ".join((*_STRIP, *(f"-X {name}={value}" for name, value in self.stamps)))

    @property
    def cache_key(self) -> str:
        """Name of the cache folder; it changes with whatever changes the programs."""
        parts = [(self.module / file).read_bytes() for file in ("go.mod", "go.sum")]
        parts += [self.ldflags.encode(), " ".join(self.packages).encode()]
        parts += [f"{platform.system()}/{platform.machine()}".encode()]
        parts += [repr(self.edit).encode()] if self.edit else []
        digest = hashlib.sha256(b"\0".join(parts)).hexdigest()
        return f"{self.name}-{self.version}-{digest[:12]}"


@dataclass(frozen=True)
class ModuleFiles:
    """Files of a Go module that are taken as they are: its CRDs, its manifests."""

    module: str
    version: str
    sum: str  # as in go.sum; the download is refused when it differs
    files: tuple[str, ...]  # patterns inside the module

    @property
    def cache_key(self) -> str:
        """Name of the cache folder; it changes with the version and the choice of files."""
        digest = hashlib.sha256("\0".join((self.sum, *self.files)).encode()).hexdigest()
        return f"{self.module.rsplit('/', 1)[-1]}-{self.version}-{digest[:12]}"


def _kubernetes_stamps(version: str) -> tuple[tuple[str, str], ...]:
    # Unstamped programs call themselves v0.0.0-master, which version checks of clients refuse.
    major, minor, _ = version.split(".")
    values = {
        "gitVersion": f"v{version}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return tuple((f"{package}.{key}", values[key]) for package in packages for key in values)


_KUBERNETES_PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
)

ETCD = Component("etcd", "3.6.14", ("go.etcd.io/etcd/server/v3",), ("etcd",))
VERSITYGW = Component(
    "versitygw",
    "1.7.0",
    ("github.com/versity/versitygw/cmd/versitygw",),
    ("versitygw",),
    (("main.Version", "v1.7.0"),),
    "about two minutes",
)
HELM = Component(
    "helm",
    "4.3.1",
    ("helm.sh/helm/v4/cmd/helm",),
    ("helm",),
    (("helm.sh/helm/v4/internal/version.version", "v4.3.1"),),
    "about two minutes",
)
KUBERNETES = Component(
    "kubernetes",
    "1.36.4",
    tuple(f"k8s.io/kubernetes/cmd/{program}" for program in _KUBERNETES_PROGRAMS),
    _KUBERNETES_PROGRAMS,
    _kubernetes_stamps("1.36.4"),
    "5 to 20 minutes on two cores: two thousand packages",
)

KSERVE = Component(
    "kserve",
    "0.20.0",
    ("github.com/kserve/kserve/cmd/manager",),
    ("kserve-manager",),
    expected_time="3 to 10 minutes on two cores: fifteen hundred packages",
    # It has no flag for the address of its webhooks, and would listen on every interface.
    edit=EditedMain(
        "main.go",
        "Port: options.webhookPort,",
        'Host: "127.0.0.1", Port: options.webhookPort,',
    ),
)

KUEUE = Component(
    "kueue",
    "0.19.2",
    ("sigs.k8s.io/kueue/cmd/kueue",),
    ("kueue",),
    (("sigs.k8s.io/kueue/pkg/version.GitVersion", "v0.19.2"),),
    "3 to 10 minutes on two cores: a thousand packages",
    # Without its own certificate management it looks there, where only root may write.
    edit=EditedMain(
        "main.go",
        'metricsCertPath := "/etc/kueue/metrics/certs"',
        "metricsCertPath := cfg.Webhook.CertDir",
    ),
)

JOBSET = Component(
    "jobset",
    "0.12.0",
    ("sigs.k8s.io/jobset",),
    ("jobset",),
    (("sigs.k8s.io/jobset/pkg/version.GitVersion", "v0.12.0"),),
    "2 to 6 minutes on two cores: a thousand packages",
)

# The small ones first: trouble with Go or the network shows early.
COMPONENTS = (ETCD, VERSITYGW, HELM, KUBERNETES, KSERVE)
# Built only where they are asked for.
OPTIONAL = (KUEUE, JOBSET)

_KUEUE_SOURCE = (
    "sigs.k8s.io/kueue",
    "v0.19.2",
    "h1:mPNzr37u0nwI7ikST5QQl5gg6EgtYOAvC9ZbTgywdN8=",
)
_KSERVE_SOURCE = (
    "github.com/kserve/kserve",
    "v0.20.0",
    "h1:Bs7HxmGV4KFqqptDcWseKv+mwD4YOYHJWcuVgPG2Gug=",
)

_JOBSET_SOURCE = (
    "sigs.k8s.io/jobset",
    "v0.12.0",
    "h1:YYPuV0px8Ongq/RXmJg6V0w2UC67aiR+rCMD06vhQQQ=",
)

CRD_MODULES = (
    ModuleFiles(
        *_KSERVE_SOURCE,
        (
            "config/crd/full/serving.kserve.io_*.yaml",
            "config/crd/full/clusterstoragecontainer/serving.kserve.io_*.yaml",
        ),
    ),
    ModuleFiles(*_KUEUE_SOURCE, ("config/components/crd/bases/kueue.x-k8s.io_*.yaml",)),
    ModuleFiles(*_JOBSET_SOURCE, ("config/components/crd/bases/jobset.x-k8s.io_*.yaml",)),
)

KUEUE_MANIFESTS = ModuleFiles(
    *_KUEUE_SOURCE,
    (
        "config/components/rbac/manager_secrets_role.yaml",
        "config/components/rbac/manager_secrets_role_binding.yaml",
        "config/components/rbac/role.yaml",
        "config/components/rbac/role_binding.yaml",
        "config/components/rbac/service_account.yaml",
        "config/components/webhook/manifests.yaml",
    ),
)

JOBSET_MANIFESTS = ModuleFiles(
    *_JOBSET_SOURCE,
    (
        "config/components/rbac/role.yaml",
        "config/components/rbac/role_binding.yaml",
        "config/components/rbac/service_account.yaml",
        "config/components/webhook/manifests.yaml",
    ),
)

KSERVE_MANIFESTS = ModuleFiles(
    *_KSERVE_SOURCE,
    (
        "config/configmap/inferenceservice.yaml",
        "config/rbac/role.yaml",
        "config/rbac/role_binding.yaml",
        "config/rbac/service_account.yaml",
        "config/storagecontainers/default.yaml",
        "config/webhook/manifests.yaml",
    ),
)
