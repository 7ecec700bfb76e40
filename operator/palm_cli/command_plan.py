"""``palm plan``: what a Portfolio will cost, before anything is created."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palm.errors import InvalidPortfolio
from palm.guarantees import Setting
from palm.rational import parse_decimal
from palm_cli.command_grid import bounds_of, print_bounds
from palm_cli.failures import InvalidInput, failures
from palm_cli.inputs import shown, shown_name
from palm_cli.options import Output, tolerance
from palm_cli.output import number, print_facts, print_json
from palm_cli.portfolio_file import PortfolioFile, read_portfolio
from palm_cli.progress import watched
from palm_operator.api.portfolio import PortfolioSpec
from palm_operator.calls.grids import weight_vectors

if TYPE_CHECKING:
    from palm.forecast import Simulated

NAME = "plan"
HOURS_ANNOTATION = "palm-operator.dev/gpu-hours-per-oracle-call"
HELP = f"""Say what a Portfolio will cost. Nothing is created, and no cluster is asked.

The file is held against the schema and the rules that the API server has; what it would refuse is
refused here, with field, value and rule. Expected oracle calls are those of the search on random
fronts of six kinds, so they are an estimate: yours may need more, up to the whole grid. GPU-hours
are stated where the Portfolio has the annotation {HOURS_ANNOTATION}, or by --gpu-hours-per-call.

```
palm plan -f portfolio.yaml
palm plan -f portfolio.yaml --gpu-hours-per-call 12 -o json
```
"""

_GPU = "nvidia.com/gpu"
_MOST_SIMULATED = 1_000

File = Annotated[str, typer.Option("--filename", "-f", help="Portfolio (YAML), - for stdin.")]
Hours = Annotated[str, typer.Option(help="GPU-hours of one oracle call; overrides the annotation.")]
Seeds = Annotated[int, typer.Option(min=0, max=100, help="Random fronts of each kind; 0: none.")]


@dataclass(frozen=True)
class Costs:
    """What one oracle call takes."""

    gpu_hours: float | None
    gpus: int


def run(
    filename: File,
    gpu_hours_per_call: Hours = "",
    seeds: Seeds = 1,
    output: Output = "table",
) -> None:
    """Run the command."""
    with failures():
        portfolio = read_portfolio(filename)
        costs = _costs(portfolio, gpu_hours_per_call)
        answer = plan_of(portfolio, costs, seeds=seeds)
        if output == "json":
            print_json(answer)
        else:
            _print(answer)


def plan_of(portfolio: PortfolioFile, costs: Costs, *, seeds: int) -> dict[str, Any]:
    """Return what a Portfolio will cost, for JSON.

    Args:
        portfolio: What is asked for.
        costs: Of one oracle call.
        seeds: Random fronts of each kind to simulate the search on; 0 for none.

    Raises:
        InvalidInput: The operator would refuse it.
    """
    spec = portfolio.spec
    try:
        grid = weight_vectors(spec)
    except InvalidPortfolio as error:
        raise InvalidInput(f"{shown_name(portfolio.source)}: {error}") from None
    calls = _oracle_calls(portfolio, grid, seeds=seeds)
    training = spec.training
    trainings = calls if spec.oracle.type == "FineTune" else _trainings(spec, calls["most"])
    hours = {
        key: None
        if costs.gpu_hours is None or trainings.get(key) is None
        else trainings[key] * costs.gpu_hours
        for key in ("planned", "expected", "most")
    }
    return {
        "name": portfolio.name,
        "objectives": [reward.name for reward in spec.rewards],
        "weight_vectors": len(grid),
        "search_mode": spec.search.mode,
        "oracle": spec.oracle.type,
        "oracle_calls": calls,
        **({"trainings": trainings} if trainings is not calls else {}),
        "parallelism": training.parallelism,
        "gpus_per_oracle_call": costs.gpus,
        "gpu_hours": hours,
        "bounds": _bounds(portfolio),
    }


def _oracle_calls(
    portfolio: PortfolioFile, grid: tuple[tuple[float, ...], ...], *, seeds: int
) -> dict[str, Any]:
    """Return the oracle calls of the grid, and of the search as far as that can be said."""
    spec = portfolio.spec
    calls: dict[str, Any] = {"grid": len(grid), "planned": len(grid)}
    if spec.search.mode == "Grid":
        return {**calls, "expected": len(grid), "most": len(grid), "basis": "all are trained"}
    most = min(len(grid), spec.search.max_oracle_calls)
    calls |= {"planned": most, "most": most}
    if not seeds or len(grid) > _MOST_SIMULATED:
        return {**calls, "expected": None, "basis": "not simulated"}
    runs = _simulated(portfolio, grid, seeds=seeds)
    counts = [run.oracle_calls for run in runs]
    return {
        **calls,
        "expected": sum(counts) / len(counts),
        "expected_from": min(counts),
        "expected_to": max(counts),
        "expected_rounds": sum(run.rounds for run in runs) / len(runs),
        "basis": f"the search on {len(counts)} random fronts of {len(grid[0])} objectives",
    }


def _trainings(spec: PortfolioSpec, calls: int) -> dict[str, int]:
    """Return how many policies are trained where others are mixed of them at decoding.

    One for each reward, and one for each survivor of pruning that is no such policy.

    Args:
        spec: What is asked for.
        calls: How many weight vectors are answered at most.
    """
    extremes, serving = len(spec.rewards), spec.serving
    survivors = calls if serving.mode == "None" else serving.max_policies
    most = extremes + min(survivors, calls - extremes)
    return {"least": extremes, "planned": most, "most": most}


def _simulated(
    portfolio: PortfolioFile, grid: tuple[tuple[float, ...], ...], *, seeds: int
) -> "list[Simulated]":
    # SciPy takes a second to import.
    import numpy as np

    from palm.forecast import simulate
    from palm.random_oracles import RANDOM_ORACLES
    from palm.search import Target

    spec = portfolio.spec
    runs = simulate(
        np.array(grid),
        mode=spec.search.mode,
        target=Target(
            mu=float(parse_decimal(spec.pruning.mu)), alpha=float(parse_decimal(spec.pruning.alpha))
        ),
        batch=spec.training.parallelism,
        limit=spec.search.max_oracle_calls,
        seeds=seeds,
    )
    return list(watched(runs, total=seeds * len(RANDOM_ORACLES), what="simulated searches"))


def _bounds(portfolio: PortfolioFile) -> dict[str, Any]:
    spec = portfolio.spec
    if spec.grid.strategy != "PALM" or spec.grid.mu is None or spec.grid.alpha is None:
        return {}
    setting = Setting(
        mu=parse_decimal(spec.grid.mu),
        alpha=parse_decimal(spec.grid.alpha),
        dimension=len(spec.rewards),
        spacing=spec.grid.spacing or "Descending",
        pruning_mu=float(parse_decimal(spec.pruning.mu)),
        pruning_alpha=float(parse_decimal(spec.pruning.alpha)),
        total_reward=float(len(spec.rewards)),
        largest_regularizer=0.0,
        # With a KL penalty nobody knows beforehand how large f will be: T1 needs no f.
        rewards_nonnegative=parse_decimal(spec.training.kl_coefficient) == 0,
        regularizer_nonnegative=True,
        utilities_nonnegative=True,
    )
    return bounds_of(setting)


def _costs(portfolio: PortfolioFile, option: str) -> Costs:
    stated = portfolio.annotations.get(HOURS_ANNOTATION)
    hours = None
    if option:
        hours = tolerance(option, "--gpu-hours-per-call")
    elif stated is not None:
        where = f"{shown_name(portfolio.source)}: metadata.annotations[{HOURS_ANNOTATION}]"
        if not isinstance(stated, str):
            raise InvalidInput(f"{where} is {shown(stated)}; annotations are text")
        hours = tolerance(stated, where)
    resources = portfolio.spec.training.template.resources
    limits = (resources.limits if resources else None) or {}
    nodes = portfolio.spec.training.nodes
    return Costs(gpu_hours=hours, gpus=int(str(limits.get(_GPU, 0))) * nodes)


def _print(plan: dict[str, Any]) -> None:
    calls, hours = plan["oracle_calls"], plan["gpu_hours"]
    facts = [
        ("Portfolio", f"{plan['name']}, {len(plan['objectives'])} objectives"),
        ("weight vectors", str(plan["weight_vectors"])),
        ("oracle calls", f"{calls['grid']} for the whole grid"),
    ]
    if plan["search_mode"] != "Grid":
        expected = "not estimated"
        if calls["expected"] is not None:
            span = f"{calls['expected_from']} to {calls['expected_to']}"
            expected = f"about {calls['expected']:.0f} expected ({span}: {calls['basis']})"
        facts += [
            (f"search {plan['search_mode']}", expected),
            ("", f"at most {calls['most']}; an estimate for fronts like these, not a promise"),
        ]
    if "trainings" in plan:
        least, most = (plan["trainings"][key] for key in ("least", "most"))
        facts.append(("trainings", f"{least} to {most}: oracle MOD only evaluates the other calls"))
    jobs = f"{plan['gpus_per_oracle_call']} GPU each, {plan['parallelism']} at once"
    facts.append(("training Jobs", jobs))
    if hours["most"] is None:
        facts.append(("GPU-hours", f"not stated; annotate {HOURS_ANNOTATION}"))
    else:
        likely = "" if hours["expected"] is None else f"about {number(hours['expected'])}, "
        facts.append(("GPU-hours", f"{likely}at most {number(hours['most'])}, training alone"))
    print_facts(facts)
    if plan["bounds"]:
        print_bounds(plan["bounds"])
    print("Nothing was created.")
