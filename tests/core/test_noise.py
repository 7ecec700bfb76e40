"""Error bounds of evaluated rewards, and the noise floor."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.bounds import lower_bound
from palm.certificate import certify
from palm.errors import BelowNoise, InvalidResult
from palm.noise import SamplingError, check_noise_floor, noise_floor, sampling_error

POLICIES, PROMPTS, D = 5, 60, 3


def evaluations(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Truth, shape (policies, d), and rows that share the difficulty of their prompt."""
    truth = generator.random((POLICIES, D))
    difficulty = generator.normal(scale=0.3, size=(1, PROMPTS, D))
    own = generator.normal(scale=0.05, size=(POLICIES, PROMPTS, D))
    return truth, truth[:, None, :] + difficulty + own


def test_the_errors_stay_within_their_bounds_as_often_as_promised() -> None:
    generator = np.random.default_rng(0)
    outside = 0
    for _ in range(400):
        truth, rows = evaluations(generator)
        bound = sampling_error(rows, confidence=0.9)
        error = rows.mean(axis=1) - truth
        spread = error.max(axis=0) - error.min(axis=0)
        outside += bool(np.abs(error).max() > bound.absolute or spread.max() / 2 > bound.paired)
    assert outside <= 40 + 15  # 10 %, and 2.5 standard deviations


def test_what_all_policies_share_does_not_count_in_differences() -> None:
    _, rows = evaluations(np.random.default_rng(1))
    bound = sampling_error(rows, confidence=0.95)
    assert bound.paired < 0.3 * bound.absolute
    assert bound.eta(0.0) == bound.paired
    assert bound.eta(1.0) == bound.absolute
    assert bound.paired < bound.eta(0.05) < 0.35 * bound.absolute


@given(st.integers(0, 10**6), st.floats(0, 0.3), st.floats(0, 0.3))
def test_a_certificate_with_that_eta_is_true_whatever_the_errors_are(
    seed: int, absolute: float, paired: float
) -> None:
    """Errors as bad as the bounds allow: a common shift, and half the difference around it."""
    paired = min(absolute, paired)
    generator = np.random.default_rng(seed)
    weights = np.vstack([np.eye(D), generator.dirichlet(np.ones(D), size=3)])
    front = generator.random((8, D))
    truth = front[(weights @ front.T).argmax(axis=1)]
    shift = generator.uniform(paired - absolute, absolute - paired, size=D)
    evaluated = truth + shift + generator.choice([-paired, paired], size=truth.shape)
    portfolio = generator.choice(len(truth), size=2, replace=False)
    asked = generator.dirichlet(np.ones(D), size=200)
    optimum, served = lower_bound(asked, front), lower_bound(asked, truth[portfolio])
    error = SamplingError(absolute=absolute, paired=paired, confidence=0.95)
    for claim in (0.0, 0.1, 0.5, 1.0):
        certificate = certify(
            weights=weights, utilities=evaluated, portfolio=portfolio, eta=error.eta(claim)
        )
        assert (served >= optimum - certificate.delta - 1e-9).all()
        if certificate.epsilon is not None and certificate.epsilon <= claim:
            assert (served >= (1 - certificate.epsilon) * optimum - 1e-9).all()


def test_hoeffding_holds_without_assumptions_and_is_wider() -> None:
    rows = np.random.default_rng(2).random((POLICIES, PROMPTS, D))
    ranges = np.ones(D)
    certain = sampling_error(rows, confidence=0.95, method="Hoeffding", ranges=ranges)
    expected = np.sqrt(np.log(2 * POLICIES * D / 0.05) / (2 * PROMPTS))
    assert certain.absolute == pytest.approx(expected)
    assert certain.paired == certain.absolute
    assert certain.absolute > sampling_error(rows, confidence=0.95).absolute


@given(st.integers(0, 1000), st.floats(0.5, 0.999), st.floats(0.5, 0.999))
def test_more_confidence_never_gives_a_smaller_bound(seed: int, one: float, two: float) -> None:
    _, rows = evaluations(np.random.default_rng(seed))
    low, high = sorted((one, two))
    loose, tight = sampling_error(rows, confidence=high), sampling_error(rows, confidence=low)
    assert loose.absolute >= tight.absolute
    assert loose.paired >= tight.paired


def test_a_single_policy_differs_from_no_other() -> None:
    _, rows = evaluations(np.random.default_rng(3))
    assert sampling_error(rows[:1], confidence=0.95).paired == 0.0


def test_the_regularizers_error_is_added() -> None:
    _, rows = evaluations(np.random.default_rng(3))
    plain = sampling_error(rows, confidence=0.95)
    errors = np.linspace(0, 0.04, POLICIES)
    more = sampling_error(rows, confidence=0.95, regularizer_error=errors)
    assert more.absolute == pytest.approx(plain.absolute + 0.04)
    assert more.paired == pytest.approx(plain.paired + 0.04)


def test_a_guarantee_below_the_noise_floor_is_refused_with_the_numbers() -> None:
    assert noise_floor(eta=0.01, tau=0.005) == pytest.approx(0.05)
    call = {"alpha": 0.02, "smallest_optimum": 0.6, "eta": 0.01, "tau": 0.005}
    check_noise_floor(mu=0.0501, **call)
    with pytest.raises(
        BelowNoise, match=r"a shortfall of 0.044 where the optimum is 0.6; .* = 0.05 can be"
    ):
        check_noise_floor(mu=0.04, **call)
    with pytest.raises(BelowNoise):  # a negative optimum gives no multiplicative slack
        check_noise_floor(mu=1.0, **{**call, "smallest_optimum": -0.5})


def test_without_noise_every_guarantee_may_be_asked_for() -> None:
    check_noise_floor(mu=0.0, alpha=0.0, smallest_optimum=0.0, eta=0.0, tau=0.0)


def test_evaluations_that_bound_nothing_are_refused() -> None:
    rows = np.zeros((2, 3, 2))
    with pytest.raises(ValueError, match=r"at least 2 prompts, not \(2, 1, 2\)"):
        sampling_error(rows[:, :1], confidence=0.95)
    with pytest.raises(ValueError, match=r"confidence is 1\.0"):
        sampling_error(rows, confidence=1.0)
    with pytest.raises(ValueError, match="ranges is None; Hoeffding needs one range"):
        sampling_error(rows, confidence=0.95, method="Hoeffding")
    rows[1, 2, 0] = 3.0
    with pytest.raises(ValueError, match=r"objective 0 spreads over 3.0; its range is said 1.0"):
        sampling_error(rows, confidence=0.95, method="Hoeffding", ranges=np.ones(2))
    with pytest.raises(ValueError, match=r"regularizer_error must be .* \(2,\)"):
        sampling_error(rows, confidence=0.95, regularizer_error=np.array([-1.0, 0.0]))
    with pytest.raises(ValueError, match=r"epsilon is 1\.5"):
        sampling_error(rows, confidence=0.95).eta(1.5)
    with pytest.raises(ValueError, match="eta is -1"):
        noise_floor(eta=-1, tau=0)
    rows[1, 2, 0] = np.nan
    with pytest.raises(InvalidResult, match="utility 0 of policy 1 at prompt 2 is nan"):
        sampling_error(rows, confidence=0.95)
