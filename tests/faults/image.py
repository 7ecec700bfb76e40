"""The trainer's and evaluator's image without a model, and without starting Python for each Job.

A Job's container is a stub that hands its request to this process and exits with what it is told;
the work is that of the fake image of the other tests. What serves policies answers here too.
"""

import json
import runpy
import threading
import time
from contextlib import suppress
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import palm_store

FAKE_IMAGE = Path(__file__).parents[1] / "operator_wiring" / "fake_image.py"
_STUB = """
import json, os, socket, sys
body = json.dumps({k: v for k, v in os.environ.items() if k.startswith(("FAKE_", "PALM_"))})
asked = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
head = f"POST /job HTTP/1.0\\r\\nContent-Length: {len(body.encode())}\\r\\n\\r\\n"
asked.sendall((head + body).encode())
answer = b"".join(iter(lambda: asked.recv(4096), b""))
sys.exit(int(answer.rpartition(b"\\n")[2] or b"1"))
"""


class ImageServer:
    """Does the work of every Job, and answers for every policy that is served."""

    def __init__(self) -> None:
        self._fake = _fake_image()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = owner._worked(json.loads(body)) if self.path == "/job" else _COMPLETION
                with suppress(ConnectionError):  # whoever asked may have been killed meanwhile
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def command(self) -> list[str]:
        """What stands in a table of images for the image."""
        return ["{bin}/python", "-I", "-S", "-c", _STUB, str(self._server.server_port)]

    @property
    def serving_url(self) -> str:
        """Where every policy is reached, with {namespace} and {name}."""
        return f"http://127.0.0.1:{self._server.server_port}/{{namespace}}/{{name}}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _worked(self, environment: dict[str, str]) -> bytes:
        time.sleep(float(environment.get("FAKE_SECONDS", "0")))
        request = json.loads(environment["PALM_REQUEST"])
        failures = environment.get("FAKE_FAILURES", "").split(",")
        if "weights" in request and request["policy"] in failures:
            return b"42"
        try:
            work = self._fake["train" if "weights" in request else "evaluate"]
            kind = self._fake["TrainingRequest" if "weights" in request else "EvaluationRequest"]
            work(kind.model_validate(request))
        except Exception as error:
            print(f"a Job failed: {type(error).__name__}: {error}", flush=True)
            return b"1"
        return b"0"


_COMPLETION = b'{"choices": [{"text": "1"}]}'


def _fake_image() -> dict[str, Any]:
    """Return the functions of the fake image; they find a store that is made once."""
    found = runpy.run_path(str(FAKE_IMAGE))
    # Making a boto3 client takes longer than its requests.
    store = lru_cache(maxsize=256)(palm_store.S3Store)
    for work in ("train", "evaluate"):
        found[work].__globals__["S3Store"] = store
    return found
