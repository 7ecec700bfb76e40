"""Which weight vectors a Portfolio has, and when its grid is refused."""

import pytest

from builders import make_portfolio
from palm_operator.calls.grids import GridRefused, grid_count, weight_vectors


def grid_of(grid, *, mode="Adaptive", limit=100):
    body = make_portfolio(search={"mode": mode, "maxOracleCalls": limit}).spec
    spec = body.model_copy(update={"grid": type(body.grid).model_validate(grid)})
    assert grid_count(spec) >= 2
    return weight_vectors(spec)


def test_spacing_changes_the_weight_vectors_and_not_their_number():
    paper = grid_of({"mu": "0.5", "alpha": "0.3"})
    even = grid_of({"mu": "0.5", "alpha": "0.3", "spacing": "Even"})
    assert len(paper) == len(even)
    assert paper != even
    assert paper == grid_of({"mu": "0.5", "alpha": "0.3", "spacing": "Descending"})


@pytest.mark.parametrize(
    "grid",
    [
        {"strategy": "Uniform", "size": 7, "seed": 3},
        {"strategy": "Random", "size": 7, "seed": 3},
        {"strategy": "Explicit", "weights": [["0.3", "0.7"], ["1/3", "2/3"]]},
    ],
)
def test_every_strategy_is_ordered_repeatable_and_has_the_unit_vectors(grid):
    found = grid_of(grid)
    assert found == tuple(sorted(found)) == grid_of(grid)
    assert {(0.0, 1.0), (1.0, 0.0)} <= set(found)
    assert all(abs(sum(row) - 1) < 1e-12 for row in found)


def test_a_seed_decides_a_random_grid():
    first, second = (grid_of({"strategy": "Random", "size": 5, "seed": seed}) for seed in (1, 2))
    assert first != second


def test_weight_vectors_that_would_have_one_policy_are_one():
    thirds = ["0.333333333333", "0.666666666667"]  # as a policy's digest rounds 1/3, 2/3
    found = grid_of({"strategy": "Explicit", "weights": [["1/3", "2/3"], thirds]})
    assert len(found) == 3


def test_an_explicit_weight_vector_given_twice_is_refused_with_its_place():
    with pytest.raises(GridRefused, match="0 and 1") as refused:
        grid_of({"strategy": "Explicit", "weights": [["1/2", "1/2"], ["0.5", "0.5"]]})
    assert refused.value.reason == "GridInvalid"


@pytest.mark.parametrize("mode", ["Adaptive", "Propose"])
def test_the_limit_of_oracle_calls_bounds_a_grid_only_where_all_of_it_is_trained(mode):
    grid = {"mu": "0.05", "alpha": "0.01"}
    assert len(grid_of(grid, mode=mode, limit=2)) == 193
    with pytest.raises(GridRefused, match="has 193 weight vectors") as refused:
        grid_of(grid, mode="Grid", limit=192)
    assert refused.value.reason == "GridTooLarge"
    assert "Adaptive" in str(refused.value)


def test_a_grid_beyond_reason_is_refused_with_its_count_and_not_built():
    with pytest.raises(GridRefused, match="20000000") as refused:
        grid_of({"mu": "0.000000001", "alpha": "0.367879441171"}, limit=10_000)
    assert refused.value.reason == "GridTooLarge"
