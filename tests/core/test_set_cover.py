"""Greedy and exact covers of boolean matrices."""

import itertools
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import palm.integer_cover
from palm.cover_matrix import CoverMatrix
from palm.errors import NoCover, PalmError
from palm.set_cover import EXACT_LIMIT, Cover, greedy_cover, minimum_cover, reverse_delete

GOLDEN = json.loads((Path(__file__).parent / "golden" / "cover_bool.json").read_text())["cases"]


@st.composite
def coverable(draw: st.DrawFn, most: int = 7) -> np.ndarray:
    """A cover matrix in which every weight vector is covered by some policy."""
    shape = draw(st.tuples(st.integers(1, most + 2), st.integers(1, most)))
    matrix = draw(arrays(bool, shape))
    for row in np.flatnonzero(~matrix.any(axis=1)):
        matrix[row, draw(st.integers(0, shape[1] - 1))] = True
    return matrix


# The columns are no intervals in any order of the rows: no sweep decides it.
NO_INTERVALS = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]], dtype=bool)


def is_cover(matrix: np.ndarray, indices: tuple[int, ...]) -> bool:
    return bool(matrix[:, list(indices)].any(axis=1).all())


def best_by_enumeration(matrix: np.ndarray, preferred: set[int]) -> tuple[int, ...]:
    """Smallest, then most preferred, then lexicographically smallest, by trying everything."""
    policies = range(matrix.shape[1])
    for size in range(1, matrix.shape[1] + 1):
        found = [c for c in itertools.combinations(policies, size) if is_cover(matrix, c)]
        if found:
            return min(found, key=lambda c: (-len(preferred & set(c)), c))
    raise AssertionError("no cover")


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"])
def test_golden_covers_are_reproduced(case: dict[str, Any]) -> None:
    policies = np.array([[bit == "1" for bit in row] for row in case["rows"]])
    cover = minimum_cover(policies.T)
    assert len(cover.indices) == case["optimal_size"]
    assert is_cover(policies.T, cover.indices)
    assert cover.proven
    assert cover.solver == "Exact"
    assert list(greedy_cover(policies.T)) == case["greedy"]


@given(coverable(), st.data())
def test_the_exact_cover_is_the_best_of_all_subsets_with_its_ties(
    matrix: np.ndarray, data: st.DataObject
) -> None:
    preferred = data.draw(st.sets(st.integers(0, matrix.shape[1] - 1)))
    cover = minimum_cover(matrix, preferred=preferred)
    assert cover == Cover(best_by_enumeration(matrix, preferred), proven=True, solver="Exact")


@given(coverable(most=12))
def test_every_cover_covers_every_row_and_exact_is_never_larger_than_greedy(
    matrix: np.ndarray,
) -> None:
    picked = greedy_cover(matrix)
    trimmed = reverse_delete(matrix, cover=picked)
    exact = minimum_cover(matrix).indices
    assert is_cover(matrix, picked)
    assert is_cover(matrix, trimmed)
    assert is_cover(matrix, exact)
    assert len(exact) <= len(trimmed) <= len(picked)


@given(coverable())
def test_after_reverse_delete_no_policy_is_redundant(matrix: np.ndarray) -> None:
    trimmed = reverse_delete(matrix, cover=tuple(range(matrix.shape[1])))
    for policy in trimmed:
        assert not is_cover(matrix, tuple(p for p in trimmed if p != policy))


@given(coverable(), st.randoms(use_true_random=False))
def test_the_exact_cover_does_not_depend_on_the_order_of_the_weight_vectors(
    matrix: np.ndarray, random: Any
) -> None:
    rows = list(range(len(matrix)))
    random.shuffle(rows)
    assert minimum_cover(matrix[rows]) == minimum_cover(matrix)


@given(coverable(), st.randoms(use_true_random=False))
def test_the_size_of_the_exact_cover_does_not_depend_on_the_order_of_the_policies(
    matrix: np.ndarray, random: Any
) -> None:
    columns = list(range(matrix.shape[1]))
    random.shuffle(columns)
    shuffled = minimum_cover(matrix[:, columns])
    assert len(shuffled.indices) == len(minimum_cover(matrix).indices)


def test_among_many_ties_the_lexicographically_smallest_set_wins() -> None:
    groups = 8
    matrix = np.kron(np.eye(groups, dtype=bool), np.ones((1, 5), dtype=bool))
    order = np.random.default_rng(3).permutation(5 * groups)
    shuffled = matrix[:, order]
    expected = sorted(int(np.flatnonzero(row)[0]) for row in shuffled)
    assert minimum_cover(shuffled).indices == tuple(expected)


def test_a_deployed_policy_wins_a_tie_but_never_costs_another_policy() -> None:
    matrix = np.array([[1, 0, 1, 0], [1, 0, 1, 1], [0, 1, 0, 0]], dtype=bool)
    assert minimum_cover(matrix).indices == (0, 1)
    assert minimum_cover(matrix, preferred=[2, 3]).indices == (1, 2)


def test_without_time_the_greedy_cover_is_returned_unproven() -> None:
    matrix = np.array([[1, 1, 0], [1, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 0], [0, 0, 1]], bool)
    cover = minimum_cover(matrix, time_limit=0.0)
    assert greedy_cover(matrix) == (0, 1, 2)
    assert cover == Cover(indices=(1, 2), proven=False, solver="Greedy")


def test_a_cover_too_hard_for_its_time_is_returned_unproven_and_without_redundant_policies() -> (
    None
):
    matrix = np.random.default_rng(0).random((400, 400)) < 0.03
    cover = minimum_cover(matrix, time_limit=0.3)
    trimmed = reverse_delete(matrix, cover=greedy_cover(matrix))
    assert not cover.proven
    assert is_cover(matrix, cover.indices)
    assert len(cover.indices) <= len(trimmed)
    assert (cover.solver == "Exact") == (len(cover.indices) < len(trimmed))


def test_when_time_runs_out_among_ties_the_size_stays_proven(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    solve, now = palm.integer_cover.milp, [0.0]

    def solve_until_late(*arguments: Any, **options: Any) -> Any:
        now[0] += 100.0
        return solve(*arguments, **options)

    monkeypatch.setattr("palm.set_cover.monotonic", lambda: now[0])
    monkeypatch.setattr("palm.integer_cover.monotonic", lambda: now[0])
    monkeypatch.setattr("palm.integer_cover.milp", solve_until_late)
    cover = minimum_cover(NO_INTERVALS)
    assert cover.proven
    assert cover.solver == "Exact"
    assert len(cover.indices) == 2
    assert is_cover(NO_INTERVALS, cover.indices)


def test_a_better_cover_of_the_solver_is_kept_although_it_is_not_proven() -> None:
    matrix = np.random.default_rng(0).random((150, 150)) < 0.05
    matrix[~matrix.any(axis=1), 0] = True
    trimmed = reverse_delete(matrix, cover=greedy_cover(matrix))
    for limit in (0.5, 2.0, 8.0, 30.0):  # until the solver has found something, on any machine
        cover = minimum_cover(matrix, time_limit=limit)
        assert is_cover(matrix, cover.indices)
        if len(cover.indices) < len(trimmed):
            break
    assert len(cover.indices) < len(trimmed)
    assert cover.solver == "Exact"


def test_beyond_the_limit_of_the_exact_solver_the_greedy_cover_is_returned_at_once() -> None:
    matrix = np.random.default_rng(0).random((EXACT_LIMIT + 1, 30)) < 0.4
    matrix[~matrix.any(axis=1), 0] = True
    cover = minimum_cover(matrix, time_limit=1e9)
    assert cover.solver == "Greedy"
    assert not cover.proven
    assert cover.indices == tuple(sorted(reverse_delete(matrix, cover=greedy_cover(matrix))))


@given(coverable(most=20))
def test_a_packed_matrix_gives_the_same_covers(matrix: np.ndarray) -> None:
    packed = CoverMatrix.packed(matrix)
    assert greedy_cover(packed) == greedy_cover(matrix)
    assert minimum_cover(packed) == minimum_cover(matrix)


def test_the_greedy_cover_is_the_printed_algorithm() -> None:
    """Step by step on the whole matrix, with more rows than are summed at once."""
    matrix = np.random.default_rng(4).random((700, 90)) < 0.05
    matrix[~matrix.any(axis=1), 3] = True
    uncovered, picked = np.ones(len(matrix), dtype=bool), []
    while uncovered.any():
        picked.append(int(matrix[uncovered].sum(axis=0).argmax()))
        uncovered &= ~matrix[:, picked[-1]]
    assert greedy_cover(matrix) == tuple(picked)


def test_uncovered_weight_vectors_are_named() -> None:
    matrix = np.zeros((13, 2), dtype=bool)
    matrix[0] = True
    for solve in (greedy_cover, minimum_cover):
        with pytest.raises(NoCover, match=r"weight vectors 1, 2, .*, 10 and 2 more") as caught:
            solve(matrix)
        assert caught.value.weights == tuple(range(1, 13))
    assert isinstance(caught.value, PalmError)
    assert pickle.loads(pickle.dumps(caught.value)).weights == caught.value.weights


def test_a_preferred_policy_that_does_not_exist_is_refused() -> None:
    for preferred in ([2], [-1]):
        with pytest.raises(ValueError, match="it must name policies from 0 to 1"):
            minimum_cover(np.ones((2, 2), dtype=bool), preferred=preferred)


def test_a_cover_matrix_must_be_boolean() -> None:
    with pytest.raises(ValueError, match=r"must be boolean .* not float64 \(2, 2\)"):
        greedy_cover(np.ones((2, 2)))  # type: ignore[arg-type]


def test_the_largest_published_grid_is_covered_exactly_in_no_time() -> None:
    generator = np.random.default_rng(0)
    weights = generator.dirichlet(np.ones(3), size=91)
    front = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    objective = weights @ front.T
    cover = minimum_cover(objective >= 0.95 * objective.max(axis=1, keepdims=True))
    assert cover.proven
