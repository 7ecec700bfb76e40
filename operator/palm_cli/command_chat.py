"""``palm chat``: ask the policy that is best for a preference, or all of them side by side."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from typing import Annotated

import typer

from palm.errors import InvalidPreference
from palm.routing import parse_preference
from palm_cli.access import Where
from palm_cli.cluster import Cluster, connected
from palm_cli.cluster_options import Context, Kubeconfig, Namespace, PortfolioName, Preference
from palm_cli.comparing import compared, print_compared
from palm_cli.failures import InvalidInput, Unavailable, failures
from palm_cli.inputs import STANDARD_INPUT, read_text, shown_name
from palm_cli.route_tables import Gateway, Routed, routed_in
from palm_cli.selection import selection
from palm_cli.talking import Message, Reply, Speaker
from palm_cli.ways import Way, base_url, through_gateway, to_policies

NAME = "chat"
HELP = """Ask the policy that is best for a preference, and see which one that is.

The answer streams to standard output; who answers, and how far from optimal at most, is told on
standard error. Without a MESSAGE it is read from standard input; on a terminal a conversation
begins, in which `/preference REWARD=AMOUNT,…` changes the preference and Ctrl-D ends it.

The gateway is asked where there is one (`--gateway`, else the one that the status names), else the
policies themselves, best first; addresses inside the cluster are reached by the API server's proxy,
which needs the verb `create` on `services/proxy`. With `--gateway` no cluster is needed.
`--compare` asks every policy the same and puts the answers side by side.

```
palm chat assistant --preference helpfulness=0.7,brevity=0.3 'What is 7 + 8?'
palm chat assistant -n ml -p brevity=1 --compare 'What is 7 + 8?'
palm chat ml/assistant --gateway https://llm.example.com --token-file token.txt 'What is 7 + 8?'
```
"""

Text = Annotated[str, typer.Argument(metavar="[MESSAGE|-]", help="The question.")]
Compare = Annotated[bool, typer.Option("--compare", help="Ask all policies, side by side.")]
GatewayUrl = Annotated[str, typer.Option("--gateway", metavar="URL", help="Instead of a cluster.")]
TokenFile = Annotated[
    str, typer.Option("--token-file", metavar="FILE", help="Holds the gateway's bearer token.")
]
MaxTokens = Annotated[
    int, typer.Option("--max-tokens", min=0, help="Longest answer; 0: as the policy likes.")
]
_LONGEST_MESSAGE = 1 << 20
_LONGEST_TOKEN = 1 << 16
_PREFERENCE = "/preference"


def run(
    name: PortfolioName,
    message: Text = "",
    preference: Preference = "",
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    compare: Compare = False,
    gateway: GatewayUrl = "",
    token_file: TokenFile = "",
    max_tokens: MaxTokens = 0,
) -> None:
    """Run the command."""
    with failures(), ExitStack() as stack:
        if compare and gateway:
            raise InvalidInput("--compare asks the policies themselves, not a --gateway")
        if preference:
            parse_preference(preference)
        space, _, short = name.rpartition("/")
        token = _token(token_file)
        cluster = None
        if not gateway:
            cluster = stack.enter_context(connected(Where(namespace or space, context, kubeconfig)))
        speaker = Speaker(cluster, token=token, max_tokens=max_tokens or None)
        guide = _Guide(cluster, short, _named(gateway, namespace or space, short))
        if compare:
            _compare(guide, speaker, preference, _question(message))
        elif message or not sys.stdin.isatty():
            _answer(guide, speaker, preference, [_user(_question(message))])
        else:
            _converse(guide, speaker, preference)


class _Guide:
    """Knows the ways to an answer; looks again for each question, for portfolios are switched."""

    def __init__(self, cluster: Cluster | None, name: str, gateway: Gateway | None) -> None:
        self._cluster, self._name, self._gateway = cluster, name, gateway

    def ways(self, preference: str) -> Iterator[Way]:
        """Yield the ways for a preference, the gateway's first.

        Raises:
            InvalidInput: The preference is not one of this Portfolio.
        """
        if self._gateway is not None:
            return through_gateway(self._gateway, preference)
        routed = self.routed()
        choice = selection(routed.route, preference).choice
        return self._after(routed.gateway, preference, to_policies(choice))

    def routed(self) -> Routed:
        """Return the route table as it is now."""
        if self._cluster is None:
            raise InvalidInput("policies are asked in a cluster only")
        return routed_in(self._cluster, self._name)

    @staticmethod
    def _after(gateway: Gateway | None, preference: str, rest: Iterator[Way]) -> Iterator[Way]:
        if gateway is not None:
            yield from through_gateway(gateway, preference)
        yield from rest


def _named(gateway: str, namespace: str, name: str) -> Gateway | None:
    model = f"{namespace}/{name}" if namespace else name
    if gateway and not gateway.startswith(("http://", "https://")):
        raise InvalidInput(f"--gateway is {shown_name(gateway)}; it must begin with https://")
    return Gateway(base_url(gateway), model) if gateway else None


def _answer(guide: _Guide, speaker: Speaker, preference: str, messages: list[Message]) -> str:
    """Stream an answer; return all of it."""
    reply = speaker.ask(guide.ways(preference), messages)
    print(told(reply), file=sys.stderr, flush=True)
    parts = []
    for part in reply.parts:
        print(part, end="", flush=True)
        parts.append(part)
    print(flush=True)
    return "".join(parts)


def told(reply: Reply) -> str:
    """Return who answers, how far from optimal at most, and which better ones could not."""
    said: Mapping[str, str] = reply.said
    policy = shown_name(said.get("x-palm-policy", "an unknown policy"))
    line = f"[{policy}"
    if "x-palm-shortfall" in said:
        parts = dict(
            part.strip().partition("=")[::2] for part in said["x-palm-shortfall"].split(",")
        )
        share = f", relative {parts['relative']}" if "relative" in parts else ""
        where = "every preference" if parts.get("scope") == "Simplex" else "the grid"
        sure = f", confidence {parts['confidence']}" if "confidence" in parts else ""
        line += f", at most {parts.get('absolute', '?')}{share} below optimal on {where}{sure}"
    if "x-palm-fallback" in said:
        line += f"; better, but {shown_name(said['x-palm-fallback'])}"
    return f"{line}; by {reply.way.what}]"


def _compare(guide: _Guide, speaker: Speaker, preference: str, question: str) -> None:
    made = selection(guide.routed().route, preference)
    if not made.choice.candidates:
        raise Unavailable("no policy is served yet: see `palm status`")
    answers = compared(made, speaker, [_user(question)])
    print_compared(made, answers)
    if not any(answer.is_good for answer in answers):
        raise Unavailable("no policy answers")


def _converse(guide: _Guide, speaker: Speaker, preference: str) -> None:
    """Ask as long as the person has questions; what was said is sent along."""
    with suppress(ImportError):
        import readline  # noqa: F401  # line editing and history for input()
    messages: list[Message] = []
    while True:
        try:
            line = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if line.startswith(_PREFERENCE):
            preference = _changed(line.removeprefix(_PREFERENCE).strip(), preference)
        elif line:
            messages = _turn(guide, speaker, preference, [*messages, _user(line)])


def _turn(
    guide: _Guide, speaker: Speaker, preference: str, messages: list[Message]
) -> list[Message]:
    """Return the conversation after an answer; without the question where there was none."""
    try:
        text = _answer(guide, speaker, preference, messages)
    except KeyboardInterrupt:
        print("\n[stopped]", file=sys.stderr)
        return messages[:-1]
    except (Unavailable, InvalidInput) as error:
        print(f"error: {error}", file=sys.stderr)
        return messages[:-1]
    return [*messages, {"role": "assistant", "content": text}]


def _changed(text: str, preference: str) -> str:
    try:
        if text:
            parse_preference(text)
    except InvalidPreference as error:
        print(f"error: {error}", file=sys.stderr)
        return preference
    print(f"[preference: {text or 'the default'}]", file=sys.stderr)
    return text


def _question(message: str) -> str:
    text = (
        message if message not in ("", STANDARD_INPUT) else read_text("-", limit=_LONGEST_MESSAGE)
    )
    if not text.strip():
        raise InvalidInput("the MESSAGE is empty; it must say something")
    return text.strip()


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _token(file: str) -> str | None:
    if not file:
        return None
    lines = read_text(file, limit=_LONGEST_TOKEN).split()
    if not lines:
        raise InvalidInput(f"{shown_name(file)} holds no token")
    if not lines[0].isascii() or not lines[0].isprintable():
        raise InvalidInput(f"{shown_name(file)} holds no token: it must be ASCII")
    return lines[0]
