"""A gateway in front of policies that KServe serves: each preference reaches its best policy.

And what ``palm`` shows a person of them, with that person's rights.
"""

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from cli.invoke import EXAMPLES, needs_cluster, palm
from gateways import WORDS, GatewayProcess, Loop, Upstream
from palm.route_table import parse_route_table
from palm.routing import objectives, ranking, weight_vector

NAMESPACE = "ml"  # as the examples of the help have it
GATEWAY_URL = "http://gateway.ml.svc"  # there is none: it is reached by its port
OPERATOR_SETTINGS = {"PALM_GATEWAY_URL": GATEWAY_URL}
PERSONS = ("--max-tokens", "4", "What is 2 + 3?")
pytestmark = [pytest.mark.cluster, pytest.mark.model]


def table_of(tenant):
    body = json.loads(tenant.kubectl("get", "configmap", "assistant-routes", "-o", "json"))
    return parse_route_table(body["data"]["routes.json"])


@pytest.fixture(scope="module")
def gateway(served, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gateway")
    system = f"{served.namespace}-operator"
    with GatewayProcess(served.cluster, served.namespace, folder, system=system) as made:
        yield made
    assert "secret" not in made.log


def test_each_preference_is_answered_by_its_best_policy(gateway, served):
    served.eventually(lambda: all(policy.ready for policy in table_of(served).policies))
    table = table_of(served)
    served.eventually(lambda: gateway.client.models.retrieve(table.key).palm["ready"])
    answered = set()
    for preference in ({"steps": 1}, {"brevity": 1}, {"steps": 3, "brevity": 4}):
        weights = weight_vector(preference, table.rewards)
        best = table.policies[ranking(objectives(weights, table))[0]]
        answer = gateway.chat(**preference)
        assert answer.headers["x-palm-policy"] == best.name
        assert answer.parse().model == best.name
        answered.add(best.name)
    assert len(answered) > 1


@pytest.fixture
def person(served, tmp_path, monkeypatch):
    """A person's kubeconfig, whose context has the Portfolio's namespace."""
    config = json.loads(served.cluster.kubeconfig.read_text())
    for context in config["contexts"]:
        context["context"]["namespace"] = served.namespace
    (tmp_path / "config").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_select_chooses_what_the_gateway_chooses(gateway, served, person):
    for preference in ({"steps": 1}, {"brevity": 1}, {"steps": 3, "brevity": 4}):
        text = ",".join(f"{name}={amount}" for name, amount in preference.items())
        ran = palm("select", "assistant", "--preference", text, "-o", "json", "--explain")
        headers = gateway.chat(**preference).headers
        assert ran.answer["policy"] == headers["x-palm-policy"]
        absolute = headers["x-palm-shortfall"].split(",")[0].removeprefix("absolute=")
        assert ran.answer["shortfall"]["absolute"] == float(absolute)
        assert len(ran.answer["policies"]) == len(served.policies)
    ran = palm("select", "assistant", "-p", "funniness=1")
    assert (ran.code, "this portfolio knows steps, brevity" in ran.err) == (2, True)


def test_chat_reaches_the_best_policy_with_and_without_a_gateway(gateway, served, person):
    best = palm("select", "assistant", "-p", "brevity=1", "-o", "json").answer["policy"]
    url = f"http://127.0.0.1:{gateway.port}"
    through = palm("chat", "ml/assistant", "-p", "brevity=1", "--gateway", url, *PERSONS)
    assert through.code == 0, through.err
    assert f"[{best}, at most" in through.err
    # The gateway of the status has no address that this machine knows, nor the API server.
    direct = palm("chat", "assistant", "-p", "brevity=1", *PERSONS)
    assert direct.code == 0, direct.err
    assert f"by policy {best} at {served.cluster.services_url}" in direct.err
    assert direct.err.split("; by")[0] == through.err.split("; by")[0]


def test_compare_puts_every_policy_side_by_side(served, person):
    ran = palm("chat", "assistant", "-p", "steps=1", "--compare", *PERSONS)
    assert (ran.code, ran.err) == (0, "")
    best = palm("select", "assistant", "-p", "steps=1", "-o", "json").answer["policy"]
    assert f"★ {best}" in ran.out
    assert all(policy["name"] in ran.out for policy in served.policies)


def test_the_api_servers_proxy_leads_to_a_service(served, person):
    """Where its Pods have addresses that the API server may ask; those of the node are loopback."""
    from palm_cli.access import Where
    from palm_cli.cluster import connected
    from palm_cli.talking import Speaker, whole
    from palm_cli.ways import Way, proxy_path

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.255", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        host = probe.getsockname()[0]
    loop = Loop()
    upstream = Upstream("proxied", loop, host=host)
    upstream.start()
    objects = [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "proxied"},
         "spec": {"ports": [{"name": "http", "port": 80, "targetPort": upstream.port}]}},
        {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "proxied"},
         "subsets": [{"addresses": [{"ip": host}],
                      "ports": [{"name": "http", "port": upstream.port}]}]},
    ]  # fmt: skip
    served.kubectl("create", "-f", "-", stdin="\n---\n".join(map(json.dumps, objects)))
    path = proxy_path(f"http://proxied.{served.namespace}.svc.cluster.local/v1")
    way = Way("the service", path, "w00", proxied=True)
    try:
        with connected(Where()) as cluster:
            reply = Speaker(cluster).ask([way], [{"role": "user", "content": "hello"}])
            assert whole(reply) == "".join(WORDS)
        ((_, headers, _),) = upstream.seen
        assert "authorization" not in headers
        config = stranger_of(served, person)
        needed = pytest.raises(Exception, match="needed is the verb create on services/proxy")
        with connected(Where(kubeconfig=str(config))) as cluster, needed:
            Speaker(cluster).ask([way], [{"role": "user", "content": "hello"}])
    finally:
        served.kubectl("delete", "service,endpoints", "proxied", "--ignore-not-found")
        upstream.stop()
        loop.close()


def stranger_of(served, folder: Path) -> Path:
    """The kubeconfig of a ServiceAccount without rights."""
    if "stranger" not in served.kubectl("get", "serviceaccounts"):
        served.kubectl("create", "serviceaccount", "stranger")
    config = json.loads((folder / "config").read_text())
    token = served.kubectl("create", "token", "stranger").strip()
    config["users"] = [{"name": "stranger", "user": {"token": token}}]
    for context in config["contexts"]:
        context["context"]["user"] = "stranger"
    (folder / "stranger").write_text(json.dumps(config))
    return folder / "stranger"


def test_status_has_all_that_a_person_wants(served, person):
    assert served.portfolio["status"]["gateway"] == {
        "url": f"{GATEWAY_URL}/v1", "model": "ml/assistant",
    }  # fmt: skip
    ran = palm("status", "assistant")
    assert (ran.code, ran.err) == (0, "")
    assert "ml/assistant  ● serving" in ran.out
    for policy in served.policies:
        assert policy["name"] in ran.out
    for part in ("oracle calls", "guarantee", "gateway", f"{GATEWAY_URL}/v1", "#1 revision"):
        assert part in ran.out, part
    answer = palm("status", "assistant", "-o", "json").answer
    assert (answer["phase"], answer["problems"], answer["running"]) == ("serving", [], [])
    assert len(answer["status"]["portfolio"]["policies"]) == 2


def test_who_mistypes_or_may_not_is_told_what_helps(served, person):
    ran = palm("status", "asistant")
    assert ran.code == 4
    assert "there is no Portfolio asistant in namespace ml; there is assistant" in ran.err
    config = stranger_of(served, person)
    for command in ("status", "select"):
        ran = palm(command, "assistant", "--kubeconfig", config)
        assert ran.code == 4
        assert "system:serviceaccount:ml:stranger" in ran.err
        assert "needed is the verb get on portfolios.palm-operator.dev in namespace ml" in ran.err
    ran = palm("select", "assistant", "-n", "default")
    # The cluster is every module's: there may be Portfolios of others too.
    assert re.search("elsewhere there (is|are) .*ml/assistant", ran.err), ran.err


READING = ("status", "select", "chat")


@pytest.mark.parametrize(
    "example", [e for e in EXAMPLES if needs_cluster(e) and e.split()[1] in READING]
)
def test_examples_of_the_help_run(gateway, served, person, example):
    """Under this Portfolio's own rewards; one that follows is tested below."""
    (person / "token.txt").write_text("any\n")
    line = example.replace("helpfulness", "steps")
    line = line.replace("https://llm.example.com", f"http://127.0.0.1:{gateway.port}")
    program, *arguments = shlex.split(line, comments=True)
    assert program == "palm"
    if arguments[0] == "chat":
        arguments.append("--max-tokens=4")
    if "--watch" not in arguments:
        ran = palm(*arguments)
        assert ran.code == 0, ran.err
        assert ran.out


def test_watch_shows_changes_and_ends_cleanly_on_an_interrupt(served, person):
    command = [str(Path(sys.executable).parent / "palm"), "status", "assistant", "--watch"]
    log = person / "watched"
    with log.open("wb") as out, (person / "complaints").open("wb") as err:
        # Where the tests themselves run in the background, an interrupt is ignored.
        heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        watching = subprocess.Popen(command, stdout=out, stderr=err, preexec_fn=heard)
    try:
        for count in (1, 2):
            served.eventually(lambda n=count: log.read_text().count("● serving") >= n)
            served.kubectl("annotate", "pfo", "assistant", f"test/seen={count}", "--overwrite")
        begin = log.read_text().count("●")
        time.sleep(2)
        assert log.read_text().count("●") - begin <= 1  # nothing happens, nothing is asked
        watching.send_signal(signal.SIGINT)
        assert watching.wait(timeout=30) == 0
    finally:
        watching.kill()
        watching.wait()
    assert (person / "complaints").read_text() == ""


def test_a_refresh_switches_the_gateway_without_a_failed_request(gateway, served):
    before = table_of(served).revision
    stop, failures, revisions = threading.Event(), [], []

    def load():
        while not stop.is_set():
            try:
                revisions.append(gateway.chat(steps=1).headers["x-palm-revision"])
            except Exception as error:
                failures.append(error)
            stop.wait(0.2)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        served.apply(7)
        served.eventually(lambda: table_of(served).revision != before)
        services = {policy["service"] for policy in served.policies}
        served.eventually(
            lambda: {isvc["metadata"]["name"] for isvc in served.objects("isvc")} == services
        )
        served.eventually(lambda: revisions[-1] != before)
    finally:
        stop.set()
        thread.join(timeout=60)
    assert failures == []
    assert set(revisions) == {before, table_of(served).revision}
