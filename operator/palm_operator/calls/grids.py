"""The weight vectors of a Portfolio: its grid, and how large it may be. Pure."""

from functools import lru_cache

from palm.errors import InvalidPortfolio
from palm.grid import construct_grid, grid_size
from palm.rational import parse_decimal
from palm.strategies import (
    explicit_weights,
    random_weights,
    uniform_weights,
    with_extremes,
)
from palm_operator.api.grid import MOST_WEIGHT_VECTORS, Grid
from palm_operator.api.portfolio import PortfolioSpec

WeightVectors = tuple[tuple[float, ...], ...]

# Digests of policies round to 12 decimals: closer than this, two weight vectors have one policy.
_SAME_DECIMALS = 9


class GridRefused(InvalidPortfolio):
    """The grid cannot be built, or is larger than is allowed.

    Attributes:
        reason: For the condition that says so.
    """

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


def weight_vectors(spec: PortfolioSpec) -> WeightVectors:
    """Return the grid in ascending lexicographic order, every unit vector in it.

    Raises:
        GridRefused: It cannot be built, or is larger than what ``search`` allows.
    """
    _check_size(spec, grid_count(spec))
    return _built(spec.grid.model_dump_json(), len(spec.rewards))


def grid_count(spec: PortfolioSpec) -> int:
    """Return the number of weight vectors; a geometric grid is not built for it.

    Raises:
        GridRefused: The grid cannot be built.
    """
    grid, dimension = spec.grid, len(spec.rewards)
    if grid.strategy != "PALM":
        return len(_built(grid.model_dump_json(), dimension))
    try:
        return grid_size(parse_decimal(grid.mu or ""), parse_decimal(grid.alpha or ""), dimension)
    except ValueError as error:
        raise GridRefused("GridInvalid", f"spec.grid: {error}") from None


def unit_vectors(dimension: int) -> WeightVectors:
    """Return e_1…e_d."""
    return tuple(tuple(float(i == j) for j in range(dimension)) for i in range(dimension))


def _check_size(spec: PortfolioSpec, count: int) -> None:
    search = spec.search
    limit = search.max_oracle_calls if search.mode == "Grid" else MOST_WEIGHT_VECTORS
    if count <= limit:
        return
    has = f"{_described(spec.grid, len(spec.rewards))} has {count} weight vectors"
    if count > MOST_WEIGHT_VECTORS:
        raise GridRefused(
            "GridTooLarge",
            f"{has}; at most {MOST_WEIGHT_VECTORS} are handled: choose a coarser spec.grid",
        )
    raise GridRefused(
        "GridTooLarge",
        f"{has}, one oracle call each with spec.search.mode Grid; spec.search.maxOracleCalls is "
        f"{limit}: raise it, choose a coarser spec.grid, or set spec.search.mode to Adaptive, "
        "which stops at that many",
    )


def _described(grid: Grid, dimension: int) -> str:
    if grid.strategy == "PALM":
        return f"the grid of mu={grid.mu}, alpha={grid.alpha} over {dimension} rewards"
    return f"the grid of strategy {grid.strategy} over {dimension} rewards"


@lru_cache(maxsize=32)
def _built(grid_json: str, dimension: int) -> WeightVectors:
    grid = Grid.model_validate_json(grid_json)
    try:
        rows = _rows(grid, dimension)
    except ValueError as error:
        raise GridRefused("GridInvalid", f"spec.grid: {error}") from None
    return tuple(rows) if grid.strategy == "PALM" else _distinct(rows)


def _rows(grid: Grid, dimension: int) -> list[tuple[float, ...]]:
    size, seed = grid.size or 0, grid.seed or 0
    match grid.strategy:
        case "PALM":
            array = construct_grid(
                parse_decimal(grid.mu or ""),
                parse_decimal(grid.alpha or ""),
                dimension=dimension,
                spacing=grid.spacing or "Descending",
            )
        case "Uniform":
            array = with_extremes(uniform_weights(size, dimension=dimension, seed=seed))
        case "Random":
            array = with_extremes(random_weights(size, dimension=dimension, seed=seed))
        case "Explicit":
            vectors = [[parse_decimal(text) for text in row] for row in grid.weights or []]
            array = with_extremes(explicit_weights(vectors, dimension=dimension))
    return [tuple(row) for row in array.tolist()]


def _distinct(rows: list[tuple[float, ...]]) -> WeightVectors:
    """Return the rows, of those that have one policy the first."""
    by_place: dict[tuple[float, ...], tuple[float, ...]] = {}
    for row in rows:
        by_place.setdefault(tuple(round(x, _SAME_DECIMALS) for x in row), row)
    return tuple(by_place.values())
