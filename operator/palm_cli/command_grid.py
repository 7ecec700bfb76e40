"""``palm grid``: the weight vectors, before anything is trained."""

from dataclasses import asdict
from fractions import Fraction
from typing import Annotated, Any, Literal

import numpy as np
import typer
from numpy.typing import NDArray

from palm.grid import Spacing, construct_grid, grid_levels
from palm.guarantees import Setting, size_bound, statements
from palm.strategies import explicit_weights, random_weights, uniform_weights
from palm_cli.failures import InvalidInput, failures
from palm_cli.options import Output, rational, tolerance
from palm_cli.output import number, print_facts, print_json, print_table, vector
from palm_cli.weights_file import read_weights

NAME = "grid"
HELP = """Print the weight vectors of a strategy: one oracle call (training Job) each.

palm: CONSTRUCTGRID of Algorithm 1, by --mu and --alpha. uniform, random: the paper's baselines, by
--size and --seed. explicit: those of a file, by --weights.

`bounds` is what is promised before anything is trained, for rewards in [0, 1] unless --max-total or
--max-regularizer says otherwise. Only statements whose assumptions hold are printed: with
--signed-rewards, none. A certificate (`palm certify`) promises far more, afterwards.

```
palm grid --objectives 3 --mu 18/30 --alpha 3/10
palm grid --objectives 2 --mu 8/30 --alpha 0.2 --spacing even -o json
palm grid --objectives 3 --strategy uniform --size 61 -o json
palm grid --objectives 2 --strategy explicit --weights users.csv
```
"""

Strategy = Literal["palm", "uniform", "random", "explicit"]

_SPACINGS: dict[str, Spacing] = {"descending": "Descending", "even": "Even"}

Objectives = Annotated[int, typer.Option("--objectives", "-d", min=1, help="How many rewards.")]
StrategyOption = Annotated[
    Strategy, typer.Option("--strategy", case_sensitive=False, help="How they are chosen.")
]
Mu = Annotated[
    str, typer.Option(help="Multiplicative accuracy μ in (0, 1]: ratio of neighbouring levels.")
]
Alpha = Annotated[
    str,
    typer.Option(help="Additive accuracy α in (0, 1]: the lowest positive level is at most it."),
]
SpacingOption = Annotated[
    Literal["descending", "even"],
    typer.Option("--spacing", case_sensitive=False, help="Levels from 1 down, or from 1 to α."),
]
Size = Annotated[int, typer.Option(min=0, help="How many (uniform, random).")]
Seed = Annotated[int, typer.Option(min=0, help="Of what is drawn (uniform, random).")]
Weights = Annotated[
    str, typer.Option(metavar="FILE|-", help="File of weight vectors (explicit); - for stdin.")
]
PruneMu = Annotated[str, typer.Option(help="μ' that `bounds` assumes; μ when left out.")]
PruneAlpha = Annotated[str, typer.Option(help="α' that `bounds` assumes.")]
MaxTotal = Annotated[str, typer.Option(help="R, largest Σ|r_i| of a policy; d when left out.")]
MaxRegularizer = Annotated[str, typer.Option(help="Largest regularizer f of a policy.")]
Signed = Annotated[bool, typer.Option("--signed-rewards", help="Expected rewards may be negative.")]


def run(
    objectives: Objectives,
    strategy: StrategyOption = "palm",
    mu: Mu = "",
    alpha: Alpha = "",
    spacing: SpacingOption = "descending",
    size: Size = 0,
    seed: Seed = 0,
    weights: Weights = "",
    prune_mu: PruneMu = "",
    prune_alpha: PruneAlpha = "0",
    max_total: MaxTotal = "",
    max_regularizer: MaxRegularizer = "0",
    signed_rewards: Signed = False,
    output: Output = "table",
) -> None:
    """Run the command."""
    with failures():
        if strategy != "palm":
            vectors = _baseline(strategy, objectives, size=size, seed=seed, weights=weights)
            _print(vectors, levels=[], bounds={}, output=output)
            return
        for option, value in (("--mu", mu), ("--alpha", alpha)):
            if not value:
                raise InvalidInput(f"{option} is missing; strategy palm needs it")
        exact_mu, exact_alpha = rational(mu, "--mu"), rational(alpha, "--alpha")
        even = _SPACINGS[spacing]
        vectors = construct_grid(exact_mu, exact_alpha, dimension=objectives, spacing=even)
        regularizer = tolerance(max_regularizer, "--max-regularizer")
        setting = Setting(
            mu=exact_mu,
            alpha=exact_alpha,
            dimension=objectives,
            pruning_mu=tolerance(prune_mu or mu, "--prune-mu", most=1.0),
            pruning_alpha=tolerance(prune_alpha, "--prune-alpha"),
            total_reward=tolerance(max_total or str(objectives), "--max-total"),
            largest_regularizer=regularizer,
            rewards_nonnegative=not signed_rewards,
            regularizer_nonnegative=True,
            utilities_nonnegative=not signed_rewards and regularizer == 0,
            spacing=even,
        )
        levels = sorted({0.0, *grid_levels(exact_mu, exact_alpha, spacing=even).tolist()})
        _print(vectors, levels=levels, bounds=bounds_of(setting), output=output)


def bounds_of(setting: Setting) -> dict[str, Any]:
    """Return what is promised of a grid before anything is trained, for JSON."""
    bound = size_bound(setting.mu, setting.alpha, setting.dimension)
    promised = [
        {
            "name": statement.name,
            "epsilon": statement.epsilon,
            "delta": statement.delta,
            "vacuous": statement.vacuous,
            "assumptions": list(statement.assumptions),
        }
        for statement in statements(setting)
    ]
    return {"size": asdict(bound), "statements": promised}


def print_bounds(bounds: dict[str, Any]) -> None:
    """Print the same for people."""
    statements = bounds["statements"]
    rows = [
        [
            statement["name"],
            number(statement["epsilon"]) + (" (vacuous)" if statement["vacuous"] else ""),
            number(statement["delta"]),
            "; ".join(statement["assumptions"]),
        ]
        for statement in statements
    ]
    if rows:
        print_table(["PROMISED BEFOREHAND", "ε", "δ", "IF"], rows, total=len(rows))
    size = bounds["size"]
    bound = f"{size['oracle_calls']} policies, whatever the rewards (bound: {size['safe']:.4g})"
    print_facts([("at most", bound)])


def _baseline(
    strategy: Strategy, objectives: int, *, size: int, seed: int, weights: str
) -> NDArray[np.float64]:
    if strategy == "explicit":
        if not weights:
            raise InvalidInput("--weights is missing; strategy explicit needs it")
        rows = read_weights(weights, dimension=objectives).tolist()
        exact = [[Fraction(repr(entry)) for entry in row] for row in rows]  # as they are written
        return explicit_weights(exact, dimension=objectives)
    if size < 1:
        raise InvalidInput(f"--size is {size}; strategy {strategy} needs at least 1")
    if strategy == "uniform":
        return uniform_weights(size, dimension=objectives, seed=seed)
    return random_weights(size, dimension=objectives, seed=seed)


def _print(
    vectors: NDArray[np.float64], *, levels: list[float], bounds: dict[str, Any], output: Output
) -> None:
    if output == "json":
        print_json(
            {
                "oracle_calls": len(vectors),
                "weights": vectors.tolist(),
                "levels": levels,
                "bounds": bounds,
            }
        )
        return
    rows = ([str(i), vector(row)] for i, row in enumerate(vectors.tolist()))
    print_table(["", "WEIGHT VECTOR"], rows, total=len(vectors))
    facts = [("oracle calls", str(len(vectors)))]
    if levels:
        shown = [f"{level:.4g}" for level in levels]
        facts.append(("levels", ", ".join(shown[:12]) + (" …" * (len(shown) > 12))))
    print_facts(facts)
    if bounds:
        print_bounds(bounds)
