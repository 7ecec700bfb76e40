"""A question to a served policy, as any client of OpenAI's API would put it."""

import json
import shlex
import urllib.request
from typing import Any

from palm_devcluster.demo.stages import DemoError

TIMEOUT_S = 60.0
# A proxy of the environment does not reach this machine's loopback.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def chat(url: str, model: str, question: str) -> str:
    """Return a policy's answer to one question.

    Raises:
        DemoError: It does not answer.
    """
    request = urllib.request.Request(
        f"{url}/v1/chat/completions",
        data=json.dumps(body_of(model, question)).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with OPENER.open(request, timeout=TIMEOUT_S) as response:
            return str(json.load(response)["choices"][0]["message"]["content"]).strip()
    except (OSError, ValueError, LookupError) as error:
        raise DemoError(f"{url} does not answer: {error}") from error


def curl_command(url: str, model: str, question: str) -> str:
    """Return the same question for a shell."""
    body = shlex.quote(json.dumps(body_of(model, question)))
    return f"curl -s {url}/v1/chat/completions -H 'Content-Type: application/json' -d {body}"


def body_of(model: str, question: str) -> dict[str, Any]:
    """Return the request of a question; the same one gets the same answer every time."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": 64,
        "temperature": 0,
    }
