"""Weight vectors whose policy is missing: golden files, and what is certain about them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.errors import NoCertificate, NoCover
from palm.missing import assumed_optimum
from palm.pruning import prune

MISSING = json.loads((Path(__file__).parent / "golden" / "missing.json").read_text())["cases"]
MODES = {"best_known": "BestKnown", "certified": "Certified"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", MISSING, ids=lambda case: f"{case['d']}-objectives")
def test_golden_portfolios_without_some_policies(case: dict[str, Any], mode: Any) -> None:
    weights = np.array(case["weights"])
    trained = [i for i, value in enumerate(case["values"]) if value is not None]
    u = np.array([case["values"][i] for i in trained])
    optimum = assumed_optimum(weights=weights, utilities=u, trained_at=trained, missing=MODES[mode])
    expected = case["expected"][mode]
    np.testing.assert_allclose(optimum, expected["opt"], atol=1e-9)
    pruning = prune(
        weights=weights,
        utilities=u,
        mu=case["mu_prime"],
        alpha=0.0,
        solver="Exact",
        optimum=optimum,
        trained_at=trained,
    )
    assert list(pruning.uncovered) == expected["uncoverable_weights"]
    assert len(pruning.indices) == expected["optimal_size"]
    assert pruning.proven
    np.testing.assert_array_equal(pruning.optimum, optimum)


@st.composite
def failed(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Weight vectors with the extremes, a front, and which weight vectors have their policy."""
    d = draw(st.integers(2, 4))
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    weights = np.vstack([np.eye(d), generator.dirichlet(np.ones(d), size=12)])
    front = generator.random((20, d))
    others = draw(st.sets(st.integers(d, d + 11)))
    return weights, front, [*range(d), *sorted(others)]


@given(failed(), st.floats(0, 0.3))
def test_who_covers_a_certified_optimum_covers_the_true_one(
    case: tuple[np.ndarray, np.ndarray, list[int]], mu: float
) -> None:
    weights, front, trained = case
    u = front[(weights[trained] @ front.T).argmax(axis=1)]
    optimum = assumed_optimum(weights=weights, utilities=u, trained_at=trained, missing="Certified")
    true = (weights @ front.T).max(axis=1)
    assert (optimum >= true - 1e-12).all()
    pruning = prune(weights=weights, utilities=u, mu=mu, alpha=0.0, solver="Exact", optimum=optimum)
    served = (weights @ u[list(pruning.indices)].T).max(axis=1)
    covered = np.setdiff1d(np.arange(len(weights)), pruning.uncovered)
    assert (served >= (1 - mu) * true - 1e-11)[covered].all()
    assert (served < (1 - mu) * optimum)[list(pruning.uncovered)].all()
    assert set(pruning.uncovered).isdisjoint(trained)
    assert pruning.delta == pytest.approx((optimum - served).max(), abs=1e-12)


def test_the_best_known_policy_may_hide_a_gap() -> None:
    """The policy that failed is worth 1 where the best known one is worth 0.5."""
    weights = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    u = np.array([[1.0, 0.0], [0.0, 1.0]])
    call = {"weights": weights, "utilities": u, "trained_at": [0, 2]}
    assert assumed_optimum(missing="BestKnown", **call).tolist() == [1.0, 0.5, 1.0]
    optimum = assumed_optimum(missing="Certified", **call)
    assert optimum.tolist() == [1.0, 1.0, 1.0]
    pruning = prune(
        weights=weights, utilities=u, mu=0.1, alpha=0.0, solver="Exact", optimum=optimum
    )
    assert pruning.uncovered == (1,)
    assert pruning.indices == (0, 1)
    assert pruning.epsilon == pytest.approx(0.5)


def test_a_missing_extreme_policy_leaves_nothing_certified() -> None:
    weights = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    call = {"weights": weights, "utilities": np.eye(2), "trained_at": [0, 1]}
    assert assumed_optimum(missing="BestKnown", **call).tolist() == [1.0, 0.5, 1.0]
    with pytest.raises(NoCertificate, match="objective 1"):
        assumed_optimum(missing="Certified", **call)


def test_an_optimum_out_of_reach_everywhere_leaves_no_portfolio() -> None:
    with pytest.raises(NoCover) as caught:
        prune(
            weights=np.eye(2),
            utilities=np.eye(2),
            mu=0.1,
            alpha=0.0,
            solver="Greedy",
            optimum=np.array([9.0, 9.0]),
        )
    assert caught.value.weights == (0, 1)


def test_a_wrong_training_index_is_refused() -> None:
    with pytest.raises(ValueError, match="it must name one of 2 weight vectors for each of 2"):
        assumed_optimum(
            weights=np.eye(2), utilities=np.eye(2), trained_at=[0, 2], missing="BestKnown"
        )
