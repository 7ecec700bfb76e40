"""Certificates: golden files, exactness, and truth with and without noise."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.bounds import lower_bound, upper_bound
from palm.certificate import (
    Certificate,
    certify,
    certify_grid,
    exact_shortfall,
    sampled_shortfall,
)
from palm.corners import corner_weights
from palm.errors import InvalidResult, NoCertificate, PalmError

GOLDEN = json.loads((Path(__file__).parent / "golden" / "certificates.json").read_text())["cases"]
TOLERANCE = 1e-7  # of the golden file


@st.composite
def trained(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int]]:
    """A front, the weight vectors that an exact oracle was asked, its answers, and a portfolio."""
    d, n = draw(st.integers(1, 4)), draw(st.integers(0, 6))
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    shift = draw(st.sampled_from([0.0, 1.0, -0.3]))
    front = generator.random((draw(st.integers(1, 12)), d)) + shift
    weights = np.vstack([np.eye(d), generator.dirichlet(np.ones(d), size=n)])
    answers = front[(weights @ front.T).argmax(axis=1)]
    portfolio = draw(st.lists(st.integers(0, d + n - 1), min_size=1, unique=True))
    return front, weights, answers, portfolio


def somewhere(d: int, count: int = 400) -> np.ndarray:
    return np.random.default_rng(7).dirichlet(np.ones(d), size=count)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['d']}-objectives")
def test_golden_certificates_are_reproduced(case: dict[str, Any]) -> None:
    weights, u = np.array(case["weights"]), np.array(case["values"])
    certificate = certify(weights=weights, utilities=u, portfolio=case["portfolio"])
    assert certificate.delta == pytest.approx(case["delta"], abs=TOLERANCE)
    assert certificate.epsilon == pytest.approx(case["eps"], abs=TOLERANCE)
    np.testing.assert_allclose(certificate.argmax_delta, case["argmax_delta"], atol=TOLERANCE)
    assert certificate.scope == "Simplex"
    everyone = certify(weights=weights, utilities=u, portfolio=range(len(u)))
    assert everyone.delta == pytest.approx(case["delta_all_trained"], abs=TOLERANCE)
    assert everyone.epsilon == pytest.approx(case["eps_all_trained"], abs=TOLERANCE)
    assert case["sampled_lower_bound"] <= certificate.delta
    here = np.array([certificate.argmax_epsilon])
    bound = upper_bound(weights=weights, values=lower_bound(weights, u))(here)
    served = lower_bound(here, u[case["portfolio"]])
    assert (1 - served / bound)[0] == pytest.approx(case["eps"], abs=TOLERANCE)


@given(trained())
def test_what_is_certified_is_true_everywhere_and_attained_where_it_says(
    given_: tuple[np.ndarray, np.ndarray, np.ndarray, list[int]],
) -> None:
    front, weights, answers, portfolio = given_
    certificate = certify(weights=weights, utilities=answers, portfolio=portfolio)
    asked = np.vstack([somewhere(front.shape[1]), weights])
    optimum, served = lower_bound(asked, front), lower_bound(asked, answers[portfolio])
    assert (served >= optimum - certificate.delta - 1e-9).all()
    if certificate.epsilon is None:
        corners = corner_weights(answers[portfolio])
        assert lower_bound(corners, answers[portfolio]).min() < 0
    else:
        assert 0 <= certificate.epsilon <= 1
        assert (served >= (1 - certificate.epsilon) * optimum - 1e-9).all()
    # No smaller value is true of the upper bound, which is a convex optimum that fits.
    bound = upper_bound(weights=weights, values=lower_bound(weights, answers))
    here = np.array([certificate.argmax_delta])
    lacking = (bound(here) - lower_bound(here, answers[portfolio]))[0]
    assert certificate.delta == pytest.approx(lacking, abs=1e-9)
    everywhere = bound(asked) - served
    assert everywhere.max() <= certificate.delta + 1e-9


@given(trained(), st.floats(0, 0.1), st.floats(0, 0.1))
def test_noise_within_its_bounds_never_makes_a_certificate_false(
    given_: tuple[np.ndarray, np.ndarray, np.ndarray, list[int]], eta: float, tau: float
) -> None:
    front, weights, answers, portfolio = given_
    generator = np.random.default_rng(len(front))
    trained_u = answers - generator.uniform(0, tau, size=(len(answers), 1))
    evaluated = trained_u + generator.uniform(-eta, eta, size=answers.shape)
    certificate = certify(
        weights=weights, utilities=evaluated, portfolio=portfolio, eta=eta, tau=tau
    )
    asked = somewhere(front.shape[1])
    optimum, served = lower_bound(asked, front), lower_bound(asked, trained_u[portfolio])
    assert (served >= optimum - certificate.delta - 1e-9).all()
    if certificate.epsilon is not None:
        assert (served >= (1 - certificate.epsilon) * optimum - 1e-9).all()


def test_ignoring_the_noise_can_make_a_certificate_false() -> None:
    """The optimum 1 of objective 0 is evaluated as 0.9, and a worse policy is not missed."""
    evaluated = np.array([[0.9, 0.0], [0.9, 1.0]])  # the second is 0.85 in truth
    certificate = certify(weights=np.eye(2), utilities=evaluated, portfolio=[1])
    assert certificate.delta == 0.0
    honest = certify(weights=np.eye(2), utilities=evaluated, portfolio=[1], eta=0.1)
    assert honest.delta == pytest.approx(0.2)
    assert honest.delta >= 1.0 - 0.85


@given(trained())
def test_delta_grows_by_twice_eta_and_tau(
    given_: tuple[np.ndarray, np.ndarray, np.ndarray, list[int]],
) -> None:
    _, weights, answers, portfolio = given_
    call = {"weights": weights, "utilities": answers, "portfolio": portfolio}
    plain, noisy = certify(**call), certify(**call, eta=0.02, tau=0.03)
    assert noisy.delta == pytest.approx(plain.delta + 0.07, abs=1e-9)
    assert (noisy.eta, noisy.tau) == (0.02, 0.03)


@given(trained())
def test_a_grid_is_never_certified_worse_than_the_simplex_and_its_corners_are_the_simplex(
    given_: tuple[np.ndarray, np.ndarray, np.ndarray, list[int]],
) -> None:
    _, weights, answers, portfolio = given_
    call = {"weights": weights, "utilities": answers, "portfolio": portfolio}
    simplex, grid = certify(**call), certify_grid(grid=weights, **call)
    assert grid.scope == "Grid"
    assert grid.delta <= simplex.delta + 1e-9
    if simplex.epsilon is not None:
        assert grid.epsilon is not None
        assert grid.epsilon <= simplex.epsilon + 1e-9


@given(trained())
def test_another_trained_policy_never_loosens_a_certificate(
    given_: tuple[np.ndarray, np.ndarray, np.ndarray, list[int]],
) -> None:
    front, weights, answers, portfolio = given_
    more = somewhere(front.shape[1], 3)
    wiser = certify(
        weights=np.vstack([weights, more]),
        utilities=np.vstack([answers, front[(more @ front.T).argmax(axis=1)]]),
        portfolio=portfolio,
    )
    before = certify(weights=weights, utilities=answers, portfolio=portfolio)
    assert wiser.delta <= before.delta + 1e-9


@given(trained())
def test_with_a_known_optimum_the_shortfall_is_exact_and_sampling_is_never_above_it(
    given_: tuple[np.ndarray, np.ndarray, np.ndarray, list[int]],
) -> None:
    front, weights, answers, portfolio = given_

    def optimum(asked: np.ndarray) -> np.ndarray:
        return lower_bound(asked, front)

    exact = exact_shortfall(answers[portfolio], optimum)
    assert not isinstance(exact, Certificate)  # nothing is bounded, it is measured
    sampled = sampled_shortfall(answers[portfolio], optimum, samples=500, seed=1)
    certificate = certify(weights=weights, utilities=answers, portfolio=portfolio)
    assert sampled.delta <= exact.delta + 1e-12 <= certificate.delta + 1e-9
    if exact.epsilon is not None and certificate.epsilon is not None:
        assert sampled.epsilon is not None
        assert sampled.epsilon <= exact.epsilon + 1e-12 <= certificate.epsilon + 1e-9


def test_the_papers_sample_sizes_underestimate_the_shortfall() -> None:
    weights = np.vstack([np.eye(3), np.full((1, 3), 1 / 3)])
    portfolio = weights / np.linalg.norm(weights, axis=1, keepdims=True)

    def sphere(asked: np.ndarray) -> np.ndarray:
        norm: np.ndarray = np.linalg.norm(asked, axis=1)
        return norm

    exact = exact_shortfall(portfolio, sphere).delta
    for samples in (15, 100, 200):
        seeds = range(20)
        found = [sampled_shortfall(portfolio, sphere, samples=samples, seed=s) for s in seeds]
        assert all(shortfall.delta < exact for shortfall in found)
    again = sampled_shortfall(portfolio, sphere, samples=15, seed=3)
    assert again.delta == sampled_shortfall(portfolio, sphere, samples=15, seed=3).delta


def test_zero_optima_need_no_multiplicative_slack_and_missed_ones_need_all_of_it() -> None:
    u = np.array([[1.0, 0.0], [0.0, 1.0]])
    everyone = certify(weights=np.eye(2), utilities=u, portfolio=[0, 1])
    assert everyone.epsilon == pytest.approx(0.5)  # between them nothing is known
    one = certify(weights=np.eye(2), utilities=u, portfolio=[0])
    assert one.epsilon == 1.0
    assert one.argmax_epsilon == (0.0, 1.0)
    nothing = certify(weights=np.eye(2), utilities=np.zeros((2, 2)), portfolio=[1])
    assert (nothing.epsilon, nothing.delta) == (0.0, 0.0)


def test_a_relative_shortfall_means_nothing_where_the_portfolio_is_negative() -> None:
    u = np.array([[1.0, -0.2], [0.4, -0.1]])
    certificate = certify(weights=np.eye(2), utilities=u, portfolio=[0])
    assert certificate.epsilon is None
    assert certificate.argmax_epsilon is None
    assert certificate.delta == pytest.approx(0.1)


def test_without_the_extreme_policies_nothing_is_certified_and_they_are_named() -> None:
    weights = np.array([[0.0, 1.0, 0.0], [0.2, 0.2, 0.6]])
    with pytest.raises(NoCertificate, match=r"objective 0, 2; a certificate needs") as caught:
        certify(weights=weights, utilities=np.eye(3)[:2], portfolio=[0])
    assert caught.value.extremes == (0, 2)
    assert isinstance(caught.value, PalmError)
    assert pickle.loads(pickle.dumps(caught.value)).extremes == (0, 2)
    known = certify_grid(grid=weights, weights=weights, utilities=np.eye(3)[:2], portfolio=[0, 1])
    assert known.delta == 0.0
    with pytest.raises(NoCertificate):
        certify_grid(grid=np.eye(3), weights=weights, utilities=np.eye(3)[:2], portfolio=[0, 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"portfolio": []}, r"portfolio is \[\]; it must name at least one of 2"),
        ({"portfolio": [2]}, r"portfolio is \[2\]"),
        ({"portfolio": [-1]}, r"portfolio is \[-1\]"),
        ({"eta": -0.1}, "eta is -0.1; it must be finite and at least 0"),
        ({"tau": float("nan")}, "tau is nan"),
        ({"utilities": np.ones((3, 2))}, r"shape \(n, d\), not \(2, 2\) and \(3, 2\)"),
        ({"weights": np.ones((2, 2))}, "must be at least 0 and sum to 1"),
    ],
)
def test_arguments_out_of_range_are_refused(change: dict[str, Any], message: str) -> None:
    call = {"weights": np.eye(2), "utilities": np.eye(2), "portfolio": [0], **change}
    with pytest.raises(ValueError, match=message):
        certify(**call)


def test_results_that_are_not_finite_are_never_certified() -> None:
    u = np.array([[1.0, 0.0], [np.nan, 1.0]])
    with pytest.raises(InvalidResult, match="row 1, column 0 is nan"):
        certify(weights=np.eye(2), utilities=u, portfolio=[0])


def test_empty_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="grid is empty"):
        certify_grid(grid=np.empty((0, 2)), weights=np.eye(2), utilities=np.eye(2), portfolio=[0])
    with pytest.raises(ValueError, match="samples is 0"):
        sampled_shortfall(np.eye(2), lambda w: w.max(axis=1), samples=0, seed=0)
