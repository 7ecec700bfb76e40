"""``palm search``: a search on a front that is known, to see what it would train."""

from contextlib import suppress
from typing import Annotated, Any, Literal

import numpy as np
import typer
from numpy.typing import NDArray

from palm.errors import NoCertificate
from palm_cli.command_certify import MOST_OBJECTIVES
from palm_cli.failures import NOT_GRANTED, InvalidInput, failures
from palm_cli.front_file import read_front
from palm_cli.options import Output, rational, tolerance
from palm_cli.output import number, print_facts, print_json, print_table, vector

NAME = "search"
HELP = """Run a search on a front file: which weight vectors are trained, and what is kept of them.

A front file is JSON, {"front": [[0.9, 0.1], [0.5, 0.6], …]}: the training of w ends in the row that
maximizes w·u, the first of equals. The search sees nothing but the rows it has trained. `adaptive`
trains as few weight vectors of the grid as certify a cover of all of them, `propose` somewhat more
for a smaller portfolio, `grid` all, as in the paper. `epsilon` and `delta` are the portfolio's
certificate over the whole simplex, from what was trained. Exits with 3 where some weight vector
stays uncertified, because of --max-oracle-calls.

Where no reward of the file is negative, the search knows that much of it: no policy is worth less
than 0 at any objective. That spares the extreme weight vectors. `adaptive` may also train weight
vectors that are not in the grid where they certify more of it; never more than the grid has. The
operator assumes nothing and stays on the grid: --assume nothing shows what it would do.

The JSON is a policies file: palm plot, prune, certify and route read it.

```
palm search front.json --objectives 2 --mu 1/2 --alpha 1/10 --prune-mu 0.05
palm search front.json -d 2 --mu 1/2 --alpha 1/10 --prune-mu 0.05 --assume nothing
palm search front.json --mode propose -d 2 --mu 1/2 --alpha 1/10 --prune-mu 0.05 --batch 4 -o json
palm search front.json -d 2 --mu 1/2 --alpha 1/10 --prune-mu 1/50 -o json | palm plot - -o run.svg
```
"""

Mode = Literal["adaptive", "propose", "grid"]
Assumption = Literal["nonnegative", "nothing"]

_MOST_WEIGHT_VECTORS = 10_000

Front = Annotated[str, typer.Argument(metavar="FRONT", help="Front file (JSON), - for stdin.")]
ModeOption = Annotated[Mode, typer.Option("--mode", case_sensitive=False, help="How to search.")]
Objectives = Annotated[
    int, typer.Option("--objectives", "-d", min=2, max=MOST_OBJECTIVES, help="How many rewards.")
]
Mu = Annotated[str, typer.Option(help="μ of the grid, in (0, 1].")]
Alpha = Annotated[str, typer.Option(help="α of the grid, in (0, 1].")]
PruneMu = Annotated[str, typer.Option(help="Multiplicative tolerance μ' of the cover, below 1.")]
PruneAlpha = Annotated[str, typer.Option(help="Additive tolerance α' of the cover.")]
Batch = Annotated[int, typer.Option(min=1, max=10_000, help="Oracle calls at once.")]
Assume = Annotated[
    Assumption | None,
    typer.Option(help="Of the front; nonnegative where its file has no negative reward."),
]
Limit = Annotated[int, typer.Option("--max-oracle-calls", min=1, help="Most oracle calls.")]


def run(
    front: Front,
    objectives: Objectives,
    mu: Mu,
    alpha: Alpha,
    prune_mu: PruneMu,
    prune_alpha: PruneAlpha = "0",
    mode: ModeOption = "adaptive",
    batch: Batch = 1,
    max_oracle_calls: Limit = _MOST_WEIGHT_VECTORS,
    assume: Assume = None,
    output: Output = "table",
) -> None:
    """Run the command."""
    with failures():
        tolerances = {
            "mu": tolerance(prune_mu, "--prune-mu", most=1.0),
            "alpha": tolerance(prune_alpha, "--prune-alpha"),
        }
        grid = _grid(objectives, mu, alpha)
        rows = read_front(front, dimension=objectives)
        answer, uncovered = _search(
            rows,
            grid,
            floor=_floor(rows, assume),
            mode=mode,
            tolerances=tolerances,
            batch=batch,
            limit=max_oracle_calls,
        )
        if output == "json":
            print_json(answer)
        else:
            _print(answer, planned=len(grid), uncovered=uncovered)
    if uncovered:
        raise typer.Exit(NOT_GRANTED)


def _grid(objectives: int, mu: str, alpha: str) -> NDArray[np.float64]:
    from palm.grid import construct_grid

    return construct_grid(
        rational(mu, "--mu"),
        rational(alpha, "--alpha"),
        dimension=objectives,
        limit=_MOST_WEIGHT_VECTORS,
    )


def _floor(front: NDArray[np.float64], assume: Assumption | None) -> float | None:
    """Return the floor of utilities that the search may assume."""
    lowest = float(front.min())
    if assume == "nonnegative" and lowest < 0:
        row, column = np.unravel_index(int(front.argmin()), front.shape)
        raise InvalidInput(
            f"--assume is nonnegative, and reward {column} of row {row} of the front is {lowest}"
        )
    return None if assume == "nothing" or lowest < 0 else 0.0


def _search(
    front: NDArray[np.float64],
    grid: NDArray[np.float64],
    *,
    floor: float | None,
    mode: Mode,
    tolerances: dict[str, float],
    batch: int,
    limit: int,
) -> tuple[dict[str, Any], int]:
    """Return the answer for programs, and how many weight vectors stay uncertified."""
    # SciPy takes a second to import.
    from palm.certificate import certify
    from palm.experiments import certified_cover
    from palm.oracles import FiniteFront
    from palm.search import SearchMode, Target, run_search
    from palm.search.known import is_among

    modes: dict[str, SearchMode] = {"adaptive": "Adaptive", "propose": "Propose", "grid": "Grid"}
    target = Target(**tolerances, floor=floor)
    found = run_search(
        FiniteFront(front),
        grid=grid,
        dimension=grid.shape[1],
        mode=modes[mode],
        target=target,
        batch=batch,
        limit=limit,
        off_grid=floor is not None,
    )
    names = _names(found.weights, grid)
    certified = grid[~is_among(grid, found.uncovered)]
    kept: tuple[int, ...] = ()
    if len(certified):
        kept = certified_cover(
            grid=certified, weights=found.weights, utilities=found.utilities, target=target
        )
    epsilon, delta = None, None
    if kept:
        with suppress(NoCertificate):  # the limit left an extreme policy untrained
            found_certificate = certify(
                weights=found.weights, utilities=found.utilities, portfolio=kept, floor=floor
            )
            epsilon, delta = found_certificate.epsilon, found_certificate.delta
    answer = {
        "oracle_calls": found.oracle_calls,
        "rounds": found.rounds,
        "policies": [
            {"name": name, "weights": weights, "rewards": rewards}
            for name, weights, rewards in zip(
                names, found.weights.tolist(), found.utilities.tolist(), strict=True
            )
        ],
        "portfolio": [names[index] for index in kept],
        "epsilon": epsilon,
        "delta": delta,
        "assumes": "nothing" if floor is None else "nonnegative",
        "objectives": [f"objective {i + 1}" for i in range(grid.shape[1])],
    }
    return answer, len(found.uncovered)


def _names(weights: NDArray[np.float64], grid: NDArray[np.float64]) -> list[str]:
    """Return w and the position in the grid of each weight vector; x and a count outside it."""
    digits = max(len(str(len(grid) - 1)), 2)
    names: list[str] = []
    outside = 0
    for row in weights:
        distance = np.abs(grid - row).max(axis=1)
        index = int(distance.argmin())
        if distance[index] > 1e-9:
            names.append(f"x{outside:0{digits}d}")
            outside += 1
        else:
            names.append(f"w{index:0{digits}d}")
    return names


def _print(answer: dict[str, Any], *, planned: int, uncovered: int) -> None:
    kept = set(answer["portfolio"])
    rows = [
        [p["name"], vector(p["weights"]), vector(p["rewards"]), "kept" * (p["name"] in kept)]
        for p in answer["policies"]
    ]
    print_table(["TRAINED", "WEIGHT VECTOR", "REWARDS", "PORTFOLIO"], rows, total=len(rows))
    calls = answer["oracle_calls"]
    print_facts(
        [
            ("oracle calls", f"{calls} of {planned} ({100 * calls / planned:.0f} %)"),
            ("rounds", str(answer["rounds"])),
            ("policies", str(len(kept))),
            ("covered", f"{planned - uncovered} of {planned} weight vectors, certified"),
            ("ε over the simplex", number(answer["epsilon"])),
            ("δ over the simplex", number(answer["delta"])),
        ]
    )
