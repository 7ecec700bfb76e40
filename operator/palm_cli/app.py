"""The program: its commands, and what its help says."""

from importlib.metadata import version
from typing import Annotated

import typer

from palm_cli import (
    command_audit,
    command_certify,
    command_chat,
    command_experiment,
    command_grid,
    command_plan,
    command_plot,
    command_prune,
    command_rollback,
    command_route,
    command_samples,
    command_search,
    command_select,
    command_status,
    command_validate,
)
from palm_cli.failures import EXIT_CODES

_HELP = f"""Many preferences, few policies: plan, prune, certify; select, chat, audit.

`status`, `select`, `chat`, `samples`, `rollback` and `audit` ask a cluster, as kubectl would; all
others need none.

A *policies file* is JSON: what was trained for which weight vector, and what it is worth
(`null`: failed).

```
{{"objectives": ["brevity", "helpfulness"],
 "policies": [
  {{"name": "w00", "weights": [1, 0], "rewards": [0.8, 0.3], "regularizer": 0.0}},
  {{"name": "w01", "weights": [0.5, 0.5], "rewards": [0.7, 0.7]}},
  {{"name": "w02", "weights": [0, 1], "rewards": null}}]}}
```

Numbers are exact: `18/30`, `0.05` and `1e-3` are accepted. `-o json` prints JSON for programs, `-`
is standard input.

{EXIT_CODES}
"""

app = typer.Typer(
    help=_HELP,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS = (
    command_plan,
    command_validate,
    command_grid,
    command_search,
    command_prune,
    command_certify,
    command_route,
    command_plot,
    command_experiment,
    command_status,
    command_select,
    command_chat,
    command_samples,
    command_rollback,
    command_audit,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(version("palm-operator"))
        raise typer.Exit


@app.callback()
def palm(
    _: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Options of the program itself."""


for module in COMMANDS:
    app.command(name=module.NAME, help=module.HELP, epilog=EXIT_CODES)(module.run)
