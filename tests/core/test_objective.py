"""The scalarized objective and its units."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from palm.errors import InvalidResult
from palm.objective import (
    Normalization,
    check_weights,
    normalized_weights,
    payoff_normalization,
    scalarize,
    stated_normalization,
    training_weights,
    utilities,
)

numbers = st.floats(-100, 100, allow_subnormal=False)
parts = st.floats(0.01, 1)
scales = st.floats(1e-3, 1e3)


def on_simplex(vectors: np.ndarray) -> np.ndarray:
    return vectors / vectors.sum(axis=1, keepdims=True)


def test_the_objective_is_reward_minus_regularizer() -> None:
    rewards = np.array([[0.8, 0.2], [0.1, 0.9]])
    u = utilities(rewards=rewards, regularizer=np.array([0.1, -0.05]))
    objective = scalarize(weights=np.array([[0.25, 0.75]]), utilities=u)
    np.testing.assert_allclose(objective, [[0.35 - 0.1, 0.7 + 0.05]])


@given(arrays(float, (2, 3), elements=parts), arrays(float, (4, 3), elements=numbers), parts)
def test_the_objective_is_linear_in_the_weight_vector(
    weights: np.ndarray, u: np.ndarray, share: float
) -> None:
    first, second = on_simplex(weights)
    mixed = share * first + (1 - share) * second
    objective = scalarize(weights=np.stack([first, second, mixed]), utilities=u)
    np.testing.assert_allclose(
        objective[2], share * objective[0] + (1 - share) * objective[1], atol=1e-11
    )


@given(arrays(float, (9, 3), elements=parts), arrays(float, (7, 3), elements=numbers))
def test_an_entry_depends_on_its_own_weight_vector_and_policy_only(
    weights: np.ndarray, u: np.ndarray
) -> None:
    weights = on_simplex(weights)
    whole = scalarize(weights=weights, utilities=u)
    for row in range(9):
        one = scalarize(weights=weights[row : row + 1], utilities=u[::-1])
        np.testing.assert_array_equal(one[0], whole[row, ::-1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_utility_that_is_not_finite_is_named_by_row_and_column(bad: float) -> None:
    u = np.array([[0.0, 1.0], [0.5, bad]])
    with pytest.raises(InvalidResult, match=rf"utility in row 1, column 1 is {bad}; .* finite"):
        scalarize(weights=np.eye(2), utilities=u)


def test_a_reward_or_regularizer_that_is_not_finite_is_never_counted_as_zero() -> None:
    with pytest.raises(InvalidResult, match="reward in row 0, column 1 is nan"):
        utilities(rewards=np.array([[0.0, np.nan]]), regularizer=np.zeros(1))
    with pytest.raises(InvalidResult, match="regularizer in row 1, column 0 is inf"):
        utilities(rewards=np.zeros((2, 2)), regularizer=np.array([0.0, np.inf]))


@pytest.mark.parametrize("row", [[0.5, 0.6], [1.5, -0.5], [np.nan, 1.0], [np.inf, 0.0], [0.0, 0.0]])
def test_a_weight_vector_off_the_simplex_is_refused_with_its_index(row: list[float]) -> None:
    with pytest.raises(ValueError, match=r"weight vector 1 is .* at least 0 and sum to 1"):
        check_weights(np.array([[0.5, 0.5], row]))


@pytest.mark.parametrize(
    "call",
    [
        lambda: scalarize(weights=np.eye(2), utilities=np.zeros((1, 3))),
        lambda: scalarize(weights=np.ones(2) / 2, utilities=np.zeros((1, 2))),
        lambda: utilities(rewards=np.zeros((2, 2)), regularizer=np.zeros(3)),
        lambda: utilities(rewards=np.zeros(2), regularizer=np.zeros(2)),
        lambda: training_weights(weights=np.eye(2), scale=np.ones(3)),
        lambda: payoff_normalization(np.zeros((2, 3))),
        lambda: Normalization(offset=np.zeros(2), scale=np.ones(2)).apply(np.zeros((1, 3))),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_their_shapes(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"must have shapes? .* not \("):
        call()


@given(arrays(float, (3, 3), elements=parts), arrays(float, 3, elements=scales))
def test_training_weights_come_back_by_their_inverse(
    weights: np.ndarray, scale: np.ndarray
) -> None:
    weights = on_simplex(weights)
    mapped = training_weights(weights=weights, scale=scale)
    check_weights(mapped)
    np.testing.assert_allclose(normalized_weights(weights=mapped, scale=scale), weights, rtol=1e-12)
    back = normalized_weights(weights=weights, scale=scale)
    np.testing.assert_allclose(training_weights(weights=back, scale=scale), weights, rtol=1e-12)


@given(
    arrays(float, (1, 3), elements=parts),
    arrays(float, (8, 3), elements=numbers),
    arrays(float, 3, elements=numbers),
    arrays(float, 3, elements=st.floats(0.1, 10)),
)
def test_training_weights_have_the_optimum_of_the_normalized_objective(
    weights: np.ndarray, u: np.ndarray, offset: np.ndarray, scale: np.ndarray
) -> None:
    weights = on_simplex(weights)
    normalized = Normalization(offset=offset, scale=scale).apply(u)
    best = int(scalarize(weights=weights, utilities=normalized).argmax())
    mapped = training_weights(weights=weights, scale=scale)
    raw = scalarize(weights=mapped, utilities=u)[0]
    assert raw[best] >= raw.max() - 1e-9


def test_a_scale_of_ones_changes_no_weight_vector() -> None:
    weights = np.array([[0.7, 0.3], [0.0, 1.0]])
    np.testing.assert_allclose(training_weights(weights=weights, scale=[1.0, 1.0]), weights)


def test_the_payoff_table_spans_zero_to_one_in_every_objective() -> None:
    table = np.array([[5.0, -1.0], [3.0, 1.0]])
    normalization = payoff_normalization(table)
    np.testing.assert_allclose(normalization.offset, [3.0, -1.0])
    np.testing.assert_allclose(normalization.scale, [2.0, 2.0])
    np.testing.assert_allclose(normalization.apply(table), [[1.0, 0.0], [0.0, 1.0]])


def test_stated_ranges_span_zero_to_one_in_every_objective() -> None:
    normalization = stated_normalization(lowest=[-20.0, 0.0], highest=[30.0, 0.5])
    ends = np.array([[-20.0, 0.5], [30.0, 0.0]])
    np.testing.assert_allclose(normalization.apply(ends), [[0.0, 1.0], [1.0, 0.0]])


@pytest.mark.parametrize(
    ("lowest", "highest"),
    [([0.0], [0.0]), ([1.0], [0.0]), ([0.0, 0.0], [1.0]), ([float("nan")], [1.0])],
)
def test_a_stated_range_must_rise(lowest: list[float], highest: list[float]) -> None:
    with pytest.raises(ValueError, match="must go from a lower to a higher number"):
        stated_normalization(lowest=lowest, highest=highest)


def test_an_objective_without_trade_off_is_named() -> None:
    table = np.array([[1.0, 0.3, 0.0], [0.0, 0.3, 1.0], [0.5, 0.3, 0.5]])
    with pytest.raises(InvalidResult, match=r"objective 1 is 0\.3 for every extreme policy"):
        payoff_normalization(table)


@pytest.mark.parametrize("scale", [[1.0, 0.0], [1.0, -1.0], [1.0, np.nan], [1.0, np.inf]])
def test_a_scale_must_be_finite_and_positive(scale: list[float]) -> None:
    with pytest.raises(ValueError, match=r"scale is .* finite and above 0"):
        Normalization(offset=np.zeros(2), scale=np.array(scale))
    with pytest.raises(ValueError, match=r"scale is .* finite and above 0"):
        training_weights(weights=np.eye(2), scale=scale)


def test_an_offset_must_be_finite_and_as_long_as_the_scale() -> None:
    with pytest.raises(ValueError, match=r"offset is .* must be finite"):
        Normalization(offset=np.array([np.nan]), scale=np.ones(1))
    with pytest.raises(ValueError, match="vectors of one length"):
        Normalization(offset=np.zeros(2), scale=np.ones(3))


def test_a_normalization_keeps_its_own_read_only_copy() -> None:
    offset = np.zeros(2)
    normalization = Normalization(offset=offset, scale=np.ones(2))
    offset[0] = 7.0
    assert normalization.offset[0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        normalization.scale[0] = 2.0
