"""The way into a cluster: which kubeconfig, what its complaints say, and a watch on bad days."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest

from cli.invoke import palm
from palm_cli import cluster as module
from palm_cli.access import Access, Where, access
from palm_cli.cluster import Cluster, Forbidden, NotAnswering
from palm_cli.failures import Unavailable

CONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "here",
    "clusters": [
        {"name": "near", "cluster": {"server": "http://near.example"}},
        {"name": "far", "cluster": {"server": "https://far.example:6443/"}},
    ],
    "users": [{"name": "me", "user": {"token": "a-token"}}],
    "contexts": [
        {"name": "here", "context": {"cluster": "near", "user": "me", "namespace": "ml"}},
        {"name": "there", "context": {"cluster": "far", "user": "me"}},
    ],
}


@pytest.fixture
def kubeconfig(tmp_path, monkeypatch):
    file = tmp_path / "config"
    file.write_text(json.dumps(CONFIG))
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'absent'}:{file}")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return file


def test_context_and_namespace_are_chosen_as_kubectl_chooses_them(kubeconfig):
    def chosen(**where):
        found = access(Where(**where))
        return found.host, found.namespace

    assert chosen() == ("http://near.example", "ml")
    assert chosen(namespace="other") == ("http://near.example", "other")
    assert chosen(context="there") == ("https://far.example:6443", "default")
    assert chosen(kubeconfig=str(kubeconfig), context="here") == ("http://near.example", "ml")


def test_credentials_replace_what_another_layer_put_there(kubeconfig):
    with access(Where()).client() as client:
        request = client.build_request("GET", "http://near.example", headers={"authorization": "x"})
        for hook in client.event_hooks["request"]:
            hook(request)
    assert request.headers["authorization"] == "Bearer a-token"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--context", "nowhere"), "has no context nowhere; known are here, there"),
        (("--kubeconfig", "/no/such"), "there is no kubeconfig /no/such"),
    ],
)
def test_what_the_kubeconfig_lacks_is_named(kubeconfig, arguments, complaint):
    ran = palm("status", "assistant", *arguments)
    assert (ran.code, ran.out) == (4, "")
    assert complaint in ran.err


@pytest.mark.parametrize("content", ["", "- a", "{", "clusters: {}", "contexts: [1]"])
def test_a_damaged_kubeconfig_is_named(kubeconfig, content):
    kubeconfig.write_text(content)
    ran = palm("status", "assistant")
    assert ran.code == 4
    assert str(kubeconfig) in ran.err


def test_without_a_kubeconfig_it_says_how_to_name_one(monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for arguments in (("status", "a"), ("select", "a"), ("chat", "a", "hello")):
        ran = palm(*arguments)
        assert ran.code == 4
        assert "name one with --kubeconfig or the variable KUBECONFIG" in ran.err


def test_a_server_that_is_not_there_is_named(kubeconfig):
    document = {**CONFIG, "clusters": [
        {"name": n, "cluster": {"server": "http://127.0.0.1:1"}} for n in ("near", "far")
    ]}  # fmt: skip
    kubeconfig.write_text(json.dumps(document))
    ran = palm("status", "assistant")
    assert ran.code == 4
    assert "the API server http://127.0.0.1:1 does not answer" in ran.err


class ApiServer:
    """Answers as the test says, one request after the other; then it breaks connections."""

    def __init__(self, *answers):
        self.answers, self.seen = list(answers), []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.seen.append(self.path)
                if not outer.answers:
                    self.close_connection = True
                    return
                status, lines = outer.answers.pop(0)
                self.send_response(status)
                self.end_headers()
                for line in lines:
                    self.wfile.write(json.dumps(line).encode() + b"\n")

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self):
        self._thread.start()
        host = f"http://127.0.0.1:{self._server.server_port}"
        return Cluster(Access(lambda: httpx2.Client(trust_env=False), host, "ml"))

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def portfolio(version, name="assistant", namespace="ml"):
    return {"metadata": {"name": name, "namespace": namespace, "resourceVersion": str(version)}}


def event(kind, version):
    return {"type": kind, "object": portfolio(version)}


def refusal(code, message="no"):
    return code, [{"kind": "Status", "message": message, "code": code}]


def versions(changes):
    return [
        change.trouble or (change.body or {}).get("metadata", {}).get("resourceVersion")
        for change in changes
    ]


def test_a_watch_goes_on_where_it_was_and_ends_when_the_object_is_gone(monkeypatch):
    monkeypatch.setattr(module, "_FIRST_PAUSE_SECONDS", 0.01)
    bookmark = event("BOOKMARK", 9)
    server = ApiServer(
        (200, [portfolio(5)]),
        (200, [event("MODIFIED", 6), bookmark]),  # and the server ends the watch
        (200, [event("MODIFIED", 10), event("DELETED", 11)]),
    )
    with server as cluster, cluster:
        assert versions(cluster.follow("assistant")) == ["5", "6", "10", None]
    assert "fieldSelector=metadata.name%3Dassistant" in server.seen[1]
    assert "resourceVersion=5" in server.seen[1]
    assert "resourceVersion=9" in server.seen[2]


def test_a_watch_that_fails_reads_the_object_again(monkeypatch):
    monkeypatch.setattr(module, "_FIRST_PAUSE_SECONDS", 0.01)
    expired = {"type": "ERROR", "object": {"code": 410, "message": "too old"}}
    server = ApiServer(
        (200, [portfolio(5)]),
        (200, [expired]),
        (200, [portfolio(50)]),
        refusal(503, "etcd is away"),
        (200, [portfolio(60)]),
        (200, [event("MODIFIED", 61)]),
        (200, [{"type": "ADDED"}]),
        refusal(404, "gone"),
    )
    with server as cluster, cluster:
        seen = versions(cluster.follow("assistant"))
    assert seen[0:1] + seen[2:3] + seen[4:6] + seen[-1:] == ["5", "50", "60", "61", None]
    assert "too old" in seen[1]
    assert "answers 503: etcd is away" in seen[3]


def test_a_name_that_nobody_has_is_answered_with_those_that_are_near():
    missing = refusal(404, "not found")
    listed = (200, [{"items": [portfolio(1, "assistant"), portfolio(1, "translator")]}])
    with ApiServer(missing, listed) as cluster, cluster, pytest.raises(Unavailable) as caught:
        cluster.portfolio("asistant")
    assert str(caught.value) == (
        "there is no Portfolio asistant in namespace ml; there are assistant and 1 more"
    )
    elsewhere = (200, [{"items": [portfolio(1, "assistant", "team")]}])
    answers = (missing, (200, [{"items": []}]), elsewhere)
    with ApiServer(*answers) as cluster, cluster, pytest.raises(Unavailable) as caught:
        cluster.portfolio("assistant")
    assert str(caught.value).endswith("elsewhere there is team/assistant")


def test_refusals_say_what_is_needed():
    with (
        ApiServer(refusal(403, "bob cannot")) as cluster,
        cluster,
        pytest.raises(Forbidden) as caught,
    ):
        cluster.portfolio("assistant")
    assert str(caught.value) == (
        "bob cannot; needed is the verb get on portfolios.palm-operator.dev in namespace ml"
    )
    with ApiServer(refusal(401)) as cluster, cluster, pytest.raises(Unavailable, match="log in"):
        cluster.portfolio("assistant")
    absent = (404, ["404 page not found"])
    with ApiServer(absent) as cluster, cluster, pytest.raises(Unavailable, match="CRD is not inst"):
        cluster.portfolio("assistant")
    with ApiServer() as cluster, cluster, pytest.raises(NotAnswering):
        cluster.portfolio("assistant")
