"""``palm experiment``: the paper's comparisons, on oracles whose optimum is known."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palm_cli.failures import InvalidInput, failures
from palm_cli.options import Output, names, rational, tolerance
from palm_cli.output import number, print_facts, print_json, print_table
from palm_cli.pictures import check_ending, write_figure
from palm_cli.progress import watched

if TYPE_CHECKING:
    from palm.experiments import Comparison, Method, Outcome

NAME = "experiment"
HELP = """Compare PALM with the paper's baselines and with the searches, where the truth is known.

Each method makes a portfolio on random oracles with a known optimum: KL-regularized bandits of
three temperatures, an ellipsoid, a random hull, a few regimes. Uniform, Random and OLS (corner
search) have as many policies as PALM keeps; Uniform-PALM has PALM's oracle calls; Adaptive and
Propose have PALM's guarantee. ε and δ are exact over the whole simplex; -o json has every run, and
ε and δ over sampled weight vectors as the paper estimates them.

```
palm experiment --objectives 2 --mu 16/30 --alpha 1/100 --prune-mu 0.05 --seeds 1
palm experiment -d 2 --mu 16/30 --alpha 1/20 --seeds 2 --oracle hull,regimes -o json
palm experiment -d 2 --mu 8/30 --alpha 1/5 --seeds 1 --method PALM,Uniform,OLS --plot compare.svg
```
"""

_MOST_WEIGHT_VECTORS = 2_000

Objectives = Annotated[int, typer.Option("--objectives", "-d", min=2, max=6)]
Mu = Annotated[str, typer.Option(help="μ of PALM's grid, in (0, 1].")]
Alpha = Annotated[str, typer.Option(help="α of PALM's grid, in (0, 1].")]
PruneMu = Annotated[str, typer.Option(help="Multiplicative tolerance μ' of the cover.")]
PruneAlpha = Annotated[str, typer.Option(help="Additive tolerance α' of the cover.")]
Seeds = Annotated[int, typer.Option(min=1, max=1_000, help="Oracles of each kind.")]
Oracles = Annotated[str, typer.Option("--oracle", help="Kinds, comma-separated; all by default.")]
Methods = Annotated[str, typer.Option("--method", help="Methods, comma-separated; all by default.")]
Batch = Annotated[int, typer.Option(min=1, max=10_000, help="Oracle calls at once.")]
Samples = Annotated[int, typer.Option(min=1, max=1_000_000, help="Weight vectors of sampled ε, δ.")]
Plot = Annotated[Path | None, typer.Option(help="Picture to write: .svg .pdf .png .html")]


@dataclass(frozen=True)
class Run:
    """What one method achieves on one oracle."""

    oracle: str
    seed: int
    outcome: "Outcome"


def run(
    objectives: Objectives = 2,
    mu: Mu = "16/30",
    alpha: Alpha = "1/100",
    prune_mu: PruneMu = "0.05",
    prune_alpha: PruneAlpha = "0",
    seeds: Seeds = 3,
    oracle: Oracles = "",
    method: Methods = "",
    batch: Batch = 1,
    samples: Samples = 200,
    plot: Plot = None,
    output: Output = "table",
) -> None:
    """Run the command."""
    with failures():
        if plot is not None:
            check_ending(plot, "--plot")
        # SciPy takes a second to import.
        from palm.experiments import METHODS, Comparison
        from palm.grid import grid_size
        from palm.random_oracles import RANDOM_ORACLES

        kinds = _known(names(oracle), tuple(RANDOM_ORACLES), "--oracle")
        methods = _known(names(method), METHODS, "--method")
        comparison = Comparison(
            dimension=objectives,
            mu=rational(mu, "--mu"),
            alpha=rational(alpha, "--alpha"),
            pruning_mu=tolerance(prune_mu, "--prune-mu", most=1.0),
            pruning_alpha=tolerance(prune_alpha, "--prune-alpha"),
            batch=batch,
            samples=samples,
        )
        planned = grid_size(comparison.mu, comparison.alpha, objectives)
        if planned > _MOST_WEIGHT_VECTORS:
            raise InvalidInput(
                f"--mu and --alpha give {planned} weight vectors; an experiment has at most "
                f"{_MOST_WEIGHT_VECTORS}"
            )
        runs = list(
            watched(
                _runs(comparison, kinds, methods, seeds),
                total=seeds * len(kinds) * len(methods),
                what="portfolios",
            )
        )
        rows = [_mean(m, [r.outcome for r in runs if r.outcome.method == m]) for m in methods]
        if output == "json":
            print_json(_answer(comparison, planned, rows, runs))
        else:
            _print(comparison, planned, rows, oracles=seeds * len(kinds))
        if plot is not None:
            _draw(plot, rows, runs)


def _runs(
    comparison: "Comparison", kinds: Sequence[str], methods: Sequence["Method"], seeds: int
) -> Iterator[Run]:
    from palm.experiments import compare
    from palm.random_oracles import RANDOM_ORACLES

    for seed in range(seeds):
        for kind in kinds:
            oracle = RANDOM_ORACLES[kind](comparison.dimension, seed)
            for outcome in compare(oracle, comparison, seed=seed, methods=methods):
                yield Run(kind, seed, outcome)


def _known(asked: Sequence[str], known: Sequence[Any], option: str) -> list[Any]:
    """Return the names that are asked for, in whatever case; all when none is."""
    by_name = {name.lower(): name for name in known}
    for name in asked:
        if name.lower() not in by_name:
            raise InvalidInput(f"{option}: {name!r} is not known; there are {', '.join(known)}")
    return [by_name[name.lower()] for name in asked] or list(known)


def _mean(method: str, outcomes: Sequence["Outcome"]) -> dict[str, Any]:
    """Return the means over oracles; an ε that means nothing on some oracle has none."""
    row: dict[str, Any] = {"method": method}
    for field in fields(outcomes[0]):
        if field.name != "method":
            values = [getattr(outcome, field.name) for outcome in outcomes]
            row[field.name] = None if None in values else sum(values) / len(values)
    return row


def _answer(
    comparison: "Comparison", planned: int, rows: list[dict[str, Any]], runs: Sequence[Run]
) -> dict[str, Any]:
    return {
        "objectives": comparison.dimension,
        "weight_vectors": planned,
        "prune_mu": comparison.pruning_mu,
        "prune_alpha": comparison.pruning_alpha,
        "batch": comparison.batch,
        "methods": rows,
        "runs": [{"oracle": r.oracle, "seed": r.seed, **asdict(r.outcome)} for r in runs],
    }


def _print(
    comparison: "Comparison", planned: int, rows: list[dict[str, Any]], *, oracles: int
) -> None:
    columns = ["METHOD", "POLICIES", "ORACLE CALLS", "ROUNDS", "ε(P)", "δ(P)", "PERPLEXITY"]
    cells = [
        [
            row["method"],
            f"{row['size']:.1f}",
            f"{row['oracle_calls']:.1f}",
            f"{row['rounds']:.1f}",
            number(row["epsilon"], digits=3),
            number(row["delta"], digits=3),
            f"{row['perplexity']:.2f}",
        ]
        for row in rows
    ]
    print_table(columns, cells, total=len(cells))
    print_facts(
        [
            ("means over", f"{oracles} oracles of {comparison.dimension} objectives"),
            ("grid", f"{planned} weight vectors, pruned with μ' = {comparison.pruning_mu:g}"),
            ("ε(P), δ(P)", "exact, over the whole simplex, against the true optimum"),
        ]
    )


def _draw(target: Path, rows: list[dict[str, Any]], runs: Sequence[Run]) -> None:
    from palm_cli.drawing.experiment import experiment_figure

    points = [asdict(r.outcome) for r in runs]
    write_figure(experiment_figure(rows, points), target, title="Portfolios on known oracles")
