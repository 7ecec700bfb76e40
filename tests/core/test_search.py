"""Laws of the search: what it certifies is true, and it never spends more than the grid."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palm.certificate import exact_shortfall
from palm.grid import construct_grid
from palm.oracles import FiniteFront, Noisy
from palm.random_oracles import RANDOM_ORACLES
from palm.search import Known, SearchMode, Target, next_batch, next_weights, run_search

GOLDEN = json.loads((Path(__file__).parent / "golden/adaptive.json").read_text())["cases"]
GRIDS = {
    2: construct_grid(Fraction(16, 30), Fraction(1, 20), dimension=2),
    3: construct_grid(Fraction(19, 30), Fraction(2, 5), dimension=3),
    4: construct_grid(Fraction(1), Fraction(1, 2), dimension=4),
}
MODES: tuple[SearchMode, ...] = ("Adaptive", "Propose")


def covered(grid: np.ndarray, oracle: FiniteFront, utilities: np.ndarray, target: Target) -> bool:
    """Whether the best trained policy is truly as good as promised at every weight vector."""
    optimum = oracle.optimum(grid)
    worth = (grid @ utilities.T).max(axis=1)
    return bool((worth >= optimum - target.mu * np.abs(optimum) - target.alpha - 1e-9).all())


@st.composite
def finite_fronts(draw: st.DrawFn, *, lowest: float = -0.5) -> FiniteFront:
    """Any policies: duplicates, dominated ones, negative utilities."""
    d, n = draw(st.sampled_from([2, 3, 4])), draw(st.integers(1, 12))
    numbers = st.floats(lowest, 1.0).map(lambda x: round(x, 2))
    return FiniteFront([[draw(numbers) for _ in range(d)] for _ in range(n)])


@settings(max_examples=40)
@given(
    finite_fronts(),
    st.sampled_from(MODES),
    st.sampled_from([0.0, 0.02, 0.1]),
    st.sampled_from([1, 3]),
    st.sampled_from([None, 0.0]),
    st.booleans(),
)
def test_the_promise_holds_at_every_weight_vector_for_no_more_calls_than_the_grid(
    front: FiniteFront,
    mode: SearchMode,
    mu: float,
    batch: int,
    floor: float | None,
    off_grid: bool,
) -> None:
    if floor is not None and (front.utilities < floor).any():
        floor = None  # only what is true may be assumed
    target, grid = Target(mu=mu, alpha=0.0, floor=floor), GRIDS[front.dimension]
    run = run_search(
        front,
        grid=grid,
        dimension=front.dimension,
        mode=mode,
        target=target,
        batch=batch,
        off_grid=off_grid,
    )
    assert not len(run.uncovered)
    assert covered(grid, front, run.utilities, target)
    assert run.oracle_calls <= len(grid)
    assert len(np.unique(run.weights.round(9), axis=0)) == run.oracle_calls


@given(finite_fronts(lowest=-1.0))
def test_a_floor_that_results_refute_is_given_up(front: FiniteFront) -> None:
    target, grid = Target(mu=0.05, alpha=0.0, floor=0.0), GRIDS[front.dimension]
    run = run_search(front, grid=grid, dimension=front.dimension, mode="Adaptive", target=target)
    if (run.utilities < 0.0).any():
        assert covered(grid, front, run.utilities, target)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda c: f"d{c['d']}-{c['eps']}-{c['batch']}")
def test_golden_searches_over_the_whole_simplex(case: dict) -> None:
    oracle = FiniteFront(case["front"])
    target = Target(mu=case["eps"], alpha=case["delta"])

    run = run_search(
        oracle,
        grid=None,
        dimension=case["d"],
        mode="Adaptive",
        target=target,
        batch=case["batch"],
    )

    assert run.oracle_calls <= 1.25 * case["reference_calls"] + 1
    true = exact_shortfall(run.utilities, oracle.optimum)
    assert true.epsilon is not None
    assert true.epsilon <= case["eps"] + 1e-9


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["bandit-0.1", "ellipsoid", "regimes"])
def test_fewer_calls_than_the_grid_certify_the_same(name: str, mode: SearchMode) -> None:
    oracle, grid = RANDOM_ORACLES[name](3, 1), GRIDS[3]
    run = run_search(
        oracle, grid=grid, dimension=3, mode=mode, target=Target(mu=0.05, alpha=0.0), batch=4
    )
    assert run.gap <= 0
    assert run.oracle_calls <= 0.7 * len(grid)


def test_with_tolerance_for_noise_the_promise_is_true_of_the_truth() -> None:
    grid = GRIDS[2]
    for seed in range(10):
        truth = RANDOM_ORACLES["bandit-0.1"](2, seed)
        noisy = Noisy(truth, eta=0.004, tau=0.005, seed=seed)
        target = Target(mu=0.08, alpha=0.0, eta=0.004, tau=0.005)
        run = run_search(noisy, grid=grid, dimension=2, mode="Adaptive", target=target, batch=2)
        assert run.gap <= 0
        trained = np.array([noisy.trained(w) for w in run.weights])
        optimum = truth.optimum(grid)
        assert ((grid @ trained.T).max(axis=1) >= (1 - target.mu) * optimum).all()


@given(finite_fronts(), st.sampled_from(["Grid", *MODES]), st.randoms(use_true_random=False))
def test_steps_never_repeat_a_call_and_failures_stay_in_sight(
    front: FiniteFront, mode: SearchMode, random: st.DataObject
) -> None:
    """A walk of any outcomes: done, failed or still running, in any order."""
    grid = GRIDS[front.dimension]
    done: dict[int, list[float]] = {}
    running: set[int] = set()
    failed: set[int] = set()
    target = Target(mu=0.05, alpha=0.0)
    for _ in range(3 * len(grid)):
        step = next_batch(
            weights=grid,
            utilities=done,
            in_flight=running,
            failed=failed,
            mode=mode,
            target=target,
            size=4,
        )
        again = next_batch(
            weights=grid,
            utilities=dict(reversed(done.items())),
            in_flight=running,
            failed=failed,
            mode=mode,
            target=target,
            size=4,
        )
        assert step == again
        assert not {*step.batch} & {*done, *running, *failed}
        assert len({*step.batch}) == len(step.batch) <= 4
        if step.is_complete:
            break
        running |= {*step.batch}
        assert running, "nothing runs, nothing is proposed, and it is not complete"
        index = random.choice(sorted(running))
        running.remove(index)
        if random.random() < 0.2:
            failed.add(index)
        else:
            done[index] = front(grid[index]).tolist()
    assert step.is_complete
    optimum = front.optimum(grid)
    least = target.required(optimum) - 1e-9
    worth = (grid @ front.utilities[:0].T).max(axis=1, initial=-np.inf)
    if done:
        worth = (grid @ np.array(list(done.values())).T).max(axis=1)
    short = {*np.flatnonzero(worth < least).tolist()}
    assert short <= {*step.uncovered}


def test_grid_mode_trains_everything_extreme_weight_vectors_first() -> None:
    grid = GRIDS[3]
    step = next_batch(
        weights=grid, utilities={}, mode="Grid", target=Target(mu=0.05, alpha=0.0), size=5
    )
    assert [max(grid[i]) for i in step.batch[:3]] == [1.0, 1.0, 1.0]
    everything = {i: [0.5, 0.5, 0.5] for i in range(len(grid))}
    last = next_batch(
        weights=grid, utilities=everything, mode="Grid", target=Target(mu=0.05, alpha=0.0), size=5
    )
    assert last.is_complete
    assert last.uncovered == ()


def test_what_does_not_fit_is_refused_with_its_value() -> None:
    nothing = np.empty((0, 2))
    known = Known(weights=nothing, utilities=nothing, in_flight=nothing, failed=nothing)
    target = Target(mu=0.05, alpha=0.0)
    with pytest.raises(ValueError, match="size is 0"):
        next_weights(known, grid=GRIDS[2], mode="Adaptive", target=target, size=0)
    with pytest.raises(ValueError, match="needs a grid"):
        next_weights(known, grid=None, mode="Propose", target=target, size=1)
    with pytest.raises(ValueError, match="names weight vector 99"):
        next_batch(
            weights=GRIDS[2], utilities={}, failed=[99], mode="Adaptive", target=target, size=1
        )
    with pytest.raises(ValueError, match=r"mu is 1\.0"):
        Target(mu=1.0, alpha=0.0)
