"""What the surviving policies say to the same prompts, as ``palm samples`` shows it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from palm.artifacts import under
from palm_cli.samples import MAX_BYTES, Column, Compared, Sampled, asked, column
from palm_cli.samples_report import markdown, screen
from palm_operator.api.portfolio import parse_portfolio
from palm_operator.calls.requests import storage_location
from palm_store import ResultStore

_LONGEST = 600
_ON_SCREEN = 2


def compared(portfolio: Mapping[str, Any], manifest: bytes, store: ResultStore) -> Compared:
    """Return what the base policy and each survivor said.

    Args:
        portfolio: As the API server has it.
        manifest: Of what is deployed.
        store: Of the demo's bucket, without the Portfolio's prefix.

    Raises:
        InvalidResult: The manifest is none, or a file is too large.
    """
    parsed = parse_portfolio(portfolio)
    location = storage_location(parsed.spec)

    def said(policy: Sampled) -> Column:
        key = policy.key
        content = store.read(under(location, key), max_bytes=MAX_BYTES) if key else None
        return column(policy, content)

    return Compared(
        namespace=parsed.metadata.namespace,
        name=parsed.metadata.name,
        revision=portfolio["status"]["portfolio"]["revision"],
        rewards=tuple(reward.name for reward in parsed.spec.rewards),
        columns=tuple(map(said, asked(manifest))),
    )


def write_markdown(path: Path, said: Compared) -> None:
    """Write all of it, a section per prompt."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(markdown(said, longest=_LONGEST), encoding="utf-8")


def print_samples(console: Console, said: Compared, path: Path) -> None:
    """Print the first of them, and where the others are."""
    console.print("[bold]Sampled at temperature 1[/], the same seeds for every policy:")
    console.print(screen(said, longest=_LONGEST, most_prompts=_ON_SCREEN))
    console.print(f"[bold]More of them[/]: {path}", soft_wrap=True)
