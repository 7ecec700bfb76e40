"""A stand-in of the API server, for what the API server's real behaviour does not matter to."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from builders import World

PORTFOLIOS = "/apis/palm-operator.dev/v1alpha1"
SERVICES = "/apis/serving.kserve.io/v1beta1/namespaces/ml/inferenceservices"


class ApiServer:
    """Has one Portfolio and its InferenceServices; takes patches, knows no other kind.

    ``more`` Portfolios are listed.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.patches: list[tuple[str, Any]] = []
        self.more: list[Any] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.split("?")[0]
                body = outer.world.body
                if path == f"{PORTFOLIOS}/namespaces/ml/portfolios/assistant":
                    self.answer(200, json.dumps(body))
                elif path in (
                    f"{PORTFOLIOS}/portfolios", f"{PORTFOLIOS}/namespaces/ml/portfolios",
                ):  # fmt: skip
                    self.answer(200, json.dumps({"items": [body, *outer.more]}))
                elif path == SERVICES:
                    items = [dict(body) for body in outer.world.services.values()]
                    self.answer(200, json.dumps({"items": items}))
                else:
                    self.answer(404, "404 page not found")

            def do_PATCH(self) -> None:
                patch = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.patches.append((self.path, patch))
                if patch["metadata"]["resourceVersion"] != "1":
                    refusal = {"kind": "Status", "message": "the object has been modified"}
                    self.answer(409, json.dumps(refusal))
                    return
                outer.world.body["spec"].setdefault("serving", {}).update(patch["spec"]["serving"])
                self.answer(200, json.dumps(outer.world.body))

            def answer(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def kubeconfig(self) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.server.server_port}"
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": url}}],
            "users": [{"name": "me", "user": {}}],
            "contexts": [
                {"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "ml"}}
            ],
        }

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
