"""Which Pods stand behind a path, from Services and Pods alone; and the proxy on the cluster."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from palm_devcluster.proxy.routing import Destination, NoRoute, backends, destination


def service(*ports: dict[str, Any], **selector: str) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "ml", "name": "brief"},
        "spec": {"selector": selector, "ports": list(ports)},
    }


def pod(address: str, *, ready: str = "True", namespace: str = "ml", **labels: str) -> Any:
    return {
        "metadata": {"namespace": namespace, "labels": labels},
        "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 9000}]}]},
        "status": {"podIP": address, "conditions": [{"type": "Ready", "status": ready}]},
    }


HTTP = {"name": "http", "port": 80, "targetPort": 8080}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/ml/brief/v1/models", Destination("ml", "brief", "", "/v1/models")),
        ("/ml/brief:http/", Destination("ml", "brief", "http", "/")),
        ("/ml/brief", Destination("ml", "brief", "", "/")),
        ("/ml/brief/a%2Fb//c", Destination("ml", "brief", "", "/a%2Fb//c")),
    ],
)
def test_a_path_names_namespace_service_port_and_the_rest(path, expected):
    assert destination(path) == expected


@pytest.mark.parametrize("path", ["/", "/ml", "/ml/", "//brief/x"])
def test_another_path_is_refused(path):
    with pytest.raises(NoRoute, match="must be"):
        destination(path)


def test_only_ready_pods_of_the_selector_in_the_namespace_answer():
    going = pod("127.1.1.5", app="brief")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    pods = [
        pod("127.1.1.1", app="brief", extra="x"),
        pod("127.1.1.2", app="brief", ready="False"),
        pod("127.1.1.3", app="other"),
        pod("127.1.1.4", app="brief", namespace="elsewhere"),
        going,
    ]
    assert backends(service(HTTP, app="brief"), "", pods) == [("127.1.1.1", 8080)]


@pytest.mark.parametrize("port", ["", "http", "80"])
def test_a_port_is_found_by_name_by_number_and_by_default(port):
    other = {"name": "metrics", "port": 90, "targetPort": 9090}
    found = backends(service(HTTP, other, app="a"), port, [pod("127.1.1.1", app="a")])
    assert found == [("127.1.1.1", 8080)]


def test_a_named_target_port_is_the_containers():
    named = {"port": 80, "targetPort": "http"}
    assert backends(service(named, app="a"), "", [pod("127.1.1.1", app="a")]) == [
        ("127.1.1.1", 9000)
    ]


def test_what_leads_nowhere_is_said():
    with pytest.raises(NoRoute, match="no port 'grpc'"):
        backends(service(HTTP, app="a"), "grpc", [])
    with pytest.raises(NoRoute, match="selects no Pods"):
        backends(service(HTTP), "", [])


ECHO = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = f"{os.environ['POD']} {self.path} {self.headers['X-Kept']} ".encode() + body
        self.send_response(201)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("X-Answer", "yes")
        self.end_headers()
        self.wfile.write(answer)
http.server.ThreadingHTTPServer((os.environ["IP"], 8080), Handler).serve_forever()
"""


def server(name: str) -> dict[str, Any]:
    fields = {"POD": "metadata.name", "IP": "status.podIP"}
    container = {
        "name": "main",
        "image": "shell",
        "command": ["python3", "-c", ECHO],
        "env": [
            {"name": k, "valueFrom": {"fieldRef": {"fieldPath": v}}} for k, v in fields.items()
        ],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "echo"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }


def post(url: str) -> tuple[int, str, str]:
    request = urllib.request.Request(url, data=b"hello", headers={"X-Kept": "1"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers["X-Answer"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, "", error.read().decode()


@pytest.mark.cluster
def test_two_pods_listen_on_one_port_and_their_service_answers_from_both(
    cluster, kubectl, namespace
):
    listed = {"apiVersion": "v1", "kind": "List", "items": [server("one"), server("two")]}
    kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(listed))
    kubectl("create", "service", "clusterip", "echo", "--tcp=80:8080", "-n", namespace)
    url = f"{cluster.services_url}/{namespace}/echo"
    kubectl("wait", "--for=condition=Ready", "pod", "-l", "app=echo", "-n", namespace)
    answers = [post(f"{url}/a%2Fb?q=1") for _ in range(40)]
    assert {status for status, _, _ in answers} == {201}
    assert {header for _, header, _ in answers} == {"yes"}
    assert {text for _, _, text in answers} == {f"{n} /a%2Fb?q=1 1 hello" for n in ("one", "two")}
    kubectl("delete", "pod", "one", "-n", namespace)
    assert {post(url)[2].split()[0] for _ in range(10)} == {"two"}
    kubectl("delete", "pod", "two", "-n", namespace)
    status, _, text = post(url)
    assert (status, "no Pod that is Ready" in text) == (503, True)
    assert post(f"{cluster.services_url}/{namespace}/none/")[0] == 404
