"""What the demo leaves behind: a table for people and two JSON files for programs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from palm_devcluster.demo.stages import Stages, format_seconds
from palm_devcluster.demo.watch import conditions


def survivors_table(portfolio: Mapping[str, Any]) -> Table:
    """Return the surviving policies: weights, mean rewards, share of preferences."""
    names = [reward["name"] for reward in portfolio["spec"]["rewards"]]
    deployed = portfolio["status"]["portfolio"]
    table = Table(title=f"Portfolio {portfolio['metadata']['name']}: {deployed['size']} policies")
    table.add_column("policy", no_wrap=True)
    for name in names:
        table.add_column(f"w({name})", justify="right")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("serves", justify="right")
    for policy in deployed["policies"]:
        share = f"{100 * float(policy['usage']):.0f} %"
        table.add_row(policy["name"], *policy["weights"], *policy["rewards"], share)
    return table


def print_report(
    console: Console, portfolio: Mapping[str, Any], picture: Path, commands: list[str]
) -> None:
    """Print table, guarantee, where the picture is, and how to look around."""
    guarantee = portfolio["status"]["portfolio"]["guarantee"]
    published = conditions(portfolio)["Published"]
    size = "the smallest cover, proven" if guarantee["proven"] else "a cover, not proven smallest"
    console.print()
    console.print(survivors_table(portfolio))
    console.print(
        f"[bold]Guarantee[/]: at every weight vector of the {guarantee['scope'].lower()}, a "
        f"deployed policy is within ε = {guarantee['epsilon']} (relative) and "
        f"δ = {guarantee['delta']} (absolute, normalized rewards) of the best policy observed; "
        f"{size}."
    )
    console.print(f"[bold]Published[/]: {published['reason']}: {published['message']}")
    console.print(f"[bold]Picture[/]: {picture}", soft_wrap=True)
    console.print("[bold]Look around[/]:")
    for command in commands:
        console.print(f"    {command}", highlight=False, soft_wrap=True)


def summary(portfolio: Mapping[str, Any], stages: Stages) -> dict[str, Any]:
    """Return what a program wants to check."""
    deployed = portfolio["status"]["portfolio"]
    calls = portfolio["status"]["oracleCalls"]
    return {
        "secondsPerStage": stages.seconds,
        "secondsTotal": round(stages.elapsed, 1),
        "oracleCalls": {key: calls.get(key, 0) for key in ("planned", "succeeded", "reused")},
        "portfolioSize": deployed["size"],
        "epsilon": _number(deployed["guarantee"]["epsilon"]),
        "delta": _number(deployed["guarantee"]["delta"]),
        "scope": deployed["guarantee"]["scope"],
        "revision": deployed["revision"],
    }


def _number(text: str) -> float | None:
    """A relative shortfall is undefined where an optimum is not positive."""
    return None if text == "undefined" else float(text)


def print_times(console: Console, stages: Stages) -> None:
    """Print seconds per stage on one line."""
    parts = ", ".join(f"{name} {format_seconds(s)}" for name, s in stages.seconds.items())
    console.print(f"[bold]Time[/]: {format_seconds(stages.elapsed)} ({parts})")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
