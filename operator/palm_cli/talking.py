"""Asking a gateway or a policy with OpenAI's own client: what streams back, and who answered."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from palm_cli.cluster import Cluster
from palm_cli.failures import InvalidInput, Unavailable
from palm_cli.inputs import printable, shown_name
from palm_cli.ways import Way

if TYPE_CHECKING:
    from openai import OpenAI

Message = Mapping[str, str]

_CONNECT_SECONDS = 3.0
_ANSWER_SECONDS = 600.0
_ELSEWHERE = frozenset({401, 403, 404, 405, 408, 429})
"""Refusals that another way need not share; another 4xx is about the question itself."""
_LONGEST_COMPLAINT = 300


@dataclass(frozen=True)
class Reply:
    """An answer that began.

    Attributes:
        said: The gateway's headers ``x-palm-…``, or what they would be.
        way: How it came.
        parts: The text as it comes; raises Unavailable where it breaks off.
    """

    said: Mapping[str, str]
    way: Way
    parts: Iterator[str]


class Speaker:
    """Whoever asks: a token for the gateway, and a cluster where one is at hand."""

    def __init__(
        self, cluster: Cluster | None, *, token: str | None = None, max_tokens: int | None = None
    ) -> None:
        """Make a speaker.

        Args:
            cluster: For ways by the API server's proxy; None: there are none.
            token: The gateway's; nobody else gets it.
            max_tokens: Longest answer; None: as long as the policy will.
        """
        self._cluster, self._token, self._max_tokens = cluster, token, max_tokens

    def ask(self, ways: Iterable[Way], messages: Sequence[Message]) -> Reply:
        """Return the first answer that begins.

        Raises:
            InvalidInput: The question itself is refused.
            Unavailable: No way leads to an answer; the message says why for each.
        """
        failures: list[str] = []
        for way in ways:
            if way.proxied and self._cluster is None:
                continue
            try:
                return self._asked(way, messages)
            except Unavailable as error:
                failures.append(f"{way.what}: {error}")
        if not failures:
            raise Unavailable("no policy is served yet: see `palm status`")
        raise Unavailable("nobody answers:\n  " + "\n  ".join(failures))

    def _asked(self, way: Way, messages: Sequence[Message]) -> Reply:
        import openai

        client = self._client(way)
        rest: dict[str, Any] = {"max_tokens": self._max_tokens} if self._max_tokens else {}
        try:
            answer = client.chat.completions.with_raw_response.create(
                model=way.model,
                messages=list(messages),  # type: ignore[arg-type]  # roles are checked there
                stream=True,
                extra_body=dict(way.fields),
                **rest,
            )
            stream = answer.parse()
        except openai.APIStatusError as error:
            client.close()
            raise self._refusal(way, error) from None
        except openai.APIConnectionError as error:
            client.close()
            raise Unavailable(_cause(error)) from None
        told = {name: value for name, value in answer.headers.items() if name.startswith("x-palm-")}
        return Reply(way.said or told, way, _parts(client, stream))

    def _client(self, way: Way) -> "OpenAI":
        import httpx2
        import openai

        patience = httpx2.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS)
        if way.proxied and self._cluster is not None:
            return openai.OpenAI(
                base_url=f"{self._cluster.host}{way.url}",
                api_key="none",  # replaced by the person's credentials
                http_client=self._cluster.lent(),
                timeout=patience,
                max_retries=0,
            )
        return openai.OpenAI(
            base_url=way.url,
            # Policies are no gateway: what was given for one is not for them.
            api_key=self._token if self._token and not way.said else "none",
            http_client=httpx2.Client(follow_redirects=False),
            timeout=patience,
            max_retries=0,
        )

    def _refusal(self, way: Way, error: Any) -> Exception:
        code, body = int(error.status_code), error.body
        said = body.get("message") if isinstance(body, Mapping) else None
        text = shown_name(str(said or error.message))[:_LONGEST_COMPLAINT]
        is_api_servers = isinstance(body, Mapping) and body.get("kind") == "Status"
        if way.proxied and code == 403 and is_api_servers:
            return Unavailable(f"{text}; needed is the verb create on services/proxy")
        if code == 401 and way.proxied:
            return Unavailable(f"{text}; the proxy passes no token on: name a --gateway")
        if code == 401 and not way.said:
            return Unavailable(f"{text}; name a file that has one with --token-file")
        if code >= 500 or code in _ELSEWHERE or code < 400:
            return Unavailable(f"answered {code}: {text}")
        return InvalidInput(f"{way.what} refuses the question ({code}): {text}")


def whole(reply: Reply) -> str:
    """Return all of an answer."""
    return "".join(reply.parts)


def _parts(client: "OpenAI", stream: Any) -> Iterator[str]:
    import httpx2
    import openai

    try:
        for chunk in stream:
            for choice in chunk.choices[:1]:
                if choice.delta.content:
                    yield printable(choice.delta.content)
    except (openai.OpenAIError, httpx2.HTTPError, ValueError) as error:
        raise Unavailable(f"the answer broke off: {_cause(error)}") from None
    finally:
        with suppress(Exception):
            stream.close()
        client.close()


def _cause(error: BaseException) -> str:
    """Return what is behind a client's error, whose own words are "Connection error."."""
    while error.__cause__ is not None:
        error = error.__cause__
    return shown_name(str(error) or type(error).__name__)[:_LONGEST_COMPLAINT]
