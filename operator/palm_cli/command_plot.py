"""``palm plot``: the picture of a portfolio, or of a grid."""

from pathlib import Path
from typing import Annotated, Any

import typer

from palm.errors import NoCertificate
from palm_cli.command_certify import can_be_certified
from palm_cli.drawing.view import View
from palm_cli.failures import InvalidInput, failures
from palm_cli.inputs import parse_json, read_text, shown_name
from palm_cli.ledger_file import is_ledger, view_of
from palm_cli.options import (
    NormalizeOption,
    PortfolioOption,
    chosen,
    names,
    tolerance,
)
from palm_cli.pictures import check_ending, write_figure
from palm_cli.policies_file import BYTES_LIMIT, Policies, policies_from
from palm_cli.weights_file import weights_from

NAME = "plot"
HELP = """Draw a picture: svg, pdf or png for papers, html for reading. The ending decides.

A policies file (or what `palm search -o json` printed) gives the portfolio: who serves which
preference (two objectives: the objectives of all policies and a band; three: the simplex in
cells), what the policies are worth, how many preferences each serves. So does the operator's
ledger, portfolio.json in S3. What `palm grid -o json` printed gives the weight vectors, and around
each all v that it approximates, |w_i - v_i| ≤ ε·v_i + δ.

```
palm plot policies.json -o portfolio.svg --mu 0.05
palm plot policies.json -o portfolio.html --portfolio w00,w01
palm grid -d 3 --mu 2/5 --alpha 1/5 -o json | palm plot - -o grid.png --epsilon 2/5 --delta 1/10
```
"""

_POLICIES_DRAWN = 2_000
_WEIGHTS_DRAWN = 5_000

File = Annotated[
    str, typer.Argument(metavar="FILE", help="Policies file, or what grid or search printed; or -.")
]
Target = Annotated[Path, typer.Option("--output", "-o", help="File to write: .svg .pdf .png .html")]
Mu = Annotated[str, typer.Option(help="Tolerance μ' to prune with, where no portfolio is stated.")]
Epsilon = Annotated[str, typer.Option(help="ε of a grid's cells.")]
Delta = Annotated[str, typer.Option(help="δ of a grid's cells.")]
Objectives = Annotated[str, typer.Option(help="Names for a grid's objectives, comma-separated.")]


def run(
    file: File,
    output: Target,
    portfolio: PortfolioOption = "",
    mu: Mu = "0.05",
    normalize: NormalizeOption = "none",
    epsilon: Epsilon = "2/5",
    delta: Delta = "1/80",
    objectives: Objectives = "",
) -> None:
    """Run the command."""
    with failures():
        check_ending(output, "--output")
        value = parse_json(read_text(file, limit=BYTES_LIMIT), file)
        if isinstance(value, dict) and "policies" not in value and "weights" in value:
            _draw_grid(
                value,
                file,
                output,
                epsilon=tolerance(epsilon, "--epsilon"),
                delta=tolerance(delta, "--delta"),
                objectives=names(objectives),
            )
        elif is_ledger(value):
            _draw_view(*view_of(value, file), output)
        else:
            policies = policies_from(value, file, normalize=normalize)
            kept = _portfolio(policies, portfolio, mu=tolerance(mu, "--mu", most=1.0))
            _draw_view(_view(policies, kept), _title(policies, kept), output)
        print(output)


def _portfolio(policies: Policies, portfolio: str, *, mu: float) -> tuple[int, ...]:
    """Return what is drawn in colour: named, stated by the file, or the smallest cover."""
    from palm.pruning import prune  # SciPy takes a second to import

    if len(policies.names) > _POLICIES_DRAWN:
        raise InvalidInput(
            f"{shown_name(policies.source)} has {len(policies.names)} policies; "
            f"at most {_POLICIES_DRAWN} are drawn"
        )
    if names(portfolio) or policies.stated or not policies.rows:
        return chosen(policies, portfolio)
    return prune(
        weights=policies.weights, utilities=policies.utilities, mu=mu, alpha=0.0, solver="Exact"
    ).indices


def _view(policies: Policies, kept: tuple[int, ...]) -> View:
    rows = list(policies.rows)
    failed = sorted(set(range(len(policies.names))) - set(rows))
    return View(
        objectives=policies.objectives,
        names=policies.trained_names,
        weights=policies.weights[rows],
        utilities=policies.utilities,
        kept=tuple(sorted(kept, key=lambda index: policies.weights[rows[index]].tolist())),
        failed=policies.weights[failed],
    )


def _title(policies: Policies, kept: tuple[int, ...]) -> str:
    """Return the size of the portfolio, and its certificate where there is one."""
    from palm.certificate import certify

    title = f"{len(kept)} of {len(policies.rows)} policies"
    if not can_be_certified(policies, kept):
        return title
    try:
        found = certify(
            weights=policies.weights[list(policies.rows)],
            utilities=policies.utilities,
            portfolio=kept,
        )
    except NoCertificate:
        return f"{title}; no certificate, an extreme policy is missing"
    epsilon = "none" if found.epsilon is None else f"{found.epsilon:.3f}"
    return f"{title}; over the simplex ε ≤ {epsilon}, δ ≤ {found.delta:.3f}"


def _draw_view(view: View, title: str, output: Path) -> None:
    from palm_cli.drawing.figures import portfolio_figure
    from palm_cli.drawing.page import portfolio_page

    figure = portfolio_figure(view, title=title)
    page = portfolio_page(view, figure, title=title) if output.suffix.lower() == ".html" else ""
    write_figure(figure, output, title=title, page=page)


def _draw_grid(
    value: Any,
    source: str,
    output: Path,
    *,
    epsilon: float,
    delta: float,
    objectives: tuple[str, ...],
) -> None:
    from palm_cli.drawing.figures import weights_figure

    weights = weights_from(value, source)
    dimension = weights.shape[1]
    if dimension not in (2, 3):
        raise InvalidInput(
            f"{shown_name(source)} has weight vectors of {dimension} objectives; 2 or 3 are drawn"
        )
    if len(weights) > _WEIGHTS_DRAWN:
        raise InvalidInput(
            f"{shown_name(source)} has {len(weights)} weight vectors; "
            f"at most {_WEIGHTS_DRAWN} are drawn"
        )
    if objectives and len(objectives) != dimension:
        raise InvalidInput(f"--objectives names {len(objectives)} objectives, not {dimension}")
    labels = objectives or tuple(f"objective {i + 1}" for i in range(dimension))
    figure = weights_figure(weights, labels, epsilon=epsilon, delta=delta)
    write_figure(figure, output, title=f"{len(weights)} weight vectors")
