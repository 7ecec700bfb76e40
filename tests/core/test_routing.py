"""A preference becomes a weight vector, and the weight vector a policy: the core's argmax."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.errors import InvalidPreference, InvalidRouteTable
from palm.objective import check_weights
from palm.route_table import (
    MAX_BYTES,
    MAX_POLICIES,
    MAX_REWARDS,
    RouteGuarantee,
    parse_route_table,
    sha256_of,
)
from palm.routing import (
    at_most,
    by_usage,
    objectives,
    parse_preference,
    preference_of,
    ranking,
    shortfall,
    weight_vector,
)
from palm.usage import best_policy
from routes import make_table

REWARDS = ("helpfulness", "brevity", "safety")


@pytest.mark.parametrize("dimension", [2, 3, 8])
def test_the_routed_policy_is_the_cores_for_ten_thousand_preferences(dimension):
    random = np.random.default_rng(dimension)
    table = make_table(random.normal(size=(12, dimension)).tolist())
    amounts = random.exponential(size=(10_000, dimension)) * 10.0 ** random.integers(-9, 9)
    amounts[random.random(amounts.shape) < 0.2] = 0.0
    amounts[amounts.sum(axis=1) == 0, 0] = 1.0
    preferences = [dict(zip(table.rewards, row, strict=True)) for row in amounts.tolist()]
    weights = [weight_vector(p, table.rewards) for p in preferences]
    routed = [ranking(objectives(w, table))[0] for w in weights]
    utilities = np.array([p.utilities for p in table.policies])
    assert routed == best_policy(weights=np.array(weights), utilities=utilities).tolist()


def test_objectives_equal_the_cores_to_the_last_bit():
    from palm.objective import scalarize

    random = np.random.default_rng(7)
    table = make_table(random.normal(size=(20, 5)).tolist())
    weights = random.dirichlet(np.ones(5), size=500)
    expected = scalarize(weights=weights, utilities=np.array([p.utilities for p in table.policies]))
    assert [objectives(w, table) for w in weights.tolist()] == [tuple(r) for r in expected.tolist()]


def test_ties_go_to_the_lower_index_all_the_way_down():
    assert ranking([1.0, 3.0, 3.0, 1.0, 2.0]) == (1, 2, 4, 0, 3)
    assert ranking([0.0, -0.0, 0.0]) == (0, 1, 2)


def test_on_a_boundary_of_two_cells_the_choice_is_stable():
    table = make_table([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    for scale in (0.1, 1.0, 3.0, 7e8):
        weights = weight_vector({"reward-0": scale, "reward-1": scale}, table.rewards)
        assert ranking(objectives(weights, table))[0] == 0


@given(
    st.lists(
        st.floats(min_value=0, allow_nan=False, allow_infinity=False), min_size=2, max_size=8
    ).filter(any)
)
def test_every_preference_with_a_positive_amount_is_on_the_simplex(amounts):
    names = [f"r{i}" for i in range(len(amounts))]
    weights = weight_vector(dict(zip(names, amounts, strict=True)), names)
    check_weights(np.array([weights]))


def test_a_preference_needs_no_particular_scale_or_order():
    a = weight_vector(parse_preference("helpfulness=0.7,brevity=0.3"), REWARDS)
    b = weight_vector(parse_preference(" brevity = 3 , helpfulness=7"), REWARDS)
    c = weight_vector(parse_preference('{"helpfulness": 70, "brevity": 30.0}'), REWARDS)
    d = weight_vector(preference_of({"helpfulness": "7/10", "brevity": "0.3"}), REWARDS)
    for weights in (a, b, c, d):
        assert weights == pytest.approx((0.7, 0.3, 0.0))


@pytest.mark.parametrize(
    ("preference", "complaint"),
    [
        ("", "not name=amount"),
        ("helpfulness", "not name=amount"),
        ("helpfulness=", "not name=amount"),
        ("helpfulness=0.5;brevity=0.5", "not name=amount"),
        ("helpfulness=a", "finite number"),
        ("helpfulness=1,helpfulness=1", "more than once"),
        ('{"brevity": 1, "brevity": 2}', "more than once"),
        ("helpfulness=-1", "'helpfulness' must be a finite number of at least 0"),
        ("helpfulness=nan", "finite number"),
        ("helpfulness=inf", "finite number"),
        ("helpfulness=1_0", "finite number"),
        ("helpfulness=1/0", "finite number"),
        ('{"helpfulness": NaN}', "finite number"),
        ('{"helpfulness": 1e999}', "finite number"),
        ('{"helpfulness": true}', "finite number"),
        ('{"helpfulness": null}', "finite number"),
        ('{"helpfulness": {"a": 1}}', "finite number"),
        ('{"helpfulness": %s}' % ("9" * 400), "finite number"),
        ('{"helpfulness": 1', "not a JSON object"),
        ("{" + '"a":{' * 150, "not a JSON object"),
        ("{}", "must name rewards"),
        ("a=1," * 300, "1200 characters"),
        ("helpfulness=0,brevity=0", "every amount of the preference is 0"),
        ("funniness=1", "unknown reward 'funniness'; this portfolio knows helpfulness, brevity, s"),
        ('{"\\u202e\\n": 1}', "unknown reward '\\\\u202e\\\\n'"),
        ([0.7, 0.3], "must name rewards"),
        (0.7, "must name rewards"),
        (None, "must name rewards"),
        ({}, "must name rewards"),
    ],
)
def test_what_is_no_preference_is_refused_with_the_rule(preference, complaint):
    with pytest.raises(InvalidPreference, match=complaint):
        weight_vector(preference_of(preference), REWARDS)


def test_a_complaint_does_not_repeat_long_or_unprintable_text():
    with pytest.raises(InvalidPreference) as caught:
        weight_vector(preference_of({"é" * 900: 1}), REWARDS)
    assert len(str(caught.value)) < 600
    assert str(caught.value).isascii() or "…" in str(caught.value)


@given(st.integers(0, 2**32 - 1))
def test_no_choice_falls_short_by_more_than_is_said(seed):
    """Policies outside the portfolio, worse than the guarantee allows by nothing."""
    random = np.random.default_rng(seed)
    everything = random.uniform(-0.2, 1.0, size=(9, 3))
    kept = everything[:4]
    weights = tuple(random.dirichlet(np.ones(3)).tolist())
    optimum = max(float(np.dot(weights, u)) for u in everything)
    best = max(float(np.dot(weights, u)) for u in kept)
    table = make_table(kept.tolist()).model_copy(
        update={
            "guarantee": RouteGuarantee(
                epsilon=1 - best / optimum if optimum > 0 else None,
                delta=optimum - best,
                scope="Simplex",
            )
        }
    )
    values = objectives(weights, table)
    for index, value in enumerate(values):
        said = shortfall(table, values, index)
        assert optimum - value <= said.absolute + 1e-9
        if said.relative is not None:
            assert 1 - value / optimum <= said.relative + 1e-9


def test_without_a_positive_best_no_relative_shortfall_is_said():
    table = make_table([[-1.0, 0.0], [0.0, -1.0]])
    values = objectives((0.5, 0.5), table)
    assert shortfall(table, values, 0).relative is None


def test_at_most_never_rounds_down():
    assert at_most(0.123412) == "0.1235"
    assert at_most(0.0) == "0"
    assert at_most(1e-7) == "0.0000001"
    assert at_most(12345.1) == "12350"


@given(st.floats(min_value=0, max_value=1e6))
def test_at_most_is_at_least(value):
    assert float(at_most(value)) >= value


def test_without_a_preference_the_most_used_policy_comes_first():
    table = make_table([[1.0, 0.0], [0.6, 0.7], [0.0, 1.0]])
    usages = [p.usage for p in table.policies]
    assert by_usage(table)[0] == usages.index(max(usages))


def test_a_table_has_one_text_and_reads_back_the_same():
    table = make_table([[1.0, 0.25], [1 / 3, 0.7]])
    content = table.content()
    assert parse_route_table(content) == table
    assert parse_route_table(content).content() == content
    assert parse_route_table(json.dumps(json.loads(content), indent=2)).content() == content
    assert len(sha256_of(content)) == 64


def test_the_largest_table_fits_into_half_of_what_is_read():
    table = make_table(np.random.default_rng(0).normal(size=(MAX_POLICIES, MAX_REWARDS)).tolist())
    url = "http://" + "a" * (512 - len("http://"))
    policies = tuple(p.model_copy(update={"url": url}) for p in table.policies)
    assert len(table.model_copy(update={"policies": policies}).content()) < MAX_BYTES / 1.5


def damaged(**parts):
    document = json.loads(make_table([[1.0, 0.0], [0.0, 1.0]]).content())
    return json.dumps({**document, **parts})


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "route table, document"),
        ("{}", "namespace"),
        ("[" * 100_000, "document"),
        ('{"a":' * 20_000, "document"),
        (" " * (MAX_BYTES + 1), "at most"),
        (damaged(schemaVersion=2), "schemaVersion"),
        (damaged(more=1), "more"),
        (damaged(policies=[]), "policies"),
        (damaged(rewards=["a", "a"]), "'a' is there more than once"),
        (damaged(rewards=["a", "b", "c"]), "normalization has 2 entries; there are 3"),
        (damaged(namespace="../kube-system"), "namespace"),
        (damaged(guarantee={"epsilon": None, "delta": -1, "scope": "Grid"}), "delta"),
        (damaged().replace('"usage": 0.5', '"usage": NaN'), "usage"),
        (damaged().replace('"usage": 0.5', '"usage": 1e999'), "usage"),
        (damaged().replace('"utilities": [1.0, 0.0]', '"utilities": [1.0]'), "utilities of w00"),
        (damaged().replace('"http://', '"file://'), "url"),
        (damaged().replace('"http://', '"http://user:word@'), "url"),
        (damaged().replace('"http://', '"http://?'), "url"),
        (damaged().replace('"http://', '"http:// '), "url"),
    ],
)
def test_a_damaged_table_is_refused_with_the_place(content, complaint):
    with pytest.raises(InvalidRouteTable, match=complaint):
        parse_route_table(content)
