"""Running ``palm`` in this process, as a shell would."""

import json
import shlex
from dataclasses import dataclass
from typing import Any

from typer.testing import CliRunner

from palm_cli.app import COMMANDS, app

EXAMPLES = [
    line.strip()
    for module in COMMANDS
    for block in module.HELP.split("```")[1::2]
    for line in block.strip().splitlines()
]
"""Every example of the help."""


def needs_cluster(example: str) -> bool:
    """Whether an example asks a cluster or a gateway: tests of its own run it."""
    command = shlex.split(example)[1]
    asking = ("status", "select", "chat", "samples", "rollback", "audit")
    return command in asking and "--file" not in example


@dataclass(frozen=True)
class Ran:
    """What a command left: exit code and both streams."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> Any:
        """The JSON it printed."""
        return json.loads(self.out)


def palm(*arguments: object, stdin: str | bytes | None = None) -> Ran:
    """Run ``palm`` with these arguments; an exception that is no exit is a failure of the test."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


def pipeline(line: str) -> Ran:
    """Run a line such as ``palm a | palm b``; a comment after # is not run."""
    ran = Ran(0, "", "")
    for stage in line.split(" | "):
        program, *arguments = shlex.split(stage, comments=True)
        assert program == "palm"
        ran = palm(*arguments, stdin=ran.out)
    return ran
