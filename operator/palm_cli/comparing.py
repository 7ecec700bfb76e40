"""Every policy's answer to one question, side by side."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rich.columns import Columns
from rich.console import Console, Group
from rich.panel import Panel
from rich.text import Text

from palm.errors import PalmError
from palm.routing import at_most
from palm_cli.command_select import preference_of
from palm_cli.selection import Selection
from palm_cli.talking import Message, Speaker, whole
from palm_cli.ways import to_policy
from palm_gateway.choice import Candidate

_NARROWEST = 28
_AT_ONCE = 8


@dataclass(frozen=True)
class Answer:
    """What one policy said, or why it said nothing."""

    candidate: Candidate
    text: str
    is_good: bool


def compared(made: Selection, speaker: Speaker, messages: Sequence[Message]) -> list[Answer]:
    """Return the answer of every policy that is served, best first."""
    candidates = made.choice.candidates

    def ask(candidate: Candidate) -> Answer:
        try:
            reply = speaker.ask(to_policy(made.choice, candidate, {}), messages)
            return Answer(candidate, whole(reply), True)
        except PalmError as error:
            return Answer(candidate, str(error), False)

    with ThreadPoolExecutor(min(len(candidates), _AT_ONCE)) as pool:
        return list(pool.map(ask, candidates))


def print_compared(
    made: Selection, answers: Sequence[Answer], console: Console | None = None
) -> None:
    """Print the answers as columns as wide as the terminal allows, the chosen one marked."""
    console = console or Console()
    width = max(console.width // len(answers) - 1, min(_NARROWEST, console.width))
    console.print(Columns([_panel(made, a, width) for a in answers], padding=(0, 1), expand=False))


def _panel(made: Selection, answer: Answer, width: int) -> Panel:
    policy, behind = answer.candidate.policy, answer.candidate.shortfall
    is_chosen = policy == made.policy
    below = f"at most {at_most(behind.absolute)} below optimal" if behind else f"{policy.usage:.0%}"
    style = "green" if is_chosen else "red" if not answer.is_good else "dim"
    return Panel(
        Group(
            Text(f"for {preference_of(policy.weights, made.table.rewards)}", style="dim"),
            Text(answer.text.strip() or "(nothing)", style="" if answer.is_good else "red"),
        ),
        title=Text(f"{'★ ' if is_chosen else ''}{policy.name}"),
        subtitle=Text(below),
        border_style=style,
        width=width,
    )
