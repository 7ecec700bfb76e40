"""Follow a Portfolio until its policies are published, and say what happens meanwhile."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from palm_devcluster.demo.stages import DemoError, Stages, format_seconds
from palm_devcluster.demo.tools import Tools

_POLL_SECONDS = 1.0
_HEARTBEAT_SECONDS = 20.0
_FATAL_REASONS = frozenset(
    {
        "OracleCallFailed", "OracleCallLimitReached", "TooManyPolicies", "NameConflict",
        "KServeAbsent",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Progress:
    """What one look at the cluster shows."""

    summary: str
    running: tuple[str, ...]
    doing: str


def follow(tools: Tools, namespace: str, name: str, stages: Stages, timeout: float) -> Any:
    """Wait until the Portfolio is done and return it as the API server has it.

    Raises:
        DemoError: The Portfolio is refused, stalled, failed, or not done within ``timeout`` s.
    """
    begin = time.monotonic()
    shown: Progress | None = None
    shown_at = begin
    while True:
        portfolio = tools.read("portfolios", name, "--namespace", namespace)
        if portfolio is None:
            raise DemoError(f"Portfolio {namespace}/{name} was deleted while the demo ran")
        if failure := failure_of(portfolio):
            raise DemoError(failure)
        jobs = tools.items("jobs", "--namespace", namespace)
        progress = progress_of(portfolio, jobs)
        now = time.monotonic()
        if progress != shown or now - shown_at > _HEARTBEAT_SECONDS:
            stages.say(f"{format_seconds(now - begin):>12}  {line(progress)}")
            shown, shown_at = progress, now
        if is_done(portfolio):
            return portfolio
        if now - begin > timeout:
            raise DemoError(
                f"not done after {format_seconds(timeout)}; last seen: {line(progress)}"
            )
        time.sleep(_POLL_SECONDS)


def line(progress: Progress) -> str:
    """Return one line for people."""
    running = ", ".join(progress.running) or "nothing"
    return f"oracle calls {progress.summary or '0/?'}; running: {running}; {progress.doing}"


def conditions(portfolio: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the conditions by type, those of an older generation left out."""
    generation = portfolio["metadata"]["generation"]
    return {
        c["type"]: c
        for c in portfolio.get("status", {}).get("conditions", [])
        if c.get("observedGeneration") == generation
    }


def failure_of(portfolio: Mapping[str, Any]) -> str | None:
    """Return a sentence when the Portfolio cannot get further by itself."""
    seen = conditions(portfolio)
    accepted = seen.get("Accepted")
    if accepted and accepted["status"] == "False":
        return f"the Portfolio was not accepted: {accepted['reason']}: {accepted['message']}"
    stalled = seen.get("Stalled")
    if stalled and stalled["status"] == "True":
        return f"the Portfolio is stalled: {stalled['reason']}: {stalled['message']}"
    for condition in seen.values():
        if condition["status"] == "False" and condition["reason"] in _FATAL_REASONS:
            return f"{condition['type']}: {condition['reason']}: {condition['message']}"
    return None


def progress_of(portfolio: Mapping[str, Any], jobs: Sequence[Mapping[str, Any]]) -> Progress:
    """Return what is going on, from the status and the Jobs."""
    status = portfolio.get("status", {})
    running = sorted(
        job["metadata"]["name"].removeprefix(f"{portfolio['metadata']['name']}-")
        for job in jobs
        if job.get("status", {}).get("active")
    )
    summary = status.get("oracleCalls", {}).get("summary", "")
    return Progress(summary, tuple(running), _doing(portfolio))


def _doing(portfolio: Mapping[str, Any]) -> str:
    published = conditions(portfolio).get("Published")
    if published and published["status"] == "True":
        return "published"
    if published and published["reason"] != "WaitingForResults":
        return f"publishing: {published['message']}"
    return str(portfolio.get("status", {}).get("pending", {}).get("phase", "starting"))


def is_done(portfolio: Mapping[str, Any]) -> bool:
    """Say whether every policy of the current generation is served."""
    seen = conditions(portfolio)
    published = seen.get("Published")
    return bool(
        published
        and portfolio["status"].get("portfolio")
        and not portfolio["status"].get("pending")
        and (published["status"] == "True" or published["reason"] == "NotRequested")
    )
