"""An OpenAI-compatible server: the application of ``transformers serve``, pinned to some models.

``transformers serve`` loads whatever repository a request names; here, a request may name only
what the command line says, under the names it gives. Flags are those of KServe's Hugging Face
runtime that the operator uses.
"""

import argparse
import sys
import time
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse
from transformers.cli.serving.chat_completion import ChatCompletionHandler
from transformers.cli.serving.completion import CompletionHandler
from transformers.cli.serving.model_manager import ModelManager
from transformers.cli.serving.server import build_server
from transformers.cli.serving.utils import GenerationState

from palm_devcluster.serving.models import Served, UnusableModel, load_models

_ROUTES = ("/v1/chat/completions", "/v1/completions", "/v1/models", "/health")


class NamedModels(ModelManager):
    """The models of the command line, instead of whatever a request names."""

    def __init__(self, served: Mapping[str, Served]) -> None:
        super().__init__(device="cpu", model_timeout=-1)
        self._served, self._since = served, int(time.time())

    def of(self, name: object) -> Served:
        """Return a model by its name.

        Raises:
            HTTPException: There is no such model; its answer lists those that there are.
        """
        if not isinstance(name, str) or name not in self._served:
            there_are = ", ".join(self._served)
            raise HTTPException(404, f"no model {name!r} is served here; there are: {there_are}")
        return self._served[name]

    def get_gen_models(self, cache_dir: str | None = None) -> list[dict[str, Any]]:
        """Return the entries of ``/v1/models``."""
        return [
            {
                "id": name,
                "object": "model",
                "created": self._since,
                "owned_by": "palm-operator",
                "parent": served.parent,
            }
            for name, served in self._served.items()
        ]


class _Named:
    """What both handlers do differently."""

    model_manager: NamedModels

    def _resolve_model(self, body: dict[str, Any]) -> tuple[str, Any, Any]:
        served = self.model_manager.of(body.get("model"))
        return body["model"], served.model, served.tokenizer

    def _build_generation_config(self, body: dict[str, Any], *rest: Any, **options: Any) -> Any:
        config = super()._build_generation_config(body, *rest, **options)  # type: ignore[misc]
        if body.get("temperature"):
            config.do_sample = True  # `generate` ignores the temperature otherwise
        return config

    async def handle_request(self, body: dict[str, Any], request_id: str) -> Any:
        if limit := body.pop("max_completion_tokens", None):
            body["max_tokens"] = limit  # the newer name of the same
        answer = await super().handle_request(body, request_id)  # type: ignore[misc]
        if isinstance(answer, StreamingResponse):
            answer.body_iterator = _ended(answer.body_iterator)
        return answer


class Chat(_Named, ChatCompletionHandler):
    """``/v1/chat/completions``."""


class Completions(_Named, CompletionHandler):
    """``/v1/completions``."""


async def _ended(stream: AsyncIterable[Any]) -> AsyncIterator[Any]:
    """Pass a stream on and end it as OpenAI's server does."""
    async for part in stream:
        yield part
    yield "data: [DONE]\n\n"


def application(served: Mapping[str, Served]) -> FastAPI:
    """Return the application that serves models under their names."""
    models, state = NamedModels(served), GenerationState()
    app = build_server(
        models,
        Chat(models, state),
        completion_handler=Completions(models, state),
        response_handler=None,
        transcription_handler=None,
        generation_state=state,
    )
    app.router.routes[:] = [r for r in app.router.routes if getattr(r, "path", "") in _ROUTES]

    @app.exception_handler(HTTPException)
    async def explained(_: Request, error: HTTPException) -> JSONResponse:
        """Answer in the form that OpenAI's clients read."""
        kind = "NotFoundError" if error.status_code == 404 else "BadRequestError"
        content = {"message": error.detail, "type": kind, "code": error.status_code}
        return JSONResponse({"error": content}, status_code=error.status_code)

    return app


def _adapter(text: str) -> tuple[str, Path]:
    name, found, folder = text.partition("=")
    if not (name and found and folder):
        raise argparse.ArgumentTypeError(f"{text!r} must be NAME=FOLDER")
    return name, Path(folder)


def arguments() -> argparse.ArgumentParser:
    """Every option of the command."""
    parser = argparse.ArgumentParser(prog="server", description=__doc__)
    option = parser.add_argument
    option("--model_name", required=True, help="what requests call the model")
    option("--model_dir", type=Path, required=True, help="folder of the model")
    option("--host", default="0.0.0.0", help="address to listen on")
    option("--http_port", type=int, default=8080, help="port to listen on")
    option("--enable-lora", action="store_true", help="implied by --lora-modules")
    option("--lora-modules", type=_adapter, nargs="+", default=[], metavar="NAME=FOLDER")
    option("--max-lora-rank", type=int, help="accepted; there is no limit here")
    option("--max-loras", type=int, help="accepted; there is no limit here")
    return parser


def main() -> int:
    """Load the models and serve them until SIGTERM; return the exit code."""
    options = arguments().parse_args()
    try:
        served = load_models(options.model_name, options.model_dir, dict(options.lora_modules))
    except UnusableModel as error:
        print(error, file=sys.stderr)
        return 1
    print(f"serving {', '.join(served)} on {options.host}:{options.http_port}", flush=True)
    # Requests are not logged: they are users' prompts.
    uvicorn.run(
        application(served),
        host=options.host,
        port=options.http_port,
        access_log=False,
        log_level="warning",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
