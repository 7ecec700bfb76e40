"""By which ways an answer is looked for, in which order, and who is told the token."""

import pytest

from palm_cli.failures import InvalidInput, Unavailable
from palm_cli.route_tables import Gateway
from palm_cli.talking import Speaker
from palm_cli.ways import Way, base_url, proxy_path, through_gateway, to_policies
from palm_gateway.choice import choose
from palm_gateway.tables import Route
from routes import make_table


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://w00-predictor.ml.svc/v1", "ml/services/w00-predictor:80/proxy/v1"),
        ("http://w00.ml.svc.cluster.local:8080/v1/", "ml/services/w00:8080/proxy/v1"),
        ("https://w00.ml.svc.example/v1", "ml/services/https:w00:443/proxy/v1"),
    ],
)
def test_a_service_of_the_cluster_is_reached_by_the_api_servers_proxy(url, path):
    assert proxy_path(url) == f"/api/v1/namespaces/{path}"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/v1",
        "http://llm.example/v1",
        "http://ml.svc/v1",
        "http://a.b.c.svc/v1",
        "http://w00.ml.svcx/v1",
        "ftp://w00.ml.svc/v1",
        "http://[::1]/v1",
    ],
)
def test_other_addresses_are_not(url):
    assert proxy_path(url) is None


def test_policies_are_asked_best_first_each_by_its_address_and_then_by_the_proxy():
    table = make_table([[1.0, 0.0], [0.0, 1.0]],
                       urls=["http://a.ml.svc/v1", "http://b.example/v1"])  # fmt: skip
    choice = choose(Route(table), {"reward-1": 3.0, "reward-0": 1.0}, lambda _: True)
    first, second, third = to_policies(choice)
    assert (first.url, first.proxied) == ("http://b.example/v1", False)
    assert first.said["x-palm-policy"] == table.policies[1].name
    assert "x-palm-fallback" not in first.said
    assert (second.url, second.proxied) == ("http://a.ml.svc/v1", False)
    assert third.proxied
    assert third.said["x-palm-fallback"] == f"{table.policies[1].name}=unreachable"


def test_a_gateway_gets_the_preference_and_says_itself_who_answers():
    direct, proxied = through_gateway(Gateway("http://g.sys.svc/v1", "ml/assistant"), "x=2,y=1")
    assert direct.fields == {"preference": {"x": 2.0, "y": 1.0}}
    assert (direct.model, direct.said) == ("ml/assistant", {})
    assert proxied.url == "/api/v1/namespaces/sys/services/g:80/proxy/v1"
    (only,) = through_gateway(Gateway("https://g.example/v1", "ml/assistant"), "")
    assert only.fields == {}


@pytest.mark.parametrize("text", ["https://g", "https://g/", "https://g/v1", "https://g/v1/"])
def test_a_gateway_is_named_with_or_without_the_version(text):
    assert base_url(text) == "https://g/v1"


def test_the_token_is_for_the_gateway_alone():
    speaker = Speaker(None, token="a-token")
    asked = {"the gateway": {}, "a policy": {"x-palm-policy": "w00"}}
    keys = {}
    for what, said in asked.items():
        with speaker._client(Way(what, "http://127.0.0.1:1/v1", "m", said=said)) as client:
            keys[what] = client.api_key
    assert keys == {"the gateway": "a-token", "a policy": "none"}


def test_where_nobody_answers_each_way_is_told():
    ways = [Way(f"way {n}", "http://127.0.0.1:1/v1", "m") for n in (1, 2)]
    proxied = Way("by proxy", "/api/v1", "m", proxied=True)
    with pytest.raises(Unavailable) as caught:
        Speaker(None).ask([*ways, proxied], [{"role": "user", "content": "x"}])
    assert "way 1: " in str(caught.value)
    assert "way 2: " in str(caught.value)
    assert "by proxy" not in str(caught.value)  # there is no cluster
    with pytest.raises(Unavailable, match="no policy is served yet"):
        Speaker(None).ask([], [])


def test_a_question_that_is_refused_is_not_asked_elsewhere():
    class Refusal:
        status_code, body, message = 400, {"message": "unknown reward\x1b[2J"}, "no"

    error = Speaker(None)._refusal(Way("the gateway", "http://g/v1", "m"), Refusal())
    assert isinstance(error, InvalidInput)
    assert str(error) == "the gateway refuses the question (400): unknown reward?[2J"
