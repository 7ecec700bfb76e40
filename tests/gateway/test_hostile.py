"""What strangers send: nothing of it becomes a URL, a header, a log line, or unbounded memory."""

import json
import socket
import time

import pytest
import requests

from gateways import UTILITIES, free_port, table_of
from palm_gateway import connection
from routes import make_table

CHAT = {"model": "ml/assistant", "messages": [{"role": "user", "content": "hello"}]}
JSON = {"content-type": "application/json"}


def post(gateway, body, headers=None, **arguments):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return requests.post(
        f"{gateway.url}/chat/completions",
        data=content,
        headers={**JSON, **(headers or {})},
        timeout=20,
        **arguments,
    )


def raw(gateway, content: bytes, *, pause: float = 0.0) -> bytes:
    """Send bytes as they are and return all that comes until the connection ends."""
    with socket.create_connection(("127.0.0.1", gateway.settings.port), timeout=20) as made:
        answer = b""
        try:
            for start in range(0, len(content), 4096):
                made.sendall(content[start : start + 4096])
                time.sleep(pause)
            while part := made.recv(65536):
                answer += part
        except (BrokenPipeError, ConnectionResetError):
            pass
        return answer


@pytest.mark.parametrize(
    "model",
    [
        "http://169.254.169.254/latest/meta-data",
        "ml/assistant@evil.example",
        "ml/assistant/../../kube-system/x",
        "ml%2Fassistant",
        "//evil.example",
        "ml/assistant\r\nx-evil: 1",
        "ml/assistant\x00",
        "../assistant",
        "m" * 100_000,
        "\u202eassistant",
        "w00-7c1f09",
    ],
)
def test_a_model_name_is_looked_up_and_nothing_else(served, trio, model):
    answer = post(served, {**CHAT, "model": model})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    assert "x-evil" not in answer.headers
    assert len(answer.content) < 1000
    assert not any(upstream.seen for upstream in trio)


@pytest.mark.parametrize("model", [None, 7, "", ["ml/assistant"], {"a": 1}])
def test_a_model_that_is_no_name_is_refused(served, model):
    assert post(served, {**CHAT, "model": model}).json()["error"]["code"] == "invalid_model"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"model": "ml/assistant"',
        b'{"model": "ml/assistant", "temperature": NaN}',
        b'{"model": "ml/assistant", "temperature": 1e999}',
        b'{"model": "ml/assistant", "n": ' + b"9" * 5000 + b"}",
        b'\xff\xfe{"model": "ml/assistant"}',
        '{"model": "ml/assistant"}'.encode("utf-16"),
        b"[" * 100_000,
        b'{"model": "ml/assistant", "x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    ],
)
def test_a_body_that_is_no_json_object_is_refused(served, trio, body):
    answer = post(served, body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")
    assert not any(upstream.seen for upstream in trio)


def test_a_name_that_is_there_twice_cannot_smuggle_another_past_the_gateway(served, trio):
    post(served, b'{"model": "elsewhere", "messages": [], "model": "ml/assistant"}')
    ((_, _, content),) = trio[1].seen
    assert content.count(b'"model"') == 1
    assert json.loads(content)["model"] == "w01-7c1f09"


def test_lone_surrogates_are_forwarded_as_they_came(served, trio):
    assert post(served, rb'{"model": "ml/assistant", "x": "\ud800"}').status_code == 200
    assert json.loads(trio[1].seen[0][2])["x"] == "\ud800"


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-encoding": "gzip"},
    ],
)
def test_only_plain_json_is_read(served, headers):
    assert post(served, CHAT, headers).status_code == 415


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_long_is_refused_before_it_is_all_there(start_gateway, trio, chunked):
    gateway = start_gateway(max_body_bytes=10_000)
    gateway.publish(table_of(trio))
    content = json.dumps({**CHAT, "filler": "x" * 200_000}).encode()
    parts = (content[i : i + 1000] for i in range(0, len(content), 1000))
    answer = requests.post(
        f"{gateway.url}/chat/completions",
        data=parts if chunked else content,
        headers=JSON,
        timeout=20,
    )
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"
    assert not any(upstream.seen for upstream in trio)


def test_a_body_that_stops_arriving_is_given_up(served, monkeypatch):
    monkeypatch.setattr("palm_gateway.exchange._BODY_SECONDS", 0.3)
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"content-length: 100\r\n\r\n"
    )
    assert raw(served, head + b'{"model"').startswith(b"HTTP/1.1 408")


def test_a_head_that_never_ends_is_cut(served, monkeypatch):
    monkeypatch.setattr(connection, "_HEAD_SECONDS", 0.3)
    begin = time.monotonic()
    assert raw(served, b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-slow: ") == b""
    assert raw(served, b"") == b""
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize(
    "content",
    [
        b"GET /v1/models HTTP/1.1\r\nhost: x\r\nx-long: " + b"a" * 2_000_000,
        b"GET /v1/models HTTP/1.1\r\nhost: x\r\n" + b"x-many: 1\r\n" * 200_000,
        b"GET /" + b"a" * 2_000_000,
    ],
)
def test_a_head_that_is_too_long_is_refused(served, content):
    # The refusal may be lost when the connection is reset under what is still being sent.
    assert raw(served, content)[:12] in (b"HTTP/1.1 400", b"")
    assert requests.get(f"{served.url}/models", timeout=5).status_code == 200


def test_a_second_request_on_a_connection_has_a_head_of_its_own(served):
    body = json.dumps({**CHAT, "filler": "x" * 100_000}).encode()
    one = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"content-length: " + str(len(body)).encode() + b"\r\n"
    )
    answer = raw(served, (one + b"\r\n" + body) * 3 + one + b"connection: close\r\n\r\n" + body)
    assert answer.count(b"HTTP/1.1 200") == 4


@pytest.mark.parametrize(
    "head",
    [
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n"
        b"transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n"
        b"content-length: 6\r\n\r\nabcdef",
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\n upgrade: folded\r\n\r\n",
    ],
)
def test_ambiguous_requests_are_refused_by_the_parser(served, head):
    answer = raw(served, head)
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"TLS/1.0"])
def test_nobody_is_upgraded_to_another_protocol(served, protocol):
    body = json.dumps(CHAT).encode()
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"connection: upgrade\r\nupgrade: " + protocol + b"\r\n"
        b"content-length: " + str(len(body)).encode() + b"\r\n\r\n"
    )
    last = b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    answer = raw(served, head + body + last)
    assert answer.count(b"HTTP/1.1 200") == 2
    assert b"101 Switching" not in answer


@pytest.mark.parametrize("size", [1, 3, 17])
def test_a_request_may_arrive_in_small_pieces(served, size):
    """Two requests, cut everywhere: within heads, at their ends, between requests."""
    body = json.dumps(CHAT).encode()
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"content-length: " + str(len(body)).encode() + b"\r\n"
    )
    content = head + b"\r\n" + body + head + b"connection: close\r\n\r\n" + body
    with socket.create_connection(("127.0.0.1", served.settings.port), timeout=20) as made:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(content), size):
            made.sendall(content[start : start + size])
            time.sleep(0.0005)
        answer = b""
        while part := made.recv(65536):
            answer += part
    assert answer.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-palm-preference": "helpfulness=1\x80"}, "invalid_preference"),
        ({"x-palm-preference": "helpfulness=-1"}, "invalid_preference"),
        ({"x-palm-preference": "a=1," * 500}, "invalid_preference"),
        ({"x-palm-preference": ""}, "invalid_preference"),
    ],
)
def test_hostile_preferences_are_refused(served, trio, headers, code):
    answer = post(served, CHAT, headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert not any(upstream.seen for upstream in trio)


def test_two_preferences_are_refused(served):
    answer = post(
        served, {**CHAT, "preference": {"brevity": 1}}, {"x-palm-preference": "helpfulness=1"}
    )
    assert answer.json()["error"]["code"] == "invalid_preference"
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"x-palm-preference: helpfulness=1\r\nx-palm-preference: brevity=1\r\n"
        b"connection: close\r\n"
    )
    body = json.dumps(CHAT).encode()
    content = head + b"content-length: " + str(len(body)).encode() + b"\r\n\r\n" + body
    assert b"more than once" in raw(served, content)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("traceparent", "00-zz"),
        ("traceparent", "00-" + "a" * 32 + "-" + "b" * 16 + "-01; evil"),
        ("tracestate", "a=" + "b" * 600),
        ("authorization", "Bearer of-the-user"),
        ("x-forwarded-host", "evil.example"),
        ("x-request-id", "theirs"),
        ("accept", "text/evil"),
        ("user-agent", "evil"),
        ("te", "trailers"),
    ],
)
def test_headers_of_strangers_stay_here(served, trio, name, value):
    answer = post(served, CHAT, {name: value})
    assert answer.status_code == 200
    ((_, headers, _),) = trio[1].seen
    assert value not in headers.values()
    assert answer.headers["x-request-id"] == headers["x-request-id"] != "theirs"


def test_headers_of_a_policy_stay_there_but_for_a_few(served, trio):
    trio[1].headers = {
        "set-cookie": "a=b",
        "server": "vllm",
        "location": "http://elsewhere",
        "x-palm-policy": "forged",
        "cache-control": "no-store",
    }
    answer = post(served, CHAT)
    assert answer.headers["x-palm-policy"] == "w01-7c1f09"
    assert answer.headers["cache-control"] == "no-store"
    assert not {"set-cookie", "location"} & {name.lower() for name in answer.headers}
    assert "vllm" not in answer.headers.values()


@pytest.mark.parametrize(
    "path",
    ["/v1/embeddings", "/", "/metrics", "/healthz", "/v1/chat/completions/../../metrics", "//"],
)
def test_there_is_nothing_else_on_the_users_port(served, path):
    begin = f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode()
    answer = raw(served, begin)
    assert answer.startswith(b"HTTP/1.1 404")
    assert b'"code": "unknown_path"' in answer


def test_wrong_methods_are_refused(served):
    assert requests.get(f"{served.url}/chat/completions", timeout=5).status_code == 405
    assert requests.post(f"{served.url}/models", timeout=5).headers["allow"] == "GET"


def test_no_more_requests_than_allowed_are_answered_at_once(start_gateway, trio, loop):
    gateway = start_gateway(max_requests=2)
    gateway.publish(table_of(trio))
    trio[1].manner = "slow"
    streams = [post(gateway, {**CHAT, "stream": True}, stream=True) for _ in range(2)]
    refused = post(gateway, CHAT)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    for stream in streams:
        assert stream.content.endswith(b"data: [DONE]\n\n")
    assert post(gateway, CHAT).status_code == 200


def test_the_bodies_held_at_once_are_bounded_and_given_back(start_gateway, trio, monkeypatch):
    monkeypatch.setattr("palm_gateway.gateway._LONGEST_BODIES", 2)
    gateway = start_gateway(max_body_bytes=10_000)
    gateway.publish(table_of(trio))
    trio[1].manner = "slow"
    long = {**CHAT, "stream": True, "filler": "x" * 9_000}
    streams = [post(gateway, long, stream=True) for _ in range(2)]
    assert post(gateway, long).status_code == 429
    assert post(gateway, CHAT).status_code == 200
    for stream in streams:
        assert stream.content.endswith(b"data: [DONE]\n\n")
    for _ in range(5):
        assert post(gateway, long, stream=True).content.endswith(b"data: [DONE]\n\n")


def test_a_table_that_points_elsewhere_is_not_believed_and_the_last_good_one_serves(served, trio):
    """Whoever may write ConfigMaps in the namespace cannot send requests out of it."""
    for url in (f"http://localhost:{free_port()}/v1", "http://169.254.169.254/latest"):
        served.publish(make_table(UTILITIES, urls=[url] * 3, revision="e" * 8))
        answer = post(served, CHAT)
        assert answer.status_code == 200
        assert answer.headers["x-palm-revision"] == "7c1f09a2"
    text = requests.get(f"{served.admin}/metrics", timeout=5).text
    assert "palm_gateway_route_tables_refused 2.0" in text
