"""Into the cluster with a person's own credentials: the kubeconfig as kubectl reads it.

The only module of the command line that knows the Kubernetes client, and only once a cluster is
asked: other commands neither need it nor wait for its import.
"""

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from palm_cli.failures import Unavailable
from palm_cli.inputs import shown_name

if TYPE_CHECKING:
    import httpx2

ANSWER_SECONDS = 30.0
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class Where:
    """Which cluster and namespace, as kubectl is told; empty: what the kubeconfig says."""

    namespace: str = ""
    context: str = ""
    kubeconfig: str = ""


@dataclass(frozen=True)
class Access:
    """What it takes to ask one API server as one person."""

    client: "Callable[[], httpx2.Client]"
    """Makes a client that sends the credentials with each request: for this host only."""
    host: str
    """``https://…``."""
    namespace: str
    """The one that is meant."""


def access(where: Where) -> Access:
    """Return the way into the cluster that a kubeconfig names; in a Pod without one, its own.

    Raises:
        Unavailable: There is no kubeconfig, or it cannot be used.
    """
    import httpx2

    configuration, namespace = _configuration(where)
    tls = _tls(configuration)

    def client() -> httpx2.Client:
        return httpx2.Client(
            verify=tls,
            timeout=ANSWER_SECONDS,
            follow_redirects=False,
            trust_env=False,
            proxy=configuration.proxy or None,
            event_hooks={"request": [_credentials(configuration)]},
        )

    return Access(client, str(configuration.host).rstrip("/"), where.namespace or namespace)


def _configuration(where: Where) -> tuple[Any, str]:
    """Return the client's configuration and the namespace that goes with it."""
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException, load_incluster_config
    from kubernetes.config.kube_config import KubeConfigLoader, KubeConfigMerger

    configuration = Configuration()
    paths = where.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    if not any(Path(path).expanduser().is_file() for path in paths.split(os.pathsep) if path):
        is_pod = "KUBERNETES_SERVICE_HOST" in os.environ
        if where.kubeconfig or where.context or not is_pod:
            raise Unavailable(
                f"there is no kubeconfig {shown_name(paths)}: name one with --kubeconfig or the "
                "variable KUBECONFIG"
            )
        load_incluster_config(client_configuration=configuration)
        return configuration, _POD_NAMESPACE.read_text(encoding="utf-8").strip()
    try:
        merged = KubeConfigMerger(paths).config
        known = [entry["name"] for entry in merged.value["contexts"]]
        wanted = where.context or merged.value.get("current-context")
        if wanted not in known:
            what = f"context {shown_name(where.context)}" if where.context else "current context"
            raise Unavailable(
                f"kubeconfig {shown_name(paths)} has no {what}; known are "
                f"{', '.join(map(str, known)) or 'none'}: choose one with --context"
            )
        loader = KubeConfigLoader(config_dict=merged, active_context=wanted)
        loader.load_and_set(configuration)
        return configuration, str(loader.current_context["context"].get("namespace") or "default")
    except Unavailable:
        raise
    except (ConfigException, yaml.YAMLError, OSError, ValueError, LookupError, TypeError,
            AttributeError) as error:  # fmt: skip
        raise Unavailable(f"kubeconfig {shown_name(paths)} cannot be used: {error}") from None


def _tls(configuration: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
    if not configuration.verify_ssl:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context


def _credentials(configuration: Any) -> "Callable[[httpx2.Request], None]":
    """Return what puts the person's credentials, renewed where they expired, on a request."""

    def put(request: "httpx2.Request") -> None:
        # Whatever another layer put there was never meant for the API server.
        request.headers.pop("authorization", None)
        if token := configuration.get_api_key_with_prefix("BearerToken"):
            request.headers["authorization"] = str(token)
        elif configuration.username:
            request.headers["authorization"] = str(configuration.get_basic_auth_token())
        if configuration.tls_server_name:
            request.extensions = {
                **request.extensions,
                "sni_hostname": configuration.tls_server_name,
            }

    return put
