"""A report for people: one screen. Pure: values in, what rich can print out."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from palm_cli.inputs import shown_name
from palm_cli.status_report import Report
from palm_operator.api.status import (
    Condition,
    DeployedPortfolio,
    DeployedRevision,
    Guarantee,
    RunningCall,
)
from palm_operator.times import parsed

_COLOURS = {
    "serving": "green", "done": "green", "refreshing": "cyan", "in the making": "cyan",
    "degraded": "yellow", "paused": "yellow", "new": "yellow", "suspended": "yellow",
    "being deleted": "yellow",
}  # fmt: skip
_TRUTH = {"True": ("yes", "green"), "False": ("no", "yellow"), "Unknown": ("?", "yellow")}
_KEPT_OF_KSTATUS = ("Reconciling", "Stalled")  # they repeat Progressing
_BAR_WIDTH, _SHARE_WIDTH = 30, 10
_RUNNING_SHOWN, _LATELY_SHOWN = 8, 3


def screen(made: Report, *, now: datetime, trouble: str = "") -> RenderableType:
    """Return the whole screen.

    Args:
        made: What is told.
        now: For ages.
        trouble: Why it may be out of date; empty: it is not.
    """
    colour = _COLOURS.get(made.phase, "red")
    title = Text.assemble((made.name, "bold"), "  ", (f"● {made.phase}", f"bold {colour}"))
    parts: list[RenderableType] = [title]
    if made.sentence:
        parts.append(Text(made.sentence))
    if trouble:
        parts.append(Text(f"out of date: {shown_name(trouble)}", style="red"))
    parts += _problems(made)
    parts += _progress(made, now)
    if made.status.portfolio:
        parts += _deployed(made, made.status.portfolio)
    parts += _lately(made, now)
    if made.status.conditions:
        parts += [Text(), _conditions(made.status.conditions, now)]
    return Group(*parts)


def age(since: str | None, now: datetime) -> str:
    """Return how long ago something was, in its largest unit."""
    try:
        seconds = max((now - parsed(since or "")).total_seconds(), 0)
    except ValueError:
        return "?"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _problems(made: Report) -> Iterable[RenderableType]:
    for problem in made.problems:
        yield Text()
        yield Text.assemble(
            ("wrong  ", "bold red"), (f"{problem.about}: {problem.reason}", "bold"),
            f"\n       {problem.message}", ("\n   do  ", "bold"), problem.advice,
        )  # fmt: skip


def _progress(made: Report, now: datetime) -> Iterable[RenderableType]:
    calls = made.status.oracle_calls
    if calls is None:
        return
    grid = _pairs()
    parts = [f"{calls.summary or f'{calls.succeeded}/{calls.planned}'} trained and evaluated"]
    parts += [f"{calls.running} running"] if calls.running else []
    parts += [f"{calls.failed} failed"] if calls.failed else []
    parts += [f"{calls.reused} of them found in S3"] if calls.reused else []
    parts += [f"{calls.saved} weight vectors certified without one"] if calls.saved else []
    done = (calls.succeeded + calls.failed) / max(calls.planned, 1)
    grid.add_row("oracle calls", Text.assemble(_bar(done, _BAR_WIDTH), "  ", ", ".join(parts)))
    running, told = made.running or (), {call.policy: call for call in made.status.progress}
    for index, job in enumerate(running[:_RUNNING_SHOWN]):
        state = f"for {age(job.since, now)}" if job.begun else "waits for a place"
        far = _far(told[job.policy]) if job.what == "training" and job.policy in told else ""
        grid.add_row("" if index else "runs now", Text(f"{job.what} {job.policy}, {state}{far}"))
    if len(running) > _RUNNING_SHOWN:
        grid.add_row("", Text(f"… and {len(running) - _RUNNING_SHOWN} more"))
    yield Text()
    yield grid


def _far(call: RunningCall) -> str:
    """Return how far a training is, as it last told."""
    left = f", {shown_name(call.left)} left" if call.left else ""
    kept = f", checkpoint at {call.checkpoint_step}" if call.checkpoint_step else ""
    return f", step {call.step} of {call.steps}{left}{kept}"


def _deployed(made: Report, portfolio: DeployedPortfolio) -> Iterable[RenderableType]:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("POLICY", no_wrap=True)
    for name in made.rewards:
        table.add_column(f"w({name})", justify="right")
    for name in made.rewards:
        table.add_column(name, justify="right")
    table.add_column("SERVES", no_wrap=True, min_width=_SHARE_WIDTH + 6)
    table.add_column("READY")
    for policy in portfolio.policies:
        shown = [*_padded(policy.weights, made.rewards), *_padded(policy.rewards, made.rewards)]
        ready = Text("yes", style="green") if policy.ready else Text("no", style="red")
        table.add_row(Text(policy.name), *map(Text, shown), _share(policy.usage), ready)
    grid = _pairs()
    grid.add_row("deployed", Text(f"revision {portfolio.revision}, {portfolio.size} policies"))
    grid.add_row("guarantee", Text(guarantee_of(portfolio.guarantee)))
    for index, (url, named) in enumerate(_addresses(portfolio).items()):
        address = Text.assemble(", ".join(named), "  ", url, overflow="fold")
        grid.add_row("" if index else "answers at", address)
    if gateway := made.status.gateway:
        default = f", without a preference {gateway.default_preference}"
        said = f"{gateway.url}, model {gateway.model}"
        grid.add_row("gateway", Text(said + (default if gateway.default_preference else "")))
    yield from (Text(), table, Text(), grid)


def _addresses(portfolio: DeployedPortfolio) -> dict[str, list[str]]:
    """Return who answers where; policies may share a server."""
    found: dict[str, list[str]] = {}
    for policy in portfolio.policies:
        url = policy.url or ("not served" if not policy.service else "no address yet")
        found.setdefault(shown_name(url), []).append(policy.name)
    return found


def guarantee_of(said: Guarantee) -> str:
    """Return what is guaranteed to whom, as a sentence."""
    where = "for every preference" if said.scope == "Simplex" else "at the grid's weight vectors"
    bounds = f"ε = {said.epsilon} (relative) and δ = {said.delta} (normalized units)"
    sure = f"with confidence {said.confidence}, " if said.confidence else ""
    size = "the smallest cover" if said.proven else "a cover, not proven to be the smallest"
    measured = ""
    if said.confidence and said.measured:
        measured = f"; as measured ε = {said.measured.epsilon}, δ = {said.measured.delta}"
    return f"{sure}{where} within {bounds} of optimal{measured}; {size}"


def _lately(made: Report, now: datetime) -> Iterable[RenderableType]:
    grid = _pairs()
    if (pending := made.status.pending) and made.status.portfolio:
        grid.add_row("being made", Text(f"revision {pending.revision}: {pending.phase}"))
    for index, entry in enumerate(reversed(made.status.revisions[-_LATELY_SHOWN:])):
        grid.add_row("" if index else "lately", Text(_entry(entry, now)))
    if grid.row_count:
        yield Text()
        yield grid


def _entry(entry: DeployedRevision, now: datetime) -> str:
    gone = f", gone {age(entry.retired, now)} ago" if entry.retired else ""
    why = {"First": "", "Revision": " (other policies)", "Pruning": " (another choice of them)",
           "Serving": " (other servers)", "Pinned": " (pinned)",
           "StatusLost": " (found again without a status)"}  # fmt: skip
    return (
        f"#{entry.number} revision {entry.revision} deployed {age(entry.deployed, now)} ago"
        f"{why.get(entry.reason, '')}: {entry.size} policies, ε = {entry.epsilon}{gone}"
    )


def _conditions(conditions: Sequence[Condition], now: datetime) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for condition in conditions:
        if condition.type in _KEPT_OF_KSTATUS:
            continue
        word, colour = _TRUTH[condition.status]
        since = age(condition.last_transition_time, now)
        said = f"{shown_name(condition.reason)}: {shown_name(condition.message)}"
        table.add_row(Text(condition.type), Text(word, style=colour), Text(since), Text(said))
    return table


def _share(usage: str) -> Text:
    try:
        share = min(max(float(usage), 0.0), 1.0)
    except ValueError:
        return Text(shown_name(usage))
    return Text.assemble(_bar(share, _SHARE_WIDTH), f" {share:.0%}")


def _bar(share: float, width: int) -> Text:
    filled = min(max(round(share * width), 0), width)
    return Text.assemble(("█" * filled, "cyan"), ("░" * (width - filled), "dim"))


def _padded(values: Sequence[str], rewards: Sequence[str]) -> list[str]:
    """Return one value per reward: the spec may have been given others since."""
    return [*values, *["-"] * len(rewards)][: len(rewards)]


def _pairs() -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True, min_width=12)
    grid.add_column(ratio=1)
    return grid


def spaced(renderable: RenderableType) -> RenderableType:
    """Return the screen with a line around it, so that one can be told from the next."""
    return Padding(renderable, (0, 0, 1, 0))
