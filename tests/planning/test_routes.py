"""The route table of a Portfolio: it is the decision, it is ours, and it is switched first."""

import json

import numpy as np
import pytest

from builders import UID, World, portfolio_body
from palm.route_table import parse_route_table, sha256_of
from palm.routing import objectives, ranking
from palm.usage import best_policy
from palm_operator import names
from palm_operator.deciding.decision import decide
from palm_operator.objects import contains


def published(**spec) -> World:
    made = World(body=portfolio_body(**spec))
    made.run()
    made.step()
    return made


def table_of(made):
    return parse_route_table(made.routes["data"]["routes.json"])


def begin_refresh(made) -> None:
    made.body["spec"]["training"] = {"seed": 7, "parallelism": 3}
    made.step()


def test_the_table_is_the_decision_and_where_it_is_served():
    made = published()
    table, deployed = table_of(made), made.body["status"]["portfolio"]
    work = made.work
    decision = decide(made.portfolio, work, made.observed.evidence)
    assert (table.key, table.revision) == ("ml/assistant", deployed["revision"])
    assert table.rewards == ("steps", "brevity")
    assert [p.name for p in table.policies] == [p["name"] for p in deployed["policies"]]
    assert [p.weights for p in table.policies] == [p.weights for p in decision.survivors]
    assert [p.usage for p in table.policies] == list(decision.usage)
    assert [m.scale for m in table.normalization] == list(work.calibration.scale)
    assert all(p.ready and p.model == p.name for p in table.policies)
    assert [p.url for p in table.policies] == [
        f"http://{p['service']}-predictor.ml.svc.cluster.local/v1" for p in deployed["policies"]
    ]
    assert decision.guaranteed.certificate is not None
    assert table.guarantee.delta == decision.guaranteed.certificate.delta
    assert table.guarantee.scope == "Simplex"


def test_choosing_from_the_table_is_choosing_from_the_decision():
    made = published()
    table, work = table_of(made), made.work
    decision = decide(made.portfolio, work, made.observed.evidence)
    kept = decision.outcomes.utilities[list(decision.pruning.indices)]
    weights = np.random.default_rng(0).dirichlet(np.ones(2), size=2_000)
    expected = best_policy(weights=weights, utilities=kept)
    chosen = [ranking(objectives(w, table))[0] for w in weights.tolist()]
    assert chosen == expected.tolist()


def test_the_config_map_is_the_portfolios_own_and_its_text_is_hashed():
    metadata = published().routes["metadata"]
    assert metadata["name"] == "assistant-routes"
    (owner,) = metadata["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("Portfolio", UID, True)
    assert metadata["labels"]["palm-operator.dev/component"] == "route-table"
    content = published().routes["data"]["routes.json"]
    assert metadata["annotations"]["palm-operator.dev/sha256"] == sha256_of(content)


def test_an_unchanged_table_is_not_written_again():
    made = published()
    assert not made.planned().acts


def test_a_table_that_somebody_edited_or_deleted_is_written_again():
    made = published()
    good = made.routes
    for damage in (
        None,
        {**good, "data": {"routes.json": "{}"}},
        {**good, "metadata": {**good["metadata"], "labels": {}}},
    ):
        made.routes = damage
        (written,) = made.planned().applies
        assert contains(written, good)


def test_nothing_is_retired_in_the_pass_that_switches_the_table():
    made = published()
    before, services = table_of(made), set(made.services)
    begin_refresh(made)
    for _ in range(30):
        for name in made.unfinished:
            made.finish(name)
        made.serve()
        plan = made.step()
        assert services <= set(made.services)
        if table_of(made).revision != before.revision:
            break
    assert table_of(made).revision != before.revision
    assert plan.continues
    after = made.step()
    assert {child.name for child in after.deletes} == services


def test_serving_that_is_switched_off_is_retired_after_the_table_says_so():
    made = published()
    services = set(made.services)
    made.body["spec"]["serving"] = {"mode": "None"}
    plan = made.step()
    assert plan.continues
    assert plan.deletes == ()
    assert {(p.url, p.ready) for p in table_of(made).policies} == {(None, False)}
    after = made.step()
    assert {child.name for child in after.deletes} == services


def test_while_a_successor_is_made_the_table_names_what_serves_and_follows_its_readiness():
    made = published()
    before = table_of(made)
    begin_refresh(made)
    assert table_of(made) == before
    down = next(iter(made.services))
    made.silent = {down}
    plan = made.step()
    assert [a["kind"] for a in plan.applies] == ["ConfigMap"]
    policy = made.services[down]["metadata"]["labels"][names.LABEL_POLICY]
    assert {p.name for p in table_of(made).policies if not p.ready} == {policy}
    del made.services[down]
    made.step()
    gone = next(p for p in table_of(made).policies if p.name == policy)
    assert (gone.url, gone.ready) == (None, False)
    assert not [a for a in made.planned().applies if a["kind"] == "ConfigMap"]


def test_before_anything_answers_the_table_says_so():
    made = World(body=portfolio_body())
    for _ in range(30):
        made.step()
        for name in made.unfinished:
            made.finish(name)
        if made.routes:
            break
    assert [(p.url, p.ready) for p in table_of(made).policies] == [(None, False)] * len(
        table_of(made).policies
    )


def test_a_portfolio_that_is_not_served_has_a_table_without_addresses():
    made = World(body=portfolio_body(serving={"mode": "None"}))
    made.run()
    assert {(p.url, p.ready) for p in table_of(made).policies} == {(None, False)}


@pytest.mark.parametrize(
    "url",
    [
        "http://elsewhere.example",
        "http://user@{host}",
        "file://{host}/etc/passwd",
        "http://{host}/?x=",
        "http://{host}/#x",
        "http://{host}/" + "a" * 600,
    ],
)
def test_an_address_that_is_none_makes_a_policy_not_ready(url):
    made = published()
    for name, service in made.services.items():
        host = f"{name}-predictor.ml.svc.cluster.local"
        service["status"]["address"]["url"] = url.format(host=host)
    made.step()
    assert {(p.url, p.ready) for p in table_of(made).policies} == {(None, False)}


def test_a_foreign_config_map_of_that_name_is_not_touched():
    made = published()
    made.routes = {"metadata": {"name": "assistant-routes"}, "data": {"mine": "yes"}}
    made.conflicts = ("assistant-routes",)  # what the executor found
    plan = made.step()
    assert plan.applies == ()
    assert made.condition("Published")["reason"] == "NameConflict"
    begin_refresh(made)
    assert made.planned().applies == ()


def test_long_and_odd_portfolio_names_have_tables_of_their_own():
    long = {names.route_table_name("a" * 250), names.route_table_name("a" * 249)}
    assert len(long) == 2
    assert all(len(name) <= 63 for name in long)
    assert names.route_table_name("a.b") != names.route_table_name("a-b")


def test_the_table_is_bounded_and_canonical():
    content = published().routes["data"]["routes.json"]
    assert content == json.dumps(json.loads(content), sort_keys=True, separators=(",", ":"))
