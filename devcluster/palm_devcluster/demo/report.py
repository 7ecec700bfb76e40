"""What the demo leaves behind: a table for people and two JSON files for programs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from palm_devcluster.demo.gateway import Routed
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


def print_answers(console: Console, question: str, answers: Mapping[str, str]) -> None:
    """Print what each policy answers to one question."""
    console.print(f"[bold]Asked[/] {question!r}, each policy answers:")
    for name, answer in answers.items():
        console.print(f"    {name}: {answer}", highlight=False, markup=False, soft_wrap=True)


def print_routed(console: Console, question: str, routed: Sequence[Routed]) -> None:
    """Print what the gateway made of one question under each preference, and whether it differs."""
    console.print(f"[bold]Asked[/] {question!r} through the gateway, once per preference:")
    for one in routed:
        console.print(f"    {one.preference} -> {one.policy}, {one.bound}", highlight=False)
        console.print(f"        {one.answer}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"    {verdict(routed)}", highlight=False, markup=False, soft_wrap=True)


def verdict(routed: Sequence[Routed]) -> str:
    """Say whether the preferences made a difference, from the answers alone."""
    policies, answers = {one.policy for one in routed}, {one.answer for one in routed}
    if len(policies) == 1:
        return "One policy is best for all of these preferences, so the answers are the same."
    if len(answers) == 1:
        return "Different policies answered, and said the same: here they do not differ."
    words = " and ".join(str(len(one.answer.split())) for one in routed)
    return f"Different preferences, different policies, different answers: {words} words."


def print_report(
    console: Console, portfolio: Mapping[str, Any], picture: Path, commands: list[str]
) -> None:
    """Print table, guarantee, where the picture is, and how to look around."""
    published = conditions(portfolio)["Published"]
    console.print()
    console.print(survivors_table(portfolio))
    console.print(f"[bold]Oracle calls[/]: {oracle_calls(portfolio)}")
    console.print(f"[bold]Guarantee[/]: {guarantee(portfolio)}")
    console.print(f"[bold]Published[/]: {published['reason']}: {published['message']}")
    console.print(f"[bold]Picture[/]: {picture}", soft_wrap=True)
    console.print("[bold]Look around[/]:")
    for command in commands:
        console.print(f"    {command}", highlight=False, soft_wrap=True)


def oracle_calls(portfolio: Mapping[str, Any]) -> str:
    """Return what was spent, and what was not."""
    calls = portfolio["status"]["oracleCalls"]
    saved = calls.get("saved", 0)
    rest = f"; {saved} more weight vectors are certified without one" if saved else ""
    return f"{calls.get('succeeded', 0)} policies trained{rest}."


def guarantee(portfolio: Mapping[str, Any]) -> str:
    """Return what is guaranteed, to whom, and with which confidence."""
    found = portfolio["status"]["portfolio"]["guarantee"]
    everybody = found["scope"] == "Simplex"
    who = "for every preference" if everybody else "at every weight vector of the grid"
    size = "the smallest cover, proven" if found["proven"] else "a cover, not proven smallest"
    measured = found.get("measured", found)
    sentence = (
        f"{who} a deployed policy is within ε = {measured['epsilon']} (relative) and "
        f"δ = {measured['delta']} (absolute, normalized rewards) of optimal, as measured"
    )
    if "confidence" in found:
        sentence += (
            f"; with confidence {found['confidence']}, the sampling error of the evaluation "
            f"included, within ε = {found['epsilon']} and δ = {found['delta']}"
        )
    return f"{sentence}; {size}."


def summary(portfolio: Mapping[str, Any], stages: Stages) -> dict[str, Any]:
    """Return what a program wants to check."""
    deployed = portfolio["status"]["portfolio"]
    calls = portfolio["status"]["oracleCalls"]
    return {
        "secondsPerStage": stages.seconds,
        "secondsTotal": round(stages.elapsed, 1),
        "oracleCalls": {
            key: calls.get(key, 0) for key in ("planned", "succeeded", "reused", "saved")
        },
        "portfolioSize": deployed["size"],
        "policiesServed": sum(bool(policy.get("ready")) for policy in deployed["policies"]),
        "epsilon": _number(deployed["guarantee"]["epsilon"]),
        "delta": _number(deployed["guarantee"]["delta"]),
        "scope": deployed["guarantee"]["scope"],
        "confidence": deployed["guarantee"].get("confidence"),
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
