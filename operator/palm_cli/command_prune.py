"""``palm prune``: keep few policies that still cover every weight vector."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer

from palm.errors import NoCertificate, NoCover
from palm_cli.failures import NOT_GRANTED, failures, warn
from palm_cli.inputs import shown
from palm_cli.options import NormalizeOption, Output, PoliciesFile, names, tolerance
from palm_cli.output import number, print_facts, print_json, print_table, vector
from palm_cli.policies_file import Policies, read_policies

if TYPE_CHECKING:
    from palm.missing import Missing
    from palm.pruning import Solver

NAME = "prune"
HELP = """Print a smallest set of policies that covers every weight vector of the file.

A policy covers w when it is worth at least opt_w - μ·|opt_w| - α, with opt_w the best value of any
policy at w. Weight vectors of failed policies are to be covered too. Exits with 3 where some
weight vector is covered by no policy; the portfolio then covers the others. With
`--max-policies K`, a cover of more than K policies gives way to the K that need the smallest μ to
cover everything, and the exit code is 3 too.

```
palm prune policies.json --mu 0.05
palm prune policies.json --mu 1/20 --solver greedy -o json
palm prune policies.json --mu 0.05 --deployed w00,w03
palm prune policies.json --mu 0.05 --missing certified
palm prune policies.json --mu 0.05 --max-policies 4
```
"""

Mu = Annotated[str, typer.Option(help="Multiplicative tolerance μ', from 0 to 1.")]
Alpha = Annotated[str, typer.Option(help="Additive tolerance α', at least 0.")]
SolverOption = Annotated[
    Literal["exact", "greedy"],
    typer.Option("--solver", help="exact: a smallest cover. greedy: the paper's algorithm."),
]
MissingOption = Annotated[
    Literal["best-known", "certified"],
    typer.Option(
        "--missing",
        help="Optimum assumed where a policy failed: the best of the others, or the most it can be "
        "given the others.",
    ),
]
Deployed = Annotated[
    str, typer.Option(help="Policies to keep where it costs nothing, comma-separated.")
]

MaxPolicies = Annotated[
    int, typer.Option(min=1, help="Most policies to keep: the best so many where a cover has more.")
]

_SOLVERS: dict[str, "Solver"] = {"exact": "Exact", "greedy": "Greedy"}
_MISSING: dict[str, "Missing"] = {"best-known": "BestKnown", "certified": "Certified"}


def run(
    file: PoliciesFile,
    mu: Mu,
    alpha: Alpha = "0",
    solver: SolverOption = "exact",
    missing: MissingOption = "best-known",
    deployed: Deployed = "",
    max_policies: MaxPolicies | None = None,
    normalize: NormalizeOption = "none",
    output: Output = "table",
) -> None:
    """Run the command."""
    with failures():
        policies = read_policies(file, normalize=normalize)
        kept = policies.trained(_not_failed(policies, names(deployed)), option="--deployed")
        found = prune_policies(
            policies,
            mu=tolerance(mu, "--mu", most=1.0),
            alpha=tolerance(alpha, "--alpha"),
            solver=_SOLVERS[solver],
            missing=_MISSING[missing],
            preferred=kept,
            most=max_policies,
        )
        _print(policies, found, output)
    if found.uncovered or found.limit:
        raise typer.Exit(NOT_GRANTED)


def _not_failed(policies: Policies, deployed: tuple[str, ...]) -> list[str]:
    """Return the deployed policies that have rewards, and warn of the others."""
    failed = set(policies.names) - set(policies.trained_names)
    for name in failed.intersection(deployed):
        warn(f"--deployed: {shown(name)} failed; it cannot be kept")
    return [name for name in deployed if name not in failed]


@dataclass(frozen=True)
class Limited:
    """Why the policies kept are no cover within the tolerances: there may not be so many.

    Attributes:
        most: How many there may be.
        cover: How many the smallest cover has.
        measure: Whether the tolerance is a μ (Relative) or an α (Absolute).
        tolerance: The smallest at which those that are kept cover everything.
    """

    most: int
    cover: int
    measure: str
    tolerance: float


@dataclass(frozen=True)
class Pruned:
    """A cover of what can be covered.

    Attributes:
        kept: Positions among the policies with rewards, ascending.
        opt: opt_w of every weight vector; None where nothing bounds it.
        uncovered: Positions of the weight vectors that no policy covers, ascending.
        proven: Whether no smaller cover exists; with a limit, whether no set of so few needs less.
        solver: What found it.
        epsilon: Largest relative shortfall over the covered weight vectors; None where it means
            nothing.
        delta: Largest absolute one.
        limit: What they are instead of a cover; None: they are one.
    """

    kept: tuple[int, ...]
    opt: list[float | None]
    uncovered: list[int]
    proven: bool
    solver: "Solver"
    epsilon: float | None
    delta: float | None
    limit: Limited | None = None


def prune_policies(
    policies: Policies,
    *,
    mu: float,
    alpha: float,
    solver: "Solver",
    missing: "Missing" = "BestKnown",
    preferred: tuple[int, ...] = (),
    most: int | None = None,
) -> Pruned:
    """Return a cover of what can be covered by the policies of a file; see `palm.pruning.prune`.

    With ``most``, a larger one gives way to the best set of so many: `palm.best_portfolio`.
    """
    from palm.best_portfolio import best_portfolio
    from palm.pruning import prune  # SciPy takes a second to import

    optimum = _assumed_optimum(policies, missing)
    bounded = [row for row, value in enumerate(optimum) if value is not None]
    unbounded = sorted(set(range(len(optimum))) - set(bounded))
    if not bounded:
        return Pruned((), optimum, unbounded, False, solver, None, None)
    weights, needed = policies.weights[bounded], np.array([optimum[row] for row in bounded])
    try:
        found = prune(
            weights=weights,
            utilities=policies.utilities,
            mu=mu,
            alpha=alpha,
            solver=solver,
            preferred=preferred,
            optimum=needed,
        )
    except NoCover:
        everything = list(range(len(optimum)))
        return Pruned((), optimum, everything, False, solver, None, None)
    if most is not None and len(found.indices) > most:
        best = best_portfolio(
            weights=weights,
            utilities=policies.utilities,
            most=most,
            mu=mu,
            alpha=alpha,
            preferred=preferred,
            optimum=needed,
        )
        limit = Limited(most, len(found.indices), best.measure, best.tolerance)
        kept, proven = best.indices, best.proven
        return Pruned(kept, optimum, unbounded, proven, "Exact", best.epsilon, best.delta, limit)
    uncovered = [bounded[row] for row in found.uncovered]
    return Pruned(
        kept=found.indices,
        opt=optimum,
        uncovered=sorted([*uncovered, *unbounded]),
        proven=found.proven,
        solver=found.solver,
        epsilon=found.epsilon,
        delta=found.delta,
    )


def _assumed_optimum(policies: Policies, missing: "Missing") -> list[float | None]:
    """Return opt_w of every weight vector; None where an extreme policy is missing that bounds it.

    `palm.missing` refuses as a whole where a single weight vector is unbounded; here the others
    are still answered, so failed weight vectors are then asked for one by one.
    """
    from palm.missing import assumed_optimum

    rows = list(policies.rows)
    count = len(policies.weights)
    if not rows:
        return [None] * count

    def assumed(asked: list[int], mode: "Missing") -> list[float]:
        values: list[float] = assumed_optimum(
            weights=policies.weights[asked],
            utilities=policies.utilities,
            trained_at=[asked.index(row) for row in rows],
            missing=mode,
        ).tolist()
        return values

    everything = list(range(count))
    try:
        return list(assumed(everything, missing))
    except NoCertificate:
        answers: list[float | None] = list(assumed(everything, "BestKnown"))
    for row in sorted(set(everything) - set(rows)):
        try:
            answers[row] = assumed([*rows, row], missing)[-1]
        except NoCertificate:
            answers[row] = None
    return answers


def _print(policies: Policies, found: Pruned, output: Output) -> None:
    labels = [policies.trained_names[index] for index in found.kept]
    missed = [policies.names[row] for row in found.uncovered]
    if output == "json":
        print_json(
            {
                "portfolio": labels,
                "size": len(labels),
                "proven": found.proven,
                "solver": found.solver.lower(),
                "uncovered": missed,
                "opt": found.opt,
                **_limit_entries(found),
            }
        )
        return
    rows = (
        [
            policies.trained_names[index],
            vector(policies.weights[policies.rows[index]]),
            vector(policies.utilities[index]),
        ]
        for index in found.kept
    )
    print_table(["POLICY", "WEIGHT VECTOR", "UTILITIES"], rows, total=len(labels))
    covered = len(policies.weights) - len(missed)
    kind = "best" if found.limit else "smallest"
    smallest = f"{'' if found.proven else 'not '}proven {kind}"
    facts = [
        ("policies", f"{len(labels)} of {len(policies.rows)} ({found.solver}, {smallest})"),
        ("covered", f"{covered} of {len(policies.weights)} weight vectors{_within(found)}"),
        ("ε over the covered", number(found.epsilon)),
        ("δ over the covered", number(found.delta)),
    ]
    if missed:
        facts.append(("covered by none", ", ".join(missed[:10]) + " …" * (len(missed) > 10)))
    print_facts(facts)


def _limit_entries(found: Pruned) -> dict[str, object]:
    limit = found.limit
    if limit is None:
        return {}
    return {
        "max_policies": limit.most,
        "smallest_cover": limit.cover,
        "needs": {"mu" if limit.measure == "Relative" else "alpha": limit.tolerance},
    }


def _within(found: Pruned) -> str:
    """Return the tolerance at which they are covered, where it is not the one asked for."""
    limit = found.limit
    if limit is None:
        return ""
    letter = "μ" if limit.measure == "Relative" else "α"
    return f", with {letter} {limit.tolerance:.4g}; as asked it takes {limit.cover} policies"
