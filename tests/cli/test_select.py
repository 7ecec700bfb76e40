"""``palm select``: the gateway's decision from a table, and what it is explained with."""

import json

import numpy as np
import pytest

from cli.invoke import palm
from palm_cli.failures import InvalidInput, Unavailable
from palm_cli.route_tables import routed_in
from palm_cli.selection import document, selection
from palm_gateway.choice import choose
from palm_gateway.tables import route_of
from routes import config_map, make_table

REWARDS = ("helpfulness", "brevity")
UTILITIES = [[1.0, 0.0], [0.7, 0.7], [0.0, 1.0]]
TABLE = make_table(UTILITIES, rewards=REWARDS)


def body(**status):
    conditions = [{"type": "Progressing", "status": "True", "reason": "Training",
                   "message": "training w03; 2 of at most 9 policies are evaluated"}]  # fmt: skip
    return {
        "metadata": {"namespace": "ml", "name": "assistant"},
        "status": {"conditions": conditions, **status},
    }


class Knows:
    """A cluster that has one Portfolio and its ConfigMap."""

    namespace = "ml"

    def __init__(self, portfolio, table):
        self._portfolio, self._table = portfolio, table

    def portfolio(self, name):
        return self._portfolio

    def route_table(self, name):
        return self._table


def select(folder, *arguments):
    return palm("select", "--file", "route-table.json", *arguments)


def test_it_is_the_gateways_decision_for_any_preference():
    random = np.random.default_rng(3)
    table = make_table(random.uniform(0, 1, size=(6, 3)).tolist(), ready=[True] * 5 + [False])
    route = route_of(config_map(table), namespaces=("ml",), hosts=("*.ml.svc",),
                     default_preferences={})  # fmt: skip
    for amounts in (random.exponential(size=(300, 3)) * 9).tolist():
        preference = dict(zip(table.rewards, amounts, strict=True))
        made = selection(route, json.dumps(preference))
        theirs = choose(route, preference, lambda _: True)
        assert made.choice == theirs
        assert document(made, explain=False)["policy"] == theirs.candidates[0].policy.name


def test_what_is_printed_is_the_policy_the_bound_and_the_address(folder):
    ran = select(folder, "--preference", "helpfulness=6,brevity=4")
    assert ran.code == 0
    assert "w01-7c1f09, of 3" in ran.out
    assert "helpfulness=0.6,brevity=0.4" in ran.out
    assert "at most 0.02, 2.778 % below optimal (at the grid's weight vectors)" in ran.out
    assert "http://w01.ml.svc/v1, model w01-7c1f09" in ran.out


def test_programs_get_the_same(folder):
    answer = select(folder, "-p", '{"brevity": 5}', "-o", "json").answer
    assert answer["policy"] == "w02-7c1f09"
    assert answer["preference"] == {"helpfulness": 0.0, "brevity": 1.0}
    assert answer["shortfall"] == {
        "absolute": 0.02, "relative": 0.01961, "scope": "Grid", "confidence": None,
    }  # fmt: skip
    assert answer["passed_over"] == {}
    assert "policies" not in answer


def test_explained_are_all_policies_the_runner_up_and_what_would_switch(folder):
    ran = select(folder, "-p", "helpfulness=6,brevity=4", "--explain")
    lines = [line.split() for line in ran.out.splitlines()]
    ranked = [words for words in lines if words and words[0] in ("→", "w00-7c1f09", "w02-7c1f09")]
    assert [words[1] if words[0] == "→" else words[0] for words in ranked] == [
        "w01-7c1f09", "w00-7c1f09", "w02-7c1f09",
    ]  # fmt: skip
    assert "runner-up     w00-7c1f09" in ran.out
    assert "10 % more weight on helpfulness: beyond helpfulness=0.7,brevity=0.3" in ran.out
    answer = select(folder, "-p", "helpfulness=6,brevity=4", "--explain", "-o", "json").answer
    assert answer["runner_up"] == "w00-7c1f09"
    assert answer["switch"]["moved"] == pytest.approx(0.1)
    assert answer["policies"][0]["policy"] == answer["policy"]
    beyond = select(folder, "-p", "helpfulness=0.701,brevity=0.299", "-o", "json").answer
    assert beyond["policy"] == answer["switch"]["policy"]


def test_without_a_preference_the_most_used_policy_answers_and_no_bound_is_claimed(folder):
    ran = select(folder, "--explain")
    assert "w01-7c1f09" in ran.out
    assert "none: it serves the largest share, 40%" in ran.out
    assert "below optimal (" not in ran.out
    assert select(folder, "-o", "json").answer["shortfall"] is None


def test_a_policy_that_is_not_ready_is_passed_over_and_named():
    table = make_table(UTILITIES, rewards=REWARDS, ready=[False, True, True])
    routed = routed_in(Knows(body(), config_map(table)), "assistant")
    answer = document(selection(routed.route, "helpfulness=1"), explain=True)
    assert answer["policy"] == "w01-7c1f09"
    assert answer["passed_over"] == {"w00-7c1f09": "not-ready"}
    assert answer["shortfall"]["absolute"] == pytest.approx(0.32, rel=1e-3)
    assert answer["switch"]["policy"] == "w02-7c1f09"


def test_a_portfolio_that_is_not_served_still_has_a_best_policy():
    bare = TABLE.model_copy(update={"policies": tuple(
        p.model_copy(update={"url": None, "ready": False}) for p in TABLE.policies)})  # fmt: skip
    routed = routed_in(Knows(body(), config_map(bare)), "assistant")
    answer = document(selection(routed.route, "brevity=1"), explain=False)
    assert (answer["policy"], answer["url"], answer["ready"]) == ("w02-7c1f09", None, False)


def test_the_default_preference_of_the_gateway_is_taken():
    gateway = {"url": "http://g/v1", "model": "ml/assistant", "defaultPreference": "brevity=1"}
    routed = routed_in(Knows(body(gateway=gateway), config_map(TABLE)), "assistant")
    assert selection(routed.route, "").policy.name == "w02-7c1f09"
    assert (routed.gateway.url, routed.gateway.model) == ("http://g/v1", "ml/assistant")


@pytest.mark.parametrize(
    ("preference", "complaint"),
    [
        ("funniness=1", "unknown reward 'funniness'; this portfolio knows helpfulness, brevity"),
        ("helpfulness=-1", "at least 0"),
        ("helpfulness", "not name=amount"),
        ("helpfulness=0,brevity=0", "every amount of the preference is 0"),
    ],
)
def test_what_is_no_preference_is_refused(folder, preference, complaint):
    ran = select(folder, "--preference", preference)
    assert (ran.code, ran.out) == (2, "")
    assert complaint in ran.err


def test_a_config_map_is_read_as_kubectl_prints_it(folder):
    (folder / "map.json").write_text(json.dumps(config_map(TABLE), indent=4))
    ran = palm("select", "assistant", "--file", "map.json", "-p", "brevity=1", "-o", "json")
    assert ran.answer["policy"] == "w02-7c1f09"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{}", "route table, namespace: Field required"),
        ("[1]", "route table"),
        ("no", "must be JSON"),
        ('{"kind": "ConfigMap", "data": {}}', "route table"),
    ],
)
def test_a_file_that_is_no_route_table_is_refused_with_the_place(folder, content, complaint):
    (folder / "wrong.json").write_text(content)
    ran = palm("select", "--file", "wrong.json", "-p", "brevity=1")
    assert ran.code == 2
    assert "wrong.json" in ran.err
    assert complaint in ran.err


def test_another_portfolios_table_is_refused(folder):
    ran = palm("select", "other", "--file", "route-table.json")
    assert ran.code == 2
    assert "has the route table of ml/assistant; asked is other" in ran.err


def test_without_a_table_the_status_says_why():
    with pytest.raises(Unavailable, match="no route table yet: Training: training w03; 2 of at"):
        routed_in(Knows(body(), None), "assistant")
    with pytest.raises(Unavailable, match="no operator has looked at it yet"):
        routed_in(Knows({"metadata": {}}, None), "assistant")


def test_a_config_map_that_no_portfolio_controls_is_not_believed():
    with pytest.raises(Unavailable, match="no Portfolio controls it"):
        routed_in(Knows(body(), config_map(TABLE, ownerReferences=[])), "assistant")


def test_a_name_is_needed_where_no_file_is():
    ran = palm("select", "--preference", "brevity=1")
    assert ran.code == 2
    assert "NAME is needed" in ran.err


def test_unknown_names_are_the_persons_fault():
    routed = routed_in(Knows(body(), config_map(TABLE)), "assistant")
    with pytest.raises(InvalidInput):
        selection(routed.route, "funniness=1")
