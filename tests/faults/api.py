"""The API server as the tests' administrator sees it: a few requests, quick and from threads."""

import base64
import json
import tempfile
from pathlib import Path
from typing import Any

import urllib3
import yaml

Object = dict[str, Any]
_PATCHES = {"merge": "application/merge-patch+json", "apply": "application/apply-patch+yaml"}
PORTFOLIOS = "/apis/palm-operator.dev/v1alpha1/namespaces/{}/portfolios"
SERVICES = "/apis/serving.kserve.io/v1beta1/namespaces/{}/inferenceservices"


class Api:
    """A connection pool with the credentials of a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        self.server = document["clusters"][0]["cluster"]["server"]
        with tempfile.TemporaryDirectory() as folder:
            files = {
                "ca_certs": document["clusters"][0]["cluster"]["certificate-authority-data"],
                "cert_file": document["users"][0]["user"]["client-certificate-data"],
                "key_file": document["users"][0]["user"]["client-key-data"],
            }
            context = urllib3.util.ssl_.create_urllib3_context()
            for name, data in files.items():
                (Path(folder) / name).write_bytes(base64.b64decode(data))
            context.load_verify_locations(f"{folder}/ca_certs")
            context.load_cert_chain(f"{folder}/cert_file", f"{folder}/key_file")
        self._pool = urllib3.PoolManager(
            maxsize=32,
            ssl_context=context,
            retries=urllib3.Retry(total=8, backoff_factor=0.2, allowed_methods=None),
            timeout=30.0,
        )

    def get(self, path: str) -> Object:
        """Return an object or a list; empty where there is none."""
        return self._asked("GET", path)

    def items(self, path: str) -> list[Object]:
        return list(self.get(path).get("items", []))

    def create(self, path: str, body: Object) -> Object:
        """Create an object; one of that name is left as it is."""
        return self._asked("POST", path, body)

    def patch(self, path: str, body: Object, *, how: str = "merge") -> Object:
        query = "?fieldManager=tests&force=true" if how == "apply" else ""
        return self._asked("PATCH", f"{path}{query}", body, content=_PATCHES[how])

    def delete(self, path: str) -> Object:
        return self._asked("DELETE", path, {"propagationPolicy": "Background"})

    def _asked(
        self, method: str, path: str, body: Object | None = None, content: str = "application/json"
    ) -> Object:
        answer = self._pool.request(
            method,
            f"{self.server}{path}",
            body=json.dumps(body) if body is not None else None,
            headers={"Content-Type": content},
        )
        if answer.status == 404 or (answer.status == 409 and method == "POST"):
            return {}
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.data.decode()[:500]}")
        found: Object = json.loads(answer.data)
        return found
