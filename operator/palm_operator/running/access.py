"""How the operator gets into the API server: KUBECONFIG where it is set, else as a Pod."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import load_incluster_config, load_kube_config


@dataclass(frozen=True)
class Access:
    """Server and credentials, as another client may use them."""

    server: str
    ca_path: str | None
    certificate_path: str | None
    private_key_path: str | None
    token: str | None
    verify: bool


async def api_client(environment: Mapping[str, str] = os.environ) -> ApiClient:
    """Return a client; a token file is read again when it rotates."""
    return ApiClient(configuration=await _configuration(environment))


async def access(environment: Mapping[str, str] = os.environ) -> Access:
    """Return the credentials as they are now."""
    configuration = await _configuration(environment)
    token = configuration.api_key.get("BearerToken")
    return Access(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        token=token.split(" ", 1)[1].strip() if token else None,
        verify=configuration.verify_ssl,
    )


async def _configuration(environment: Mapping[str, str]) -> Any:
    configuration = Configuration()
    path = environment.get("KUBECONFIG")
    if not path and environment.get("KUBERNETES_SERVICE_HOST"):
        load_incluster_config(client_configuration=configuration)
        return configuration
    await load_kube_config(
        config_file=path, client_configuration=configuration, persist_config=False
    )
    token_file = _token_file(Path(path).expanduser()) if path else None
    if token_file is not None:
        configuration.refresh_api_key_hook = _token_reader(token_file)
    return configuration


def _token_file(kubeconfig: Path) -> Path | None:
    """Return the token file of the current user; the client reads it once and never again."""
    document = yaml.safe_load(kubeconfig.read_text()) or {}
    contexts = {c["name"]: c.get("context") or {} for c in document.get("contexts") or []}
    users = {u["name"]: u.get("user") or {} for u in document.get("users") or []}
    context = contexts.get(document.get("current-context"), {})
    name = users.get(context.get("user"), {}).get("tokenFile")
    return kubeconfig.parent / name if name else None


def _token_reader(token_file: Path) -> Callable[[Any], None]:
    def read(configuration: Any) -> None:
        configuration.api_key["BearerToken"] = f"Bearer {token_file.read_text().strip()}"

    return read
