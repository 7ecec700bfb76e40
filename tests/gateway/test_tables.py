"""Which ConfigMaps are believed, which settings are refused, who is asked in which order."""

from pathlib import Path

import pytest

from gateways import REWARDS, UTILITIES
from palm.errors import InvalidRouteTable
from palm_gateway.choice import choose, headers_of
from palm_gateway.directory import Directory
from palm_gateway.outages import Outages
from palm_gateway.settings import Settings, settings_from
from palm_gateway.tables import Tables, UnknownModel, is_allowed, route_of
from palm_operator import names
from routes import config_map, make_table

CLUSTER = Settings.upstream_hosts


def route(body=None, **arguments):
    ordinary = {"namespaces": ("ml",), "hosts": CLUSTER, "default_preferences": {}}
    return route_of(body or config_map(table()), **{**ordinary, **arguments})


def table(**parts):
    return make_table(UTILITIES, rewards=REWARDS, **parts)


def test_a_table_of_a_portfolio_of_a_served_namespace_is_believed():
    assert route().table == table()


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ({"namespace": "kube-system"}, "'kube-system' is not served"),
        ({"ownerReferences": []}, "no Portfolio controls it"),
        ({"name": "other"}, "has not the name"),
        ({"annotations": {}}, "hash"),
        ({"annotations": {names.ANNOTATION_SHA256: "0" * 64}}, "hash"),
    ],
)
def test_others_are_refused(damage, complaint):
    with pytest.raises(InvalidRouteTable, match=complaint):
        route(config_map(table(), **damage))


@pytest.mark.parametrize(
    "owner",
    [
        {"controller": False},
        {"kind": "Deployment"},
        {"apiVersion": "apps/v1"},
        {"apiVersion": "evil.palm-operator.dev/v1"},
    ],
)
def test_only_a_portfolio_counts_as_owner(owner):
    body = config_map(table())
    body["metadata"]["ownerReferences"][0] |= owner
    with pytest.raises(InvalidRouteTable, match="no Portfolio controls it"):
        route(body)


def test_a_table_that_speaks_of_another_portfolio_is_refused():
    body = config_map(table(portfolio="another"), name=names.route_table_name("assistant"))
    body["metadata"]["ownerReferences"][0]["name"] = "assistant"
    with pytest.raises(InvalidRouteTable, match="is of ml/another"):
        route(body)
    with pytest.raises(InvalidRouteTable, match="is of other/assistant"):
        route(config_map(table(namespace="other"), namespace="ml"))


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://a.ml.svc/v1", True),
        ("https://a.ml.svc.cluster.local:8443/v1", True),
        ("http://A.ML.svc", True),
        ("http://a.b.ml.svc", True),
        ("http://a.other.svc", False),
        ("http://.ml.svc", False),
        ("http://ml.svc", False),
        ("http://aml.svc", False),
        ("http://a.ml.svc.evil.example", False),
        ("http://evil.example/a.ml.svc", False),
        ("http://169.254.169.254", False),
        ("http://127.0.0.1:6443", False),
        ("http://[::1]:80", False),
        ("http://kubernetes.default.svc", False),
    ],
)
def test_a_policy_is_asked_only_inside_its_namespace(url, allowed):
    assert is_allowed(url, "ml", CLUSTER) is allowed
    body = config_map(table(urls=[url] * 3))
    if allowed:
        route(body)
    else:
        with pytest.raises(InvalidRouteTable, match="allowed are"):
            route(body)


def test_other_hosts_can_be_allowed_one_by_one():
    hosts = ("models.example", "*.gpu.example", "[::1]", "{namespace}.example")
    for url in (
        "http://models.example/x",
        "http://a.gpu.example",
        "http://[::1]:8",
        "http://ml.example",
    ):
        assert is_allowed(url, "ml", hosts)
    for url in ("http://a.models.example", "http://gpu.example", "http://other.example"):
        assert not is_allowed(url, "ml", hosts)


def directory(**settings):
    told = []
    made = Directory(Settings(**{"namespaces": ("ml", "other"), **settings}), told.append)
    return made, told


def test_a_list_replaces_its_namespace_and_no_other():
    made, told = directory()
    assert not made.is_synced
    made.listed("ml", [config_map(table()), config_map(table(portfolio="second"))])
    assert not made.is_synced
    made.listed("other", [config_map(table(namespace="other"))])
    assert made.is_synced
    made.listed("ml", [config_map(table(portfolio="second"))])
    assert list(made.tables.by_key) == ["ml/second", "other/assistant"]
    assert told[-1] is made.tables


def test_a_damaged_table_leaves_the_last_good_one_and_is_counted(caplog):
    made, _ = directory()
    made.changed(config_map(table()))
    made.changed({**config_map(table()), "data": {}})
    assert made.tables.find("assistant").table == table()
    assert made.refused == 1
    assert "the last good one serves on" in caplog.text
    made.deleted(config_map(table()))
    assert not made.tables.by_key


def test_a_default_preference_that_names_no_reward_is_told_of_and_not_used(caplog):
    made, _ = directory(default_preferences={"ml/assistant": {"funniness": 1.0}})
    made.changed(config_map(table()))
    assert "unknown reward 'funniness'" in caplog.text
    assert made.tables.find("assistant").default_weights is None


def test_an_unknown_model_is_answered_with_a_bounded_list():
    many = Tables.of({f"ml/p{i}": route(config_map(table(portfolio=f"p{i}"))) for i in range(50)})
    with pytest.raises(UnknownModel, match="and 40 more") as caught:
        many.find("x" * 1000)
    assert len(str(caught.value)) < 400


def always(_):
    return True


def test_candidates_come_by_rank_and_those_that_are_down_last():
    made = route(config_map(table()))
    first = choose(made, {"helpfulness": 6, "brevity": 4}, always)
    assert [c.policy.name[:3] for c in first.candidates] == ["w01", "w00", "w02"]
    down = first.candidates[0].url
    second = choose(made, {"helpfulness": 6, "brevity": 4}, lambda url: url != down)
    assert [c.policy.name[:3] for c in second.candidates] == ["w00", "w02", "w01"]
    assert second.passed_over == (("w01-7c1f09", "down"),)
    said = dict(headers_of(second, second.candidates[0], {}))
    assert said[b"x-palm-fallback"] == b"w01-7c1f09=down"
    assert said[b"x-palm-shortfall"].startswith(b"absolute=0.12")


def test_one_try_at_a_time_is_spent_on_a_policy_that_is_down():
    now = [0.0]
    outages = Outages(patience=2.0, clock=lambda: now[0])
    assert outages.admits("a")
    outages.failed("a")
    assert not outages.admits("a")
    now[0] = 3.0
    assert outages.admits("a")
    outages.begin("a")
    assert not outages.admits("a")  # the others wait for the outcome
    outages.succeeded("a")
    assert outages.admits("a")
    outages.failed("a")
    outages.keep_only({"b"})
    assert outages.admits("a")


def test_an_outage_is_told_once_in_a_while():
    now = [0.0]
    outages = Outages(patience=2.0, clock=lambda: now[0])
    assert [outages.is_news("a", "down") for _ in range(3)] == [True, False, False]
    assert outages.is_news("a", "status-503")
    now[0] = 60.0
    assert outages.is_news("a", "down")


ORDINARY = {"PALM_GATEWAY_NAMESPACES": "ml, other,ml"}


def test_settings_come_from_the_environment():
    made = settings_from(
        {
            **ORDINARY,
            "PALM_GATEWAY_UPSTREAM_HOSTS": '["127.0.0.1", "*.{namespace}.svc"]',
            "PALM_GATEWAY_DEFAULT_PREFERENCES": '{"ml/a": "x=1,y=1/2"}',
            "PALM_GATEWAY_TOKEN_FILE": "/run/token",
            "PALM_GATEWAY_PORT": "0",
        }
    )
    assert made.namespaces == ("ml", "other")
    assert made.upstream_hosts == ("127.0.0.1", "*.{namespace}.svc")
    assert made.default_preferences == {"ml/a": {"x": 1.0, "y": 0.5}}
    assert made.token_file == Path("/run/token")
    assert settings_from(ORDINARY) == Settings(namespaces=("ml", "other"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NAMESPACES", ""),
        ("NAMESPACES", "ml,../x"),
        ("UPSTREAM_HOSTS", "*.svc"),
        ("UPSTREAM_HOSTS", '["*"]'),
        ("UPSTREAM_HOSTS", '["a.*.svc"]'),
        ("UPSTREAM_HOSTS", '["http://a"]'),
        ("PORT", "65536"),
        ("PORT", "1.5"),
        ("MAX_REQUESTS", "0"),
        ("TIMEOUT_SECONDS", "inf"),
        ("CONNECT_SECONDS", "nan"),
        ("DEFAULT_PREFERENCES", "[]"),
        ("DEFAULT_PREFERENCES", '{"ml/a": "x=-1"}'),
        ("TLS_KEY", "/run/key"),
    ],
)
def test_a_wrong_setting_is_named(name, value):
    with pytest.raises(ValueError, match=f"PALM_GATEWAY_{name}"):
        settings_from({**ORDINARY, f"PALM_GATEWAY_{name}": value})
