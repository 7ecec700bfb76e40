"""The same question under different preferences, through the gateway."""

import json
import shlex
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from palm_devcluster.demo.asking import OPENER, TIMEOUT_S, body_of
from palm_devcluster.demo.stages import DemoError

_FOLLOWS_S = 60.0  # from a table in the cluster to a gateway that has read it
_AGAIN = frozenset({404, 503})

Preference = Mapping[str, float]


@dataclass(frozen=True)
class Routed:
    """An answer, who gave it, and how far below the best possible policy that one is at most."""

    preference: str
    policy: str
    shortfall: Mapping[str, str]
    answer: str

    @property
    def bound(self) -> str:
        """The shortfall as a sentence."""
        parts = self.shortfall
        where = "for every preference" if parts.get("scope") == "Simplex" else "on the grid"
        share = f", {100 * float(parts['relative']):.1f} %" if "relative" in parts else ""
        sure = f", with confidence {parts['confidence']}" if "confidence" in parts else ""
        return f"at most {parts['absolute']}{share} below optimal ({where}{sure})"


def ask(url: str, model: str, preference: Preference, question: str) -> Routed:
    """Return what the best policy for a preference answers.

    Raises:
        DemoError: Nobody answers.
    """
    deadline = time.monotonic() + _FOLLOWS_S
    while True:
        try:
            return _asked(url, model, written(preference), question)
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(1000).decode(errors="replace")
            if error.code not in _AGAIN or time.monotonic() > deadline:
                raise DemoError(f"the gateway {url} answers {error.code}: {said}") from error
            time.sleep(0.5)
        except (OSError, ValueError, LookupError) as error:
            raise DemoError(f"the gateway {url} does not answer: {error}") from error


def written(preference: Preference) -> str:
    """Return a preference as its header has it."""
    return ",".join(f"{name}={amount:g}" for name, amount in preference.items())


def extremes(rewards: Sequence[str]) -> tuple[Preference, Preference]:
    """Return two preferences that want different things: mostly the first, mostly the last."""
    first, last = rewards[0], rewards[-1]
    return {first: 0.9, last: 0.1}, {first: 0.1, last: 0.9}


def curl_command(url: str, model: str, preference: Preference, question: str) -> str:
    """Return the same question for a shell."""
    body = shlex.quote(json.dumps(body_of(model, question)))
    return (
        f"curl -si {url}/v1/chat/completions -H 'Content-Type: application/json' "
        f"-H 'x-palm-preference: {written(preference)}' -d {body}"
    )


def _asked(url: str, model: str, preference: str, question: str) -> Routed:
    request = urllib.request.Request(
        f"{url}/v1/chat/completions",
        data=json.dumps(body_of(model, question)).encode(),
        headers={"Content-Type": "application/json", "x-palm-preference": preference},
    )
    with OPENER.open(request, timeout=TIMEOUT_S) as response:
        text = str(json.load(response)["choices"][0]["message"]["content"]).strip()
        policy, said = response.headers["x-palm-policy"], response.headers["x-palm-shortfall"]
    shortfall = dict(part.strip().split("=", 1) for part in said.split(","))
    return Routed(preference, policy, shortfall, text)
