"""Options that several commands share, and the exact numbers on the command line."""

from fractions import Fraction
from typing import Annotated

import typer

from palm.rational import parse_decimal
from palm_cli.failures import InvalidInput
from palm_cli.inputs import shown_name
from palm_cli.output import Format
from palm_cli.policies_file import Normalize, Policies

PoliciesFile = Annotated[
    str, typer.Argument(metavar="FILE", help="Policies file (JSON), - for standard input.")
]
Output = Annotated[Format, typer.Option("--output", "-o", help="How to print the answer.")]
NormalizeOption = Annotated[
    Normalize,
    typer.Option(
        "--normalize",
        help="payoff: utilities in the units of the extreme policies' payoff table.",
    ),
]
PortfolioOption = Annotated[
    str,
    typer.Option(
        "--portfolio",
        help="Policies, comma-separated; else those the file states as portfolio, else all.",
    ),
]


def rational(text: str, option: str) -> Fraction:
    """Return the exact value of an option such as ``18/30``, ``0.05`` or ``1e-3``.

    Raises:
        InvalidInput: It is no number; names the option.
    """
    try:
        return parse_decimal(text)
    except ValueError as error:
        raise InvalidInput(f"{option}: {error}") from None


def tolerance(text: str, option: str, *, most: float | None = None) -> float:
    """Return a number that is at least 0 and, where stated, at most ``most``."""
    value = rational(text, option)
    if value < 0 or (most is not None and value > most):
        rule = "at least 0" if most is None else f"from 0 to {most:g}"
        raise InvalidInput(f"{option} is {text}; it must be {rule}")
    return float(value)


def names(text: str) -> tuple[str, ...]:
    """Return the names of a comma-separated list; an empty text names none."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def chosen(policies: Policies, portfolio: str) -> tuple[int, ...]:
    """Return the policies of ``--portfolio``; else those the file states; else all with rewards.

    Returns:
        Positions among the policies with rewards, ascending, at least one.

    Raises:
        InvalidInput: A name is unknown or failed, or there is no policy with rewards.
    """
    picked = names(portfolio)
    if picked:
        return policies.trained(picked, option="--portfolio")
    if policies.stated:
        return policies.stated
    if not policies.rows:
        raise InvalidInput(f"{shown_name(policies.source)}: every policy failed; none has rewards")
    return tuple(range(len(policies.rows)))
