"""What the surviving policies say to the same prompts, side by side: the paper's Table 2."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from palm.errors import InvalidResult
from palm.evaluations import SamplesFile
from palm_devcluster.demo import install
from palm_store import ResultStore

_MOST_BYTES = 1 << 20
_ON_SCREEN = 2


@dataclass(frozen=True)
class Said:
    """One prompt, and the response of each policy with its raw rewards, by policy name."""

    prompt: str
    responses: Mapping[str, str]
    rewards: Mapping[str, str]


def side_by_side(manifest: Mapping[str, Any], store: ResultStore) -> list[Said]:
    """Return what each survivor said to each prompt that all of them have in common.

    Args:
        manifest: Of the portfolio; it names the files.
        store: Of the demo's bucket.

    Raises:
        InvalidResult: A file is not there, or not what it should be.
    """
    kept = set(manifest["cover"]["policies"])
    files = {
        policy["name"]: _file(policy["sampleResponses"], store)
        for policy in manifest["policies"]
        if policy["name"] in kept
    }
    columns = {name: {one.prompt: one for one in file.responses} for name, file in files.items()}
    first = next(iter(columns.values()))
    common = [prompt for prompt in first if all(prompt in each for each in columns.values())]
    rewards = next(iter(files.values())).rewards
    return [
        Said(
            prompt=prompt,
            responses={name: column[prompt].text for name, column in columns.items()},
            rewards={
                name: ", ".join(
                    f"{reward} {value:.2f}"
                    for reward, value in zip(rewards, column[prompt].rewards, strict=True)
                )
                for name, column in columns.items()
            },
        )
        for prompt in common
    ]


def write_markdown(path: Path, said: list[Said]) -> None:
    """Write all of it, a section per prompt."""
    lines = ["# The same prompts, side by side", ""]
    for one in said:
        lines += [
            f"## {_plain(one.prompt)}",
            "",
            "| policy | response | rewards |",
            "|---|---|---|",
        ]
        for name, text in one.responses.items():
            lines.append(f"| {name} | {_plain(text)} | {one.rewards[name]} |")
        lines.append("")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")


def print_samples(console: Console, said: list[Said], path: Path) -> None:
    """Print the first of them, and where the others are."""
    for one in said[:_ON_SCREEN]:
        table = Table(title=f"Sampled at temperature 1: {one.prompt!r}", title_justify="left")
        table.add_column("policy", no_wrap=True)
        table.add_column("response")
        table.add_column("rewards")
        for name, text in one.responses.items():
            table.add_row(name, text, one.rewards[name])
        console.print(table)
    console.print(f"[bold]More of them[/]: {path}", soft_wrap=True)


def _file(uri: str, store: ResultStore) -> SamplesFile:
    content = store.read(uri.removeprefix(f"s3://{install.BUCKET}/"), max_bytes=_MOST_BYTES)
    if content is None:
        raise InvalidResult(f"there is no {uri}")
    try:
        return SamplesFile.model_validate_json(content)
    except ValueError as problem:
        raise InvalidResult(f"{uri} is no samples file: {type(problem).__name__}") from None


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").strip()
