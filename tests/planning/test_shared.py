"""SharedAdapters: one server for all survivors, another one for another set. Pure."""

import json

import pytest

from builders import SETTINGS, World, portfolio_body
from palm_operator import names
from palm_operator.api.portfolio import parse_portfolio
from palm_operator.refusing import Refused, check
from palm_operator.serving.shared import shared_name, shared_server


def world(**more) -> World:
    made = World(body=portfolio_body(serving={"mode": "SharedAdapters"}), **more)
    made.run()
    return made


@pytest.fixture
def served() -> World:
    made = world()
    assert made.condition("Published")["status"] == "True"
    return made


def policies(made: World) -> list[dict]:
    return made.body["status"]["portfolio"]["policies"]


def refreshed(made: World) -> str:
    """Train another revision until its server is made; the name of that server."""
    before = set(made.services)
    made.body["spec"]["training"] = {"seed": 7, "parallelism": 9}
    for _ in range(20):
        made.step()
        for name in made.unfinished:
            made.finish(name)
        if new := set(made.services) - before:
            return new.pop()
    raise AssertionError("nothing was published")


def test_one_server_serves_every_survivor_under_its_own_name(served):
    (service,) = served.services
    assert len(policies(served)) > 1
    assert {(p["service"], p["ready"]) for p in policies(served)} == {(service, True)}
    assert [p["model"] for p in policies(served)] == [p["name"] for p in policies(served)]
    assert len({p["url"] for p in policies(served)}) == 1
    assert (
        served.condition("Ready")["message"] == f"all {len(policies(served))} policies are served"
    )


def test_an_adapter_that_does_not_answer_keeps_the_set_from_being_published(served):
    served.silent = set(served.services)
    served.step()
    assert served.condition("Published")["reason"] == "NotAnswering"
    assert not any(p["ready"] for p in policies(served))


def test_another_set_gets_a_second_server_and_the_old_one_goes_after_the_switch(served):
    (old,) = served.services
    new = refreshed(served)
    assert set(served.services) == {old, new}
    served.step()
    assert {p["service"] for p in policies(served)} == {old}
    assert served.condition("Ready")["status"] == "True"
    served.serve()
    served.step()  # it answers: the status says so, and nothing is retired before it did
    assert {p["service"] for p in policies(served)} == {new}
    assert set(served.services) == {old, new}
    served.step()
    assert set(served.services) == {new}


def test_a_changed_template_changes_the_server_and_not_its_name(served):
    before = set(served.services)
    served.body["spec"]["serving"]["template"] = {"image": "other:2"}
    assert len(served.step().applies) == 1
    assert set(served.services) == before


def test_going_from_a_server_each_to_a_shared_one_leaves_no_gap():
    made = World(body=portfolio_body())
    made.run()
    old = set(made.services)
    made.body["spec"]["serving"] = {"mode": "SharedAdapters"}
    made.step()
    assert len(set(made.services) - old) == 1
    assert {p["service"] for p in policies(made)} == old
    made.serve()
    made.step()
    made.step()
    assert len(made.services) == 1
    assert made.condition("Ready")["status"] == "True"


def test_where_kserve_has_llminferenceservices_it_is_one_of_them():
    made = world(serves_llms=True)
    ((name, body),) = made.services.items()
    assert body["kind"] == "LLMInferenceService"
    lora = body["spec"]["model"]["lora"]
    assert lora["maxAdapters"] == len(lora["adapters"]) == len(policies(made))
    assert {a["name"] for a in lora["adapters"]} == {p["name"] for p in policies(made)}
    assert made.condition("Ready")["status"] == "True"
    url = f"http://{name}-kserve-workload-svc.ml.svc.cluster.local:8000"
    assert {p["url"] for p in policies(made)} == {url}


def test_without_inferenceservices_an_llminferenceservice_is_enough():
    made = world(serves=False, serves_llms=True)
    assert made.condition("Published")["status"] == "True"
    made = world(serves=False)
    assert made.condition("Published")["reason"] == "KServeAbsent"


def test_the_name_is_of_the_set_whatever_the_order(served):
    portfolio, (first, second, *_) = served.portfolio, served.work.policies
    name = shared_name(portfolio, (first, second), "InferenceService")
    assert shared_name(portfolio, (second, first), "InferenceService") == name
    assert shared_name(portfolio, (first,), "InferenceService") != name
    body = portfolio_body(baseModel={"uri": "s3://models/other"})
    assert shared_name(parse_portfolio(body), (first, second), "InferenceService") != name
    made = [
        shared_server(portfolio, served.work, order, "InferenceService")
        for order in ((first, second), (second, first))
    ]
    assert made[0] == made[1]


def test_an_auditor_finds_each_policy_with_weights_and_digest_on_the_server(served):
    (body,) = served.services.values()
    annotations = body["metadata"]["annotations"]
    listed = json.loads(annotations[names.ANNOTATION_POLICIES])
    survivors = {p.name: p for p in served.work.policies if p.name in listed}
    assert set(listed) == {p["name"] for p in policies(served)}
    for name, entry in listed.items():
        assert entry["digest"] == survivors[name].digest
        assert entry["weights"]
        evaluated = f"{name}={survivors[name].evaluation_digest}"
        assert evaluated in annotations[names.ANNOTATION_EVALUATION_DIGEST]


@pytest.mark.parametrize("text", ["", "[]", "{", '"w0"'])
def test_policies_that_cannot_be_read_are_none(text):
    assert names.served_policies({"annotations": {names.ANNOTATION_POLICIES: text}}) == ()


def test_a_namespace_without_room_for_the_servers_name_is_refused():
    body = portfolio_body(serving={"mode": "SharedAdapters"})
    body["metadata"]["namespace"] = "n" * 40
    with pytest.raises(Refused, match="KServe allows 52"):
        check(parse_portfolio(body), SETTINGS)
