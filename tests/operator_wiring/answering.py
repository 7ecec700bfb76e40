"""Policies that are served without KServe's controller, which is not there.

InferenceServices that may scale to zero are Ready when their status says so and a request to them
is answered, which this module sees to.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from operators import Operator

SERVING = {"deploymentMode": "Knative", "minReplicas": 0, "retireAfter": "0s"}


class Answering(BaseHTTPRequestHandler):
    """Every policy at once."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        content = json.dumps({"choices": [{"text": "1"}]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def answered(environment: dict[str, str], folder: Path, **settings: str) -> Iterator[Operator]:
    """An operator that reaches its policies at a server of this test's own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/{{namespace}}/{{name}}"
    variables = {**environment, "PALM_SERVING_URL": url, **settings}
    made = Operator(variables, folder / "operator.log")
    made.start()
    yield made
    made.end()
    server.shutdown()
    server.server_close()
    print(made.log.read_text())


def ready(tenant) -> None:
    """Say of every InferenceService what KServe's controller would."""
    claim = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "modelStatus": {
            "transitionStatus": "UpToDate",
            "states": {"activeModelState": "Loaded", "targetModelState": "Loaded"},
        },
    }
    for service in tenant.objects("inferenceservices"):
        if not service.get("status"):
            name, patch = service["metadata"]["name"], json.dumps({"status": claim})
            tenant.kubectl(
                "patch", "isvc", name, "--subresource=status", "--type=merge", "-p", patch
            )


def until(tenant, holds, *, seconds: float = 180) -> None:
    """Like ``eventually``, also of a Portfolio that is stalled, and with KServe's part done."""
    deadline = time.monotonic() + seconds
    while not holds(tenant.portfolio.get("status", {})):
        assert time.monotonic() < deadline, json.dumps(tenant.portfolio.get("status"), indent=1)
        ready(tenant)
        time.sleep(0.5)


def deployed(number: int, size: int):
    """Whether so many policies serve as the deployment of this number, and nothing else does."""

    def holds(status) -> bool:
        last = (status.get("revisions") or [{}])[-1]
        others = status.get("revisions", [])[:-1]
        portfolio = status.get("portfolio") or {}
        return (
            (last.get("number"), last.get("size")) == (number, size)
            and all(policy["ready"] for policy in portfolio["policies"])
            and all(entry.get("retired") for entry in others)
        )

    return holds
