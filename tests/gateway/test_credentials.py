"""Tokens and certificates: from mounted files, compared in constant time, renewed in place."""

import ssl
import time

import httpx2
import openai
import pytest
import requests

from gateways import make_certificate, table_of
from palm_gateway import credentials
from palm_gateway.answers import Refusal
from palm_gateway.credentials import Certificate, Tokens


def eventually(holds, seconds=10):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(credentials, "_LOOK_SECONDS", 0.1)


def test_a_request_needs_one_of_the_tokens(start_gateway, trio, tmp_path):
    file = tmp_path / "tokens"
    file.write_text("first-token\n\nsecond-token\n")
    gateway = start_gateway(token_file=file)
    gateway.publish(table_of(trio))
    for token in ("first-token", "second-token"):
        assert gateway.client(token).models.list().data
    for token in ("third-token", "first-token-", "first"):
        with pytest.raises(openai.AuthenticationError):
            gateway.client(token).models.list()
    bare = requests.get(f"{gateway.url}/models", timeout=5)
    assert (bare.status_code, bare.headers["www-authenticate"]) == (401, "Bearer")
    assert requests.get(f"{gateway.url}/nowhere", timeout=5).status_code == 401


def test_the_token_does_not_reach_a_policy_or_a_log(start_gateway, trio, tmp_path, caplog):
    file = tmp_path / "tokens"
    file.write_text("first-token")
    gateway = start_gateway(token_file=file)
    gateway.publish(table_of(trio))
    gateway.client("first-token").completions.create(model="assistant", prompt="x")
    assert not any("first-token" in str(seen) for upstream in trio for seen in upstream.seen)
    assert "first-token" not in caplog.text


def test_a_changed_token_file_is_read_and_an_empty_one_is_not_believed(
    start_gateway, trio, tmp_path, caplog
):
    file = tmp_path / "tokens"
    file.write_text("old")
    gateway = start_gateway(token_file=file)
    url = f"{gateway.url}/models"

    def status(token):
        return requests.get(url, headers={"authorization": f"Bearer {token}"}, timeout=5)

    assert status("old").status_code == 200
    file.write_text("new")
    eventually(lambda: status("new").status_code == 200)
    assert status("old").status_code == 401
    file.write_text("\n")
    eventually(lambda: "holds no token" in caplog.text)
    assert status("new").status_code == 200
    assert status("").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Basic good")],
        [(b"authorization", b"good")],
        [(b"authorization", b"Bearer good"), (b"authorization", b"Bearer good")],
    ],
)
def test_what_is_no_single_bearer_token_is_refused(tmp_path, headers):
    (tmp_path / "tokens").write_text("good")
    tokens = Tokens(tmp_path / "tokens")
    tokens.check([(b"authorization", b"bearer  good")])
    with pytest.raises(Refusal):
        tokens.check(headers)


@pytest.mark.parametrize("content", [None, "", " \n \n"])
def test_a_token_file_without_a_token_does_not_open_the_gateway(tmp_path, content):
    file = tmp_path / "tokens"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match="token"):
        Tokens(file)


def test_tls_serves_and_a_renewed_certificate_is_used(start_gateway, trio, tmp_path):
    certificate, key = make_certificate(tmp_path, "server")
    gateway = start_gateway(tls_certificate=certificate, tls_key=key)
    gateway.publish(table_of(trio))
    trusted = ssl.create_default_context(cafile=str(certificate))
    client = gateway.client(http_client=httpx2.Client(verify=trusted))
    assert client.chat.completions.create(
        model="assistant", messages=[{"role": "user", "content": "x"}]
    ).id
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(gateway.url.replace("https", "http"), timeout=5)

    renewed, its_key = make_certificate(tmp_path, "renewed")
    key.write_bytes(its_key.read_bytes())  # half of a pair: the old one stays
    time.sleep(0.5)
    assert requests.get(f"{gateway.url}/models", verify=certificate, timeout=5).status_code == 200
    certificate.write_bytes(renewed.read_bytes())

    def is_renewed():
        try:
            return requests.get(f"{gateway.url}/models", verify=renewed, timeout=5).ok
        except requests.exceptions.SSLError:
            return False

    eventually(is_renewed)


def test_a_certificate_without_its_key_is_refused(tmp_path):
    first, _ = make_certificate(tmp_path, "first")
    _, other = make_certificate(tmp_path, "other")
    with pytest.raises(ValueError, match="cannot be used"):
        Certificate(first, other)
