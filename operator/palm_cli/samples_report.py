"""What policies say, as a document, as Markdown and on a screen. Pure.

Prompts and responses are tenants' text, and a model's: they draw on no terminal, break no table,
load no picture, call nobody and link nowhere.
"""

import re
from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from palm.evaluations import ShownResponse
from palm_cli.inputs import printable
from palm_cli.samples import Column, Compared, Row, Sampled

NOTHING = "(nothing)"
_SPECIAL = re.compile(r"[\\`*_\[\]|~$]|:(?=//|[\w+-]+:)|(?<=[wW]{3})\.")
_CALLS = re.compile(r"[@#](?=\w)|(?<=[Gg][Hh])-(?=\d)")
_BLANK_LINES = re.compile(r"\n\s*\n")


def document(compared: Compared) -> dict[str, Any]:
    """Return all of it for programs; nothing is cut."""
    return {
        "namespace": compared.namespace,
        "name": compared.name,
        "revision": compared.revision,
        "rewards": list(compared.rewards),
        "policies": [_policy(column) for column in compared.columns],
        "prompts": [
            {
                "prompt": row.prompt,
                "responses": [
                    {
                        "policy": column.policy.name,
                        "text": response.text,
                        "tokens": response.tokens,
                        "rewards": dict(zip(column.rewards, response.rewards, strict=True)),
                    }
                    for column, response in row.said
                ],
            }
            for row in compared.rows
        ],
    }


def _policy(column: Column) -> dict[str, Any]:
    policy = column.policy
    return {
        "name": policy.name,
        "weights": list(policy.weights) or None,
        "usage": policy.usage,
        "policy_digest": policy.digest,
        "evaluation_digest": policy.evaluation_digest,
        "missing": column.missing or None,
    }


def markdown(compared: Compared, *, longest: int) -> str:
    """Return a table per prompt, as the paper's Table 2, for a report or a pull request.

    Args:
        compared: What is shown.
        longest: Most characters of a prompt or of a response.
    """
    rewards = ", ".join(compared.rewards)
    lines = [
        f"# What the policies of {compared.namespace}/{compared.name} say",
        "",
        f"Revision {compared.revision}; weights are of {rewards}. The same prompts and sampling "
        "seeds for every policy, the first response of each.",
    ]
    for number, row in enumerate(compared.rows, 1):
        lines += ["", f"## Prompt {number}", "", f"**Prompt.** {_cell(row.prompt, longest)}", ""]
        lines += _markdown_table(compared, row, longest)
    if compared.missing:
        lines.append("")
    lines += [f"* {c.policy.name}: no samples: {_escaped(c.missing)}" for c in compared.missing]
    return "\n".join(lines) + "\n"


def _markdown_table(compared: Compared, row: Row, longest: int) -> Iterator[str]:
    head = ["", "policy", "weights", "response", "tokens", *compared.rewards]
    yield f"| {' | '.join(head)} |"
    yield "|---|---|---|---|--:|" + "--:|" * len(compared.rewards)
    for number, (column, response) in enumerate(row.said, 1):
        values = dict(zip(column.rewards, response.rewards, strict=True))
        cells = [
            f"{number}",
            column.policy.name,
            _weights(column.policy),
            _cell(response.text, longest),
            f"{response.tokens}",
            *(_reward(values.get(name)) for name in compared.rewards),
        ]
        yield f"| {' | '.join(cells)} |"


def screen(compared: Compared, *, longest: int, most_prompts: int | None = None) -> RenderableType:
    """Return a table per prompt, for a terminal.

    Args:
        compared: What is shown.
        longest: Most characters of a prompt or of a response.
        most_prompts: Only so many; None: all.
    """
    parts: list[RenderableType] = []
    for row in compared.rows[:most_prompts]:
        table = Table(
            "POLICY", "RESPONSE", "REWARDS", box=box.SIMPLE_HEAD, pad_edge=False, show_lines=True
        )
        for column, response in row.said:
            table.add_row(
                Text("\n".join(_about(column.policy))),
                Text(_lines(response.text, longest)),
                Text("\n".join(_values(column, response))),
            )
        parts += [Text(_lines(row.prompt, longest), style="bold"), table]
    for column in compared.missing:
        parts.append(Text(f"{column.policy.name}: no samples: {printable(column.missing)}"))
    return Group(*parts)


def _about(policy: Sampled) -> Iterator[str]:
    yield policy.name
    if policy.weights:
        yield _weights(policy)
    if policy.usage is not None:
        yield f"serves {policy.usage:.0%}"


def _values(column: Column, response: ShownResponse) -> Iterator[str]:
    for name, value in zip(column.rewards, response.rewards, strict=True):
        yield f"{name} {_reward(value)}"
    yield f"{response.tokens} tokens"


def _weights(policy: Sampled) -> str:
    return f"({', '.join(f'{weight:.4g}' for weight in policy.weights)})" if policy.weights else ""


def _reward(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _cut(text: str, longest: int) -> str:
    rest = len(text) - longest
    return text if rest <= 0 else f"{text[:longest]} … ({rest:,} more characters)"


def _lines(text: str, longest: int) -> str:
    """Return a text for a terminal, without lines that are blank."""
    bare = _BLANK_LINES.sub("\n", printable(_cut(text.strip(), longest)))
    return bare or NOTHING


def _cell(text: str, longest: int) -> str:
    return _escaped(_lines(text, longest)).replace("\n", "<br>").replace("\t", " ")


def _escaped(text: str) -> str:
    """Return a text as Markdown that reads as this text, whatever is in it."""
    bare = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # GitHub looks for people and issues where the text is rendered already: a comment parts it.
    return _CALLS.sub(r"\g<0><!-- -->", _SPECIAL.sub(r"\\\g<0>", bare))
